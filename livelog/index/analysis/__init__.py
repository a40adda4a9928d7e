"""Exact counts over posting lists: the messages by the values of a field, and over time.

- `values`: the values of a field, as they are read out of messages.
- `calendar`: stretches of time in UTC or by the clocks of a time zone.
- `question`: what is asked, of which messages, and the counts on their way between processes.
- `cells`: the buckets of time in which the matches lie.
- `timeline`: the buckets of all parts.
- `distinct`: different values.
- `tally`: the counting, part by part.
- `answer`: what it comes to.
- `live`: the counts of watches, which are made again and again.
"""
