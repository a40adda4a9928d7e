"""Options, each declared once.

`options` declares them, `sources` collects their values, also from the `environment`, `check` and
`hosts` check the values, and `config` is the configuration that a server reads.
"""

from livelog.config.check import blaming, flag
from livelog.config.config import Config
from livelog.config.options import OPTIONS
from livelog.config.sources import load

__all__ = ["OPTIONS", "Config", "blaming", "flag", "load"]
