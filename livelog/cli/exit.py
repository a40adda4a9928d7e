"""The end of a command: an exit code, and one line on stderr that names a failure and its remedy.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. A reader of the output that has gone
(`| head`) is not a failure; an output that cannot be written to (`>&-`, a full disk) is.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress

from livelog.cli.sanitize import sanitized
from livelog.client.waits import PAUSE, held
from livelog.config import logs
from livelog.errors import (
    ABNORMAL_CLOSURE,
    AUTHENTICATION_FAILED,
    NORMAL_CLOSURE,
    ConfigError,
    ConnectionEndedError,
    RefusedError,
    UnreachableError,
)

_log = logging.getLogger("livelog")

FAILED = 1
WRONG_USAGE = 2
INTERRUPTED = 130

_ABSENT = "; start one with `livelog`, or give another address with --url"
_NEEDS_TOKEN = (
    "; give a token or API key with --token, or with the variable LIVELOG_TOKEN or"
    " LIVELOG_TOKEN_FILE"
)


class Failure(Exception):
    """Raised when a command cannot go on; the text is for the user."""


def outcome(act: Callable[[], int], *, prints: bool = True) -> int:
    """Run `act` and return its exit code, or report why it failed and return another.

    `prints` tells whether the command is useless without stdout.
    """
    if sys.stdout is None:  # closed before the start
        if prints:
            return _failed("stdout is closed")
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process
    # A character that the encoding of stdout lacks is printed as an escape instead of an error.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # it is a file
    try:
        code = act()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return 0
    except RefusedError as refused:
        return _failed(f"{explained(refused)}{_remedy(refused.code)}")
    except UnreachableError as unreachable:
        return _failed(f"{unreachable}{'' if unreachable.answered else _ABSENT}")
    except ConnectionEndedError as ended:
        return _failed(f"{ended}{_hint(ended)}")
    except (ConfigError, Failure, TimeoutError) as failure:
        return _failed(str(failure))
    except OSError as error:
        _discard_output()
        file = f"{error.filename}: " if isinstance(error.filename, str) else ""
        return _failed(f"reading or writing failed: {file}{(error.strerror or str(error)).lower()}")
    return code


def _remedy(code: int) -> str:
    return _NEEDS_TOKEN if code == AUTHENTICATION_FAILED else ""


def _hint(ended: ConnectionEndedError) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in str(ended):
        return "; --cacert names the authority of a certificate that the system does not trust"
    # An HTTP status, or not a code that livelog sends: the address is that of another program.
    elsewhere = ended.code < NORMAL_CLOSURE or ended.code == ABNORMAL_CLOSURE
    where = "; is --url the address that the server printed?"
    return where if elsewhere else _remedy(ended.code)


def printed(text: str) -> int:
    """Print a text, and return the exit code."""

    def act() -> int:
        print(text, end="")
        return 0

    return outcome(act)


def say(text: str) -> None:
    """Print one line on stderr for the user, if it can be written to; where lines are JSON, log."""
    if logs.is_json():
        _log.error("%s", text)
    elif sys.stderr is not None:  # `print` would take stdout instead
        with suppress(OSError):
            print(f"livelog: {sanitized(text)}", file=sys.stderr, flush=True)


def explained(refused: RefusedError) -> str:
    """Describe a refusal, with the allowed values and the time after which it may be granted."""
    text, allowed = str(refused), refused.details.get("allowed")
    if allowed:
        known = ", ".join(map(str, allowed)) if isinstance(allowed, list) else allowed
        text += f"; allowed: {known}"
    if refused.retry_after is not None:
        text += f"; try again in {held(refused.retry_after, PAUSE):g} s"
    return text


def _discard_output() -> None:
    """Send what is left of the output to nowhere: the interpreter flushes it at its end, and would
    report the same fault again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _failed(issue: str) -> int:
    say(issue)
    return FAILED
