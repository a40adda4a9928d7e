"""The server: builds the parts once, starts and stops them.

`server` is the public class, with its start and its end; `parts` builds what its connections share.
The methods with which a program publishes and reads are in `net/inprocess`.
"""

from livelog.server.server import Server

__all__ = ["Server"]
