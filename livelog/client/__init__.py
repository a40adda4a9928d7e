"""The Python client: `connect`, and what its methods return and raise."""

from livelog.client.backoff import Clock
from livelog.client.client import Client, connect
from livelog.client.decoding import Item, Page
from livelog.client.reconnecting import Status
from livelog.client.subscription import Subscription
from livelog.errors import ConnectionEndedError, UnreachableError
from livelog.wire.events import Gap
from livelog.wire.messages import Delivered

__all__ = [
    "Client",
    "Clock",
    "ConnectionEndedError",
    "Delivered",
    "Gap",
    "Item",
    "Page",
    "Status",
    "Subscription",
    "UnreachableError",
    "connect",
]
