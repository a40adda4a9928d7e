"""Checks of `bench wire`: its readers decode what they share, and lose nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.nginx import NGINX
from bench.proxied import behind
from bench.server import Launch
from bench.wire import Wire, run

LOAD = Wire(readers=9, rate=100, seconds=1.5, warmup=2.5, batch=1)


def test_readers_decode_every_message_of_a_compressed_load() -> None:
    found = run(Launch(), LOAD, "shared")
    assert found["missing or wrong"] == 0
    assert found["compressed frames"] > 0


@pytest.mark.skipif(not Path(NGINX).exists(), reason="there is no nginx")
def test_readers_behind_nginx_count_what_tls_makes_of_it() -> None:
    plain, compressed = (behind(Launch(), LOAD, way, 1) for way in ("off", "shared"))
    for found in (plain, compressed):
        assert found["missing or wrong"] == 0
        assert found["CPU us/delivery"] > 0
    assert compressed["compressed frames"] > 0
    size = "bytes a message and reader"
    assert 0 < compressed[size] < plain[size]
