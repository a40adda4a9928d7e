"""How a command of a client ends: every failure is one line that says what, and what to do.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. A reader who has gone (`| head`) is
no failure.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from livelog.cli.sanitize import harmless
from livelog.errors import (
    ABNORMAL_CLOSURE,
    NORMAL_CLOSURE,
    ConnectionEndedError,
    RefusedError,
    UnreachableError,
)

FAILED = 1
WRONG_USAGE = 2
INTERRUPTED = 130


class Failure(Exception):
    """A command cannot go on; what it says is for the user."""


def outcome(act: Callable[[], int]) -> int:
    """Run `act`; returns its exit code, or reports why it failed and returns another."""
    # What an encoding cannot express is shown as an escape, and is no reason to fail.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # it is a file
    try:
        code = act()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes stdout once more at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except RefusedError as refused:
        return _failed(explained(refused))
    except UnreachableError as unreachable:
        return _failed(f"{unreachable}; start a server with `livelog`, or name another with --url")
    except ConnectionEndedError as ended:
        # An HTTP status, or no code of the server's at all: what answers is something else.
        elsewhere = ended.code < NORMAL_CLOSURE or ended.code == ABNORMAL_CLOSURE
        hint = "; is --url the address that the server printed?" if elsewhere else ""
        return _failed(f"{ended}{hint}")
    except (Failure, TimeoutError) as failure:
        return _failed(str(failure))
    return code


def say(text: str) -> None:
    """One line for the user, beside what a command prints."""
    print(f"livelog: {harmless(text)}", file=sys.stderr, flush=True)


def explained(refused: RefusedError) -> str:
    """A refusal with what is allowed instead."""
    allowed = refused.details.get("allowed")
    if not allowed:
        return str(refused)
    known = ", ".join(map(str, allowed)) if isinstance(allowed, list) else allowed
    return f"{refused}; allowed: {known}"


def _failed(issue: str) -> int:
    say(issue)
    return FAILED
