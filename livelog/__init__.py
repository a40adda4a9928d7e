"""livelog: a live-log server. Typed messages to thousands of WebSocket subscribers.

async with Server(Config(port=0)) as server:
    server.publish({"type": "user", "user_id": "u1", "username": "Ann", "content": "hello"})
"""

__version__ = "0.1.0"

from livelog.config import Config, WrongSetting
from livelog.errors import Refused
from livelog.ingest import Receipt
from livelog.server import Server

__all__ = ["Config", "Receipt", "Refused", "Server", "WrongSetting", "__version__"]
