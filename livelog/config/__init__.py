"""Every option, once: `options` declares them, `sources` collects values, `check` says what is
allowed, and `config` is what a server reads."""

from livelog.config.check import blaming, flag
from livelog.config.config import Config
from livelog.config.options import OPTIONS
from livelog.config.sources import load

__all__ = ["OPTIONS", "Config", "blaming", "flag", "load"]
