"""Fan-out: which readers get which message, and when."""
