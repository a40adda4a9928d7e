"""Reading process: searches of the messages on disk, apart from the live traffic.

A search of a large file takes milliseconds that the server's loop does not have, so a process of
its own does it. `client` is the server's end, `__main__` the process, `calls` the messages between
them. `answers` has the table of replies: pages and analyses come from `searches`, what readers that
are behind get from `chunks`, both out of what is `stored`. `rows` reads the stored messages;
`segments` is the index of them, a list of `segment`s in a file beside the store.
"""
