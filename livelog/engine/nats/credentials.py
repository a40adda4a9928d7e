"""The file with the credentials of a node: a `.creds` file, or the seed of an nkey."""

from __future__ import annotations

from typing import Any

from livelog.errors import ConfigError


def credentials(path: str) -> dict[str, Any]:
    """Return the arguments by which the client library uses the file; none without a path.

    Raises `ConfigError`.
    """
    if not path:
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            content = file.read()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"--engine-creds {path}: {why}") from None
    if "BEGIN NATS USER JWT" in content:
        return {"user_credentials": path}
    if content.strip().startswith("SU"):
        return {"nkeys_seed": path}
    raise ConfigError(f"--engine-creds {path}: has neither a user's JWT nor the seed of an nkey")
