"""The HTTP door: requests, their answers, and the upgrade to a WebSocket.

A request comes in at `connection`, which has `parser` read it and `admission` check its head, is
answered one after the other in `answering`, and the connection ends as `lifetime` says, by the
rules in `state`. What is answered is the table in `routes`; its handlers are in `publishing`,
`reading`, `replication`, `stream`, `admin`, `health`, `metrics` and `documents`.
"""
