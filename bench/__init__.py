"""How livelog is measured: `python -m bench <command>`, from the top of the repository.

The load knows the protocol and nothing of the server: no module of livelog is imported by what
makes or times the load, so a mistake in one cannot hide in the other.
"""
