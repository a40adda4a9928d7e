"""Checks of `bench wire`: its readers decode what they share, and lose nothing."""

from __future__ import annotations

from bench.server import Launch
from bench.wire import Wire, run


def test_readers_decode_every_message_of_a_compressed_load() -> None:
    load = Wire(readers=9, rate=100, seconds=1.5, warmup=2.5, batch=1)
    found = run(Launch(), load, "shared")
    assert found["missing or wrong"] == 0
    assert found["compressed frames"] > 0
