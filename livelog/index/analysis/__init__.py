"""Exact counts over posting lists: the messages by the values of a field, and over time.

- `values`: the values of a field among some messages, in the index or read.
- `tally`: the counts of watches, which come again and again.
"""
