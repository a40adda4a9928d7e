"""The Python client. Its public names are those of `livelog`; each module loads what it needs."""
