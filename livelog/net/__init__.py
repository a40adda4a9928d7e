"""The doors, WebSocket and HTTP: everything that touches sockets or the event loop."""
