"""`GET /api/stream`: live messages over plain HTTP, where WebSockets are blocked, and for scripts.

`request` checks what is asked for, `format` has the two forms in which it is written, and
`connection` is the stream itself.
"""
