"""The file of API keys: how it is replaced, and when a reader notices."""

from __future__ import annotations

from pathlib import Path

from tests.support.identity import api_key


def test_of_a_key_only_the_hash_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    secret = api_key(file)
    assert secret.rpartition("_")[2] not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
