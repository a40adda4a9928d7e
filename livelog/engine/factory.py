"""The engine that a configuration asks for."""

from __future__ import annotations

from collections.abc import Callable

from livelog.config import Config
from livelog.engine.base import Engine
from livelog.engine.local import LocalEngine
from livelog.errors import ConfigError, installing


def engine_of(config: Config, clock: Callable[[], float]) -> Engine:
    """Return the engine, which has yet to be opened; `clock` tells Unix time in seconds.

    Raises `ConfigError` when its extra is not installed.
    """
    address = config.cluster.address
    if address is None:
        return LocalEngine(clock)
    try:
        from livelog.engine.nats.engine import StreamEngine
        from livelog.engine.nats.jetstream import JetStream
    except ImportError as error:
        needed = f"needs the extra: {installing('nats')}"
        raise ConfigError(f"--engine: {needed} ({error})") from None
    credentials, largest = config.cluster.creds, config.net.max_frame_bytes
    stream = JetStream(
        address.servers, address.name, credentials, largest, clock, config.cluster.ca
    )
    return StreamEngine(stream)
