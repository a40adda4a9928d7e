"""Log lines: their form, text or JSON, and the fields beside their message.

Only processes that are livelog's own are configured: those of the command line, and the reading
process. A program that embeds a server has handlers of its own, which find the fields of a line in
`record.fields`. Fields never hold a secret: who gives them takes no text of a client's.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
"""Name of a level, as options have it → the level."""

ACCESS = "livelog.access"
"""The logger of the access log, whose level is its own: the log is on or off."""

_HELD = 1000
"""Maximum of lines that are held until their form is known."""


class Form(NamedTuple):
    """The form of the lines of this process."""

    format: str = "text"
    level: str = "info"
    worker: int = 0
    """Number of the process among those that share a port; 0 if it is alone."""

    @property
    def formatter(self) -> logging.Formatter:
        """The formatter of a handler."""
        return JsonFormatter(self.worker) if self.format == "json" else TextFormatter(self.worker)

    @property
    def argument(self) -> str:
        """The form as an argument of a process, which `parsed` reads."""
        return f"{self.format}:{self.level}:{self.worker}"


def parsed(argument: str) -> Form:
    """Return the form that `argument` stands for. Raises `ValueError`."""
    form, level, worker = argument.split(":")
    return Form(form, level, int(worker))


_configured: list[Form] = []
"""The form in force; none in a program that embeds a server."""


def form() -> Form | None:
    """Return the form in force, None unless this process was configured."""
    return _configured[-1] if _configured else None


class _Holder(logging.Handler):
    """A handler that keeps lines; the module with the library's takes long to load."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line, unless there are very many."""
        if len(self.records) < _HELD:
            self.records.append(record)


def hold() -> None:
    """Hold back the lines of this process until `configure` tells their form."""
    logging.getLogger().addHandler(_Holder())


def configure(form: Form) -> None:
    """Write the log of this process to stderr in a form.

    Other libraries are heard from warnings on.
    """
    root = logging.getLogger()
    held = [handler for handler in root.handlers if isinstance(handler, _Holder)]
    root.handlers[:] = [handler for handler in root.handlers if handler not in held]
    if not root.handlers:
        root.addHandler(logging.StreamHandler(sys.stderr))
    for handler in root.handlers:
        handler.setFormatter(form.formatter)
    logging.getLogger(ACCESS).setLevel(logging.INFO)
    _configured[:] = [form]
    set_level(form.level)
    for record in (record for handler in held for record in handler.records):
        root.handle(record)


def set_level(level: str) -> None:
    """Set the least level of livelog's own lines, one of `LEVELS`."""
    logging.getLogger("livelog").setLevel(LEVELS[level])
    if _configured:
        _configured[:] = [_configured[-1]._replace(level=level)]


def fields(**named: object) -> dict[str, object]:
    """Return the `extra` of a line with these fields; those without a value are left out."""
    return {"fields": {name: value for name, value in named.items() if value not in ("", None)}}


class TextFormatter(logging.Formatter):
    """`TIME LEVEL LOGGER: MESSAGE [FIELD=VALUE …]`, for people."""

    def __init__(self, worker: int = 0) -> None:
        name = f"worker {worker} " if worker else ""
        super().__init__(f"%(asctime)s {name}%(levelname)s %(name)s: %(message)s%(listed)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line, up to a traceback."""
        # A line stays one line: a user's id is a text of the provider's.
        listed = " ".join(
            f"{name}={_on_one_line(value)}" for name, value in _fields(record).items()
        )
        record.listed = f" [{listed}]" if listed else ""
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """One JSON object: `time` (RFC 3339), `level`, `logger`, `message`, and the fields."""

    def __init__(self, worker: int = 0) -> None:
        super().__init__()
        self._process: dict[str, object] = {"worker": worker} if worker else {}

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._process,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        # What every line has comes first, and no field takes its place.
        return json.dumps({**line, **{k: v for k, v in _fields(record).items() if k not in line}})


def _fields(record: logging.LogRecord) -> Mapping[str, object]:
    found = getattr(record, "fields", None)
    return found if isinstance(found, Mapping) else {}


def is_json() -> bool:
    """Return whether the lines of this process are JSON, and all it writes to stderr must be."""
    this = form()
    return this is not None and this.format == "json"


def _on_one_line(value: object) -> str:
    return str(value).encode("unicode_escape").decode("ascii").replace(" ", "\\x20")
