"""The log: the spine every message passes, and the one place from which messages are read."""
