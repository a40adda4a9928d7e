"""What a client shows to prove who it is: a text, or a function that fetches a fresh one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable

from livelog.client.errors import Loss, Lost
from livelog.errors import TOKEN_EXPIRED

Token = str | Callable[[], str | Awaitable[str]]
"""A JWT, an OAuth2 access token or an API key; or what returns one, each time it is needed."""


class Proof:
    """A token, wherever it comes from."""

    def __init__(self, token: Token) -> None:
        self._token = token

    @property
    def renews(self) -> bool:
        """Whether there may be another one after this one has expired."""
        return callable(self._token)

    async def text(self) -> str:
        """The token as it is now. Raises `Lost` when there is none for the moment."""
        if isinstance(self._token, str):
            return self._token
        try:
            made = self._token()
            return await made if isawaitable(made) else made
        except Exception as error:
            # It asks somebody else, who may be away as the server may be: it is tried again.
            raise Lost(Loss(f"no token: {error}")) from error

    def outlives(self, loss: Loss) -> bool:
        """Whether a new token makes another attempt worthwhile."""
        return self.renews and loss.fatal is not None and loss.fatal.code == TOKEN_EXPIRED
