"""One WebSocket connection: its protocol, its commands and its place in the log.

`connection` has the state. What comes in goes through `receiving` (frames), `inbox` (messages) and
`dispatch` (limits, decoder, session) to a handler in the table in `commands`: those of
`subscribing`, `publishing`, `reading` and `authentication`. `backpressure`, `keepalive`,
`deadlines` and `closing` look after the other end.
"""
