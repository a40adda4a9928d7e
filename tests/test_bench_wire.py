"""Checks of `bench wire`: its readers decode what they share, and lose nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench import phone
from bench.nginx import NGINX
from bench.proxied import behind
from bench.server import Launch
from bench.viewer import CHROMIUM
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


@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="there is no Chromium")
@pytest.mark.parametrize(("kind", "batch", "way"), [("client", 1, "shared"), ("viewer", 0, "off")])
def test_a_page_is_of_the_readers_audience_and_gets_every_message(
    kind: str, batch: int, way: str
) -> None:
    load = replace(LOAD, batch=batch, types=phone.LOAD.types)
    found = phone.shown(Launch(), kind, load, way)
    assert (found["missing"], found["audiences"]) == (0, 1)
    assert (found["compressed frames"] > 0) == (way == "shared")
    assert found["core %"] > found["renderer %"] > 0
