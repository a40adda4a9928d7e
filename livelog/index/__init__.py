"""The search index: terms, words, posting lists, queries over them and their planner. Pure."""
