"""The reload: what a running server reads again when it is told to, and the report of it.

SIGHUP and the embedding program both end here. The files of the certificate and of the API keys are
read anew, and so are the sources of the settings. Each part is taken as a whole or kept as it was;
one that fails does not hold up the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from msgspec import Struct, field

from livelog.config import Config, logs
from livelog.config.live import LIVE, Change, differences, with_live
from livelog.errors import ConfigError
from livelog.net.limiter import Limiter
from livelog.net.origins import Origins

_log = logging.getLogger(__name__)

Reread = Callable[[], Config]
"""Reads the sources of the settings again. Raises `ConfigError`."""


class Reloaded(Struct, kw_only=True):
    """The report of a reload, by name: of a setting, or of what a setting's file holds."""

    changed: dict[str, Change] = field(default_factory=dict)
    """In force from now on."""
    restart: dict[str, Change] = field(default_factory=dict)
    """Settings that differ, and hold only after a restart."""
    failed: dict[str, str] = field(default_factory=dict)
    """What could not be read, and why; there the old state is kept."""


class Reloadable(Protocol):
    """A part of the server that reads a file."""

    def reload(self) -> tuple[str, str] | None:
        """Read the file again; return its content before and after, in words.

        None if it is the same. Raises `ConfigError`, `OSError` or `ValueError`, and keeps the old
        content.
        """


class Reload:
    """Reloads the parts of one server; a call returns the report and logs it."""

    def __init__(
        self,
        config: Config,
        reread: Reread | None,
        limiter: Limiter,
        origins: Origins,
        certificate: Reloadable | None,
        auth: Reloadable | None,
    ) -> None:
        self.config = config
        """The settings in force."""
        self._reread = reread
        self._limiter = limiter
        self._origins = origins
        self._certificate = certificate
        self._auth = auth

    def __call__(self) -> Reloaded:
        """Read everything again, and return what that has changed."""
        report = Reloaded()
        with _noting(report, "config"):
            self._settings(report)
        with _noting(report, "certificate"):
            if self._certificate and (change := self._certificate.reload()):
                report.changed["certificate"] = Change(*change)
        with _noting(report, "api_keys"):
            if self._auth and (change := self._auth.reload()):
                report.changed["api_keys"] = Change(*change)
        if "log_level" in report.changed:
            logs.set_level("info")  # so that the report is seen, whichever of the two is stricter
        _tell(report)
        if "log_level" in report.changed:
            logs.set_level(self.config.logs.level)
        return report

    def _settings(self, report: Reloaded) -> None:
        if self._reread is None:
            return
        new = self._reread()
        for name, change in differences(self.config, new):
            (report.changed if name in LIVE else report.restart)[name] = change
        self.config = with_live(self.config, new)
        self._limiter.change(self.config.limits)
        self._origins.change(self.config.net.allowed_origins)


@contextmanager
def _noting(report: Reloaded, part: str) -> Iterator[None]:
    """Note in the report that a part is kept, because it could not be read."""
    try:
        yield
    except (ConfigError, OSError, ValueError) as error:
        report.failed[part] = str(error)


_OLD = {"config": "settings", "certificate": "certificate", "api_keys": "API keys"}
"""Part of a server → its name in the log."""


def _tell(report: Reloaded) -> None:
    for name, change in report.changed.items():
        what = f"the {_OLD[name]}" if name in _OLD else name
        _log.warning("reloaded %s: %s, was %s", what, change.after, change.before)
    for name, change in report.restart.items():
        _log.warning("%s needs a restart: %s, is still %s", name, change.after, change.before)
    for part, issue in report.failed.items():
        _log.error("keeping the old %s: %s", _OLD[part], issue)
    if not (report.changed or report.restart or report.failed):
        _log.info("reloaded: nothing has changed")
