"""The token that a client authenticates with: a text, or a function that fetches a fresh one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable

from livelog.client.errors import Loss, Lost
from livelog.errors import TOKEN_EXPIRED

Token = str | Callable[[], str | Awaitable[str]]
"""A JWT, an OAuth2 access token or an API key; or a function, plain or async, that returns one."""


class Credentials:
    """Source of the client's token."""

    def __init__(self, token: Token) -> None:
        self._token = token

    @property
    def renews(self) -> bool:
        """Whether a fresh token can be fetched when this one expires."""
        return callable(self._token)

    async def text(self) -> str:
        """Return the token, fetched anew if it can be. Raises `Lost` when that fails."""
        if isinstance(self._token, str):
            return self._token
        try:
            made = self._token()
            return await made if isawaitable(made) else made
        except Exception as error:
            # The provider of tokens may be unreachable for a while, as the server may: try again.
            raise Lost(Loss(f"no token: {error}")) from error

    def outlives(self, loss: Loss) -> bool:
        """Tell whether a fresh token makes another attempt worthwhile."""
        return self.renews and loss.fatal is not None and loss.fatal.code == TOKEN_EXPIRED
