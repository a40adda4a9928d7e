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
    from livelog.client import Ended, Gap, Page, Unreachable, connect
    from livelog.config import Config, WrongSetting
    from livelog.delivered import Delivered
    from livelog.errors import Refused
    from livelog.ingest import Receipt
    from livelog.server import Server

_HOMES = {
    "Config": "livelog.config",
    "Delivered": "livelog.delivered",
    "Ended": "livelog.client",
    "Gap": "livelog.client",
    "Page": "livelog.client",
    "Receipt": "livelog.ingest",
    "Refused": "livelog.errors",
    "Server": "livelog.server",
    "Unreachable": "livelog.client",
    "WrongSetting": "livelog.config",
    "connect": "livelog.client",
}

__all__ = [
    "Config",
    "Delivered",
    "Ended",
    "Gap",
    "Page",
    "Receipt",
    "Refused",
    "Server",
    "Unreachable",
    "WrongSetting",
    "__version__",
    "connect",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
