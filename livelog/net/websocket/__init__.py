"""One WebSocket connection: its protocol, its commands and its place in the log."""
