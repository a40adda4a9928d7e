"""The search index: terms, words, posting lists and columns, queries and their planner. Pure."""
