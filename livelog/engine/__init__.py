"""The order of messages: the protocols of an engine, and `local`, the one for a single process."""
