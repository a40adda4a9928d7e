"""The doors: everything that touches sockets or the event loop."""
