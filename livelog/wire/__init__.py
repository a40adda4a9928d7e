"""The wire format: messages, commands and events as structs, and the frames that carry them.

Pure: no asyncio, no clock, no I/O. `messages` holds the six message types, `commands` and `events`
the rest of the protocol, `record` a message with its place in the log. Modules with many structs
do without `from __future__ import annotations`, since msgspec would compile the text of every
annotation, in each process that starts.
"""

WEBSOCKET_PATH = "/ws/live-log"
"""Path of the WebSocket endpoint."""
