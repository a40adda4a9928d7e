"""Conformance to RFC 6455: an echo server behind livelog's doors, and the cases that are tried."""
