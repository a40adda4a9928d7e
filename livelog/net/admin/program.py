"""The method with which a program that embeds the server gives admin commands."""

from __future__ import annotations

from typing import Any

from livelog.auth.principal import PROGRAM
from livelog.net.admin.asking import Asking
from livelog.net.admin.table import carry_out
from livelog.net.inprocess import InProcess
from livelog.wire.events import AdminResult


class Administered(InProcess):
    """Publishing, reading and administration of a server, in its process and event loop."""

    async def admin(self, command: str, /, **fields: Any) -> AdminResult:
        """Carry out a command of operators and moderators, with the fields that it has.

        The program may give them all, on an open server, too. Raises `RefusedError` for one that is
        unknown, invalid, or about something that is not there.

            answer = await server.admin("connections", user_id="u1")
            print(answer.result["total_count"])
        """
        return await carry_out(Asking(self._running(), PROGRAM), command, fields)
