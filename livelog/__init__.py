"""livelog: a live-log server and its client. Typed messages to thousands of WebSocket subscribers.

async with Server(Config(port=0)) as server:
    server.publish({"type": "user", "user_id": "u1", "username": "Ann", "content": "hello"})

async with connect("ws://localhost:8000/ws/live-log") as log:
    async for message in log.subscribe(["user"]):
        print(message)

Names are loaded when they are first used: a client does not pay for the server, nor the other way
round.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from livelog.client import Gap, Page, connect
    from livelog.config import Config
    from livelog.errors import (
        ConfigError,
        ConnectionEndedError,
        LivelogError,
        NotRunningError,
        RefusedError,
        UnreachableError,
    )
    from livelog.server import Server
    from livelog.wire.messages import Delivered
    from livelog.wire.record import Receipt

_HOMES = {
    "Config": "livelog.config",
    "Delivered": "livelog.wire.messages",
    "ConnectionEndedError": "livelog.errors",
    "Gap": "livelog.client",
    "LivelogError": "livelog.errors",
    "NotRunningError": "livelog.errors",
    "Page": "livelog.client",
    "Receipt": "livelog.wire.record",
    "RefusedError": "livelog.errors",
    "Server": "livelog.server",
    "UnreachableError": "livelog.errors",
    "ConfigError": "livelog.errors",
    "connect": "livelog.client",
}

__all__ = [
    "Config",
    "ConfigError",
    "ConnectionEndedError",
    "Delivered",
    "Gap",
    "LivelogError",
    "NotRunningError",
    "Page",
    "Receipt",
    "RefusedError",
    "Server",
    "UnreachableError",
    "__version__",
    "connect",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
