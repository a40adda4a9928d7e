"""Benchmarks of livelog: run `python -m bench <command>` at the top of the repository.

The load knows the protocol and nothing of the server: no module of livelog is imported by what
makes or times the load, so a mistake in one cannot hide in the other.
"""
