"""The Python client: `connect`, and what its methods return and raise."""

from livelog.client.backoff import Clock
from livelog.client.client import Client, connect
from livelog.client.failures import Ended, Unreachable
from livelog.client.line import Status
from livelog.client.received import Item, Page, Received
from livelog.client.subscription import Subscription
from livelog.protocol import Gap

__all__ = [
    "Client",
    "Clock",
    "Ended",
    "Gap",
    "Item",
    "Page",
    "Received",
    "Status",
    "Subscription",
    "Unreachable",
    "connect",
]
