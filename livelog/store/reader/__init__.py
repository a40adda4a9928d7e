"""The past on disk, read by a process of its own so that no search holds up the live traffic.

`client` is the server's end, `__main__` the process, `calls` what they say to each other. `rows`
reads the messages, `catalog` keeps the index over them: `segment` by sealed segment, in a file
beside the store.
"""
