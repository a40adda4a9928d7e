"""Every option once: `options` says what there is, `sources` where values come from, `check` what
is allowed."""

from livelog.config.check import blaming, flag
from livelog.config.options import Config, describe, is_secret
from livelog.config.sources import load

__all__ = ["Config", "blaming", "describe", "flag", "is_secret", "load"]
