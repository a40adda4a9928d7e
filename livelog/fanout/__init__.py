"""Fan-out: the choice of readers for each message, and the time of its delivery."""
