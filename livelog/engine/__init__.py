"""Order and deduplication of messages: the protocols of an engine in `base`, and `local`, the
engine of a single process, which decides what place a message gets and whether its id is a
repetition."""
