"""The Python client: `connect`, and what its methods return and raise."""

from livelog.client.backoff import Clock
from livelog.client.client import Client, connect
from livelog.client.failures import Ended, Unreachable
from livelog.client.line import Status
from livelog.client.received import Item, Page
from livelog.client.subscription import Subscription
from livelog.delivered import Delivered
from livelog.protocol import Gap

__all__ = [
    "Client",
    "Clock",
    "Delivered",
    "Ended",
    "Gap",
    "Item",
    "Page",
    "Status",
    "Subscription",
    "Unreachable",
    "connect",
]
