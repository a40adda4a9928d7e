"""Exact counts over posting lists: the messages by the values of a field, and over time.

- `values`: the values of a field among some messages, in the index or read.
- `live`: the counts of watches, which are made again and again.
"""
