"""The store that the settings describe."""

from __future__ import annotations

import logging
from collections.abc import Callable

from livelog.budget.memory import acts_share, reading_share
from livelog.config import Config
from livelog.store.base import Store
from livelog.store.database.key import read_key
from livelog.store.memory import open_memory
from livelog.store.sqlite import open_sqlite
from livelog.store.upkeep import Retention
from livelog.wire.record import Origin

_log = logging.getLogger(__name__)


def opened(
    config: Config,
    clock: Callable[[], float],
    origin: Origin | None,
    trim: Callable[[int], None],
    damaged: Callable[[str], None],
) -> Store:
    """Open the configured store.

    `origin` is the extent of a shared log, `trim` is told up to which seq messages were deleted,
    `damaged` what is wrong. Raises `ConfigError` for a file or a key that cannot be used.
    """
    storage = config.storage
    if storage.path == "memory":
        if storage.key_file:
            _log.warning("--store-key-file: encrypts nothing, because nothing is stored")
        return open_memory(clock(), origin, acts_share(storage.memory_bytes))
    retention = Retention(storage.retention_messages, storage.retention_days)
    key = read_key(storage.key_file) if storage.key_file else b""
    reading = reading_share(storage.memory_bytes)
    return open_sqlite(storage.path, retention, clock, trim, key, damaged, reading, origin)
