"""An index of tantivy on disk, in one segment, written and searched by one thread."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable

import tantivy

_HEAP_BYTES = 512 << 20


class TantivyIndex:
    """Documents with the field `text`, a stored `payload`, and the fields named here.

    `raw` fields hold terms as they are, `integers` are searched by range; hits come by `order`,
    the largest first.
    """

    def __init__(self, raw: Iterable[str], integers: Iterable[str], order: str) -> None:
        builder = tantivy.SchemaBuilder()
        builder.add_text_field("text", tokenizer_name="whitespace", index_option="basic")
        for field in raw:
            builder.add_text_field(field, tokenizer_name="raw", index_option="basic")
        for field in integers:
            builder.add_integer_field(field, indexed=True, fast=True)
        builder.add_integer_field(order, fast=True)
        builder.add_bytes_field("payload", stored=True)
        self.schema = builder.build()
        self._order = order
        self._folder = tempfile.TemporaryDirectory()
        self._index = tantivy.Index(self.schema, self._folder.name)

    def load(self, documents: Iterable[tantivy.Document]) -> None:
        writer = self._index.writer(_HEAP_BYTES, num_threads=1)
        for document in documents:
            writer.add_document(document)
        writer.commit()
        writer.wait_merging_threads()
        self._index.reload()
        self._searcher = self._index.searcher()

    def ask(self, query: tantivy.Query, limit: int, offset: int = 0) -> tuple[int, int]:
        """Return the number of documents that match, and of those on a page, which is read."""
        found = self._searcher.search(
            query, limit, count=True, order_by_field=self._order, offset=offset
        )
        page = [self._searcher.doc(address)["payload"] for _, address in found.hits]
        count: int = found.count  # type: ignore[attr-defined]  # its stubs have forgotten it
        return count, len(page)

    def close(self) -> None:
        self._folder.cleanup()
