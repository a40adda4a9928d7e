"""The elements of a JSON array, one by one, so that a body need not be decoded at once.

An array of eight million bytes may have four million elements, and each costs memory and time
before the first can be refused. So the text is read in windows, and an element is looked for only
when the one before it has been taken. The rule: an element fits into a window, or it is refused.
"""

from __future__ import annotations

import json
import re
from codecs import utf_8_decode
from collections.abc import Iterator

from livelog.errors import PROTOCOL_ERROR, RefusedError

# Only the ends of values are wanted here: the elements are decoded, and checked, elsewhere.
_decoder = json.JSONDecoder(strict=False, parse_int=len, parse_float=len)
_ENDS = frozenset(",] \t\r\n")
_SPACE = re.compile(r"[ \t\r\n]*")


def elements(body: bytes | bytearray, window_bytes: int) -> Iterator[bytes | None]:
    """Yield the text of each element, which looks like JSON at least, and None for a pause.

    `body` begins with the bracket. Raises `RefusedError` when it is no array, or an element is
    larger than a window.
    """
    window = _Window(body, window_bytes)
    opens, separated = True, True
    while True:
        window.skip_space()
        if window.mark == "]" and (opens or not separated):
            if window.rest.strip():
                raise _refusal(window_bytes)
            return
        if window.mark == "," and not separated:
            window.here += 1
            separated = True
        elif separated and (end := window.value_end()) is not None:
            yield window.text[window.here : end].encode()
            window.here, opens, separated = end, False, False
        elif window.advance():
            yield None
        else:
            raise _refusal(window_bytes)


class _Window:
    """The part of a body that is read now; `here` is the place in it."""

    def __init__(self, body: bytes | bytearray, size: int) -> None:
        self._body = body
        self._size = size
        self._base = 1
        """The place in the body at which the text begins."""
        self._is_last = False
        self.text = ""
        self.here = 0

    @property
    def mark(self) -> str:
        """The next character; empty at the end of the window."""
        return self.text[self.here : self.here + 1]

    @property
    def rest(self) -> bytes | bytearray:
        """The body behind the next character."""
        return self._body[self._byte(self.here + 1) :]

    def skip_space(self) -> None:
        """Go to the next character that is no white space."""
        space = _SPACE.match(self.text, self.here)
        assert space is not None
        self.here = space.end()

    def value_end(self) -> int | None:
        """Return the end of the value that begins here; None if it is not whole in the window."""
        try:
            _, end = _decoder.raw_decode(self.text, self.here)
        except (ValueError, RecursionError):
            return None
        # The rest of a number, even of its exponent, may stand behind the window.
        return end if self._is_last or self.text[end : end + 1] in _ENDS else None

    def advance(self) -> bool:
        """Let the window begin here; return whether there is more in it than before."""
        if self.text and (self._is_last or not self.here):
            return False
        self._base = self._byte(self.here)
        end = self._base + self._size
        self._is_last = end >= len(self._body)
        try:
            self.text, _ = utf_8_decode(self._body[self._base : end], "strict", self._is_last)
        except UnicodeDecodeError:
            return False
        self.here = 0
        return bool(self.text)

    def _byte(self, place: int) -> int:
        return self._base + len(self.text[:place].encode())


def _refusal(window_bytes: int) -> RefusedError:
    issue = f"not a JSON array of messages, each of at most {window_bytes} bytes"
    return RefusedError(PROTOCOL_ERROR, "body", issue)
