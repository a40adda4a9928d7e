"""The HTTP door: requests, their answers, and the upgrade to a WebSocket."""
