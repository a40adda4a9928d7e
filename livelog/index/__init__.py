"""How messages are found: terms, words, posting lists and the query over them. Pure."""
