"""Pages of messages that an admin command is about, newest first: for `redact` and `erase`."""

from __future__ import annotations

from livelog.errors import SERVER_ERROR, RefusedError
from livelog.index.paging import Span
from livelog.index.query import Query
from livelog.net import queries
from livelog.net.admin.asking import Asking

_PER_PAGE = 2500
"""Messages that are read together: some milliseconds of the loop, while each page is searched for
anew."""


async def page_upto(asking: Asking, query: Query, upto: int) -> list[bytes]:
    """Return the newest matches up to a seq. Raises `RefusedError`, also for only some of them."""
    owner = queries.owner(asking.principal, asking.address)
    span = Span(_PER_PAGE, anchor="before", seq=upto + 1)
    page = await asking.context.log.read(query, span, owner)
    if page.incomplete:
        raise RefusedError(SERVER_ERROR, "", "the store cannot be read now", retry_after=1)
    return page.payloads
