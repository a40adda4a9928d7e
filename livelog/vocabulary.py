"""All words of the window, to find those that contain a given part.

Words are appended to pages; a full page is one string, in which the search is a plain `str.find`.
That beats any tree here: a vocabulary is small beside the text it comes from, and parts of two
letters occur in a large share of it anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_PAGE = 4096
"""Words on a page."""


class Vocabulary:
    """Words, each added once; which of them are still in use is for the caller to know."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        self._pages: list[str] = []
        self._open: list[str] = []
        self.size = 0
        for word in words:
            self.add(word)

    def add(self, word: str) -> None:
        """Add a word that is not in it; it must not hold a line break."""
        self._open.append(word)
        self.size += 1
        if len(self._open) == _PAGE:
            self._pages.append("\n".join(["", *self._open, ""]))
            self._open = []

    def containing(self, part: str) -> Iterator[str]:
        """Every word that contains `part`."""
        for page in self._pages:
            yield from matching(page, part)
        yield from (word for word in self._open if part in word)


def matching(page: str, part: str) -> Iterator[str]:
    """Every word on `page` that contains `part`; each word stands between line breaks."""
    found = page.find(part)
    while found >= 0:
        end = page.find("\n", found)
        yield page[page.rfind("\n", 0, found) + 1 : end]
        found = page.find(part, end)
