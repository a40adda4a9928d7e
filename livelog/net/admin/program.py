"""The method with which a program that embeds the server gives admin commands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from livelog.auth.principal import PROGRAM
from livelog.errors import PROTOCOL_ERROR, RefusedError
from livelog.net.admin.asking import Asking
from livelog.net.admin.table import carry_out
from livelog.net.inprocess import InProcess
from livelog.wire.erasure import is_pseudonym
from livelog.wire.events import AdminResult

_LONGEST = 256
"""Characters of the id of a user, as in commands."""


class Administered(InProcess):
    """Publishing, reading and administration of a server, in its process and event loop."""

    async def admin(self, command: str, /, *, by: str = PROGRAM.id, **fields: Any) -> AdminResult:
        """Carry out a command of operators and moderators, with the fields that it has.

        The program may give them all, on an open server, too. The audit log names `by` as the
        author: the moderator for whom the program acts. Raises `RefusedError` for a command that is
        unknown, invalid, or about something that is not there.

            answer = await server.admin("connections", user_id="u1")
            print(answer.result["total_count"])
        """
        if not 0 < len(by) <= _LONGEST or is_pseudonym(by):
            issue = f"must be the id of a user, of 1 to {_LONGEST} characters"
            raise RefusedError(PROTOCOL_ERROR, "by", issue)
        asking = Asking(self._running(), replace(PROGRAM, id=by), is_program=True)
        return await carry_out(asking, command, fields)
