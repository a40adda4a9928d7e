"""The access log: a line for each HTTP request, and for a WebSocket when it opens and when it ends.

It is off unless `--access-log` is given, and unlike the audit log it is as long as the traffic is.
Like that one it holds no query, which may hold a token, and no path that is not served.
"""

from __future__ import annotations

import logging

from livelog.config.logs import ACCESS, fields

_log = logging.getLogger(ACCESS)


class AccessLog:
    """The writer of lines like `203.0.113.9 GET /api/history 200`."""

    def answered(
        self,
        address: str,
        method: str,
        path: str,
        status: int,
        size: int,
        user: str,
        seconds: float | None,
    ) -> None:
        """Log a request and its answer, which took so many `seconds` if that is known."""
        took = None if seconds is None else round(seconds, 6)
        more = fields(
            address=address,
            method=method,
            path=path,
            status=status,
            bytes=size,
            user=user,
            seconds=took,
        )
        _log.info("%s %s %s %d", address or "the socket", method, path, status, extra=more)

    def opened(self, address: str, connection: str) -> None:
        """Log that a WebSocket is open."""
        more = fields(address=address, connection=connection)
        _log.info("%s opens %s", address or "the socket", connection, extra=more)

    def ended(
        self, address: str, connection: str, user: str, code: int | None, seconds: float
    ) -> None:
        """Log that a WebSocket has ended, after so many `seconds` and with a close code."""
        more = fields(
            address=address,
            connection=connection,
            user=user,
            code=code,
            seconds=round(seconds, 3),
        )
        _log.info("%s ends %s", address or "the socket", connection, extra=more)
