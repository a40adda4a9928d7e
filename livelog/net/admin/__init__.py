"""Commands of operators and moderators: one implementation, which all doors call."""
