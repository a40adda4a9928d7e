"""The options `--engine` and `--engine-creds`: addresses of shared logs, and what is refused."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest

from livelog import Config
from livelog.config.address import SharedLog, shared_log
from livelog.engine.factory import engine_of
from livelog.engine.local import LocalEngine
from livelog.errors import ConfigError
from tests.support.process import Start, ended


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("nats://n1/prod", ("nats://n1:4222",)),
        ("nats://n1:1,n2,10.0.0.1:3/prod", ("nats://n1:1", "nats://n2:4222", "nats://10.0.0.1:3")),
        ("tls://nats.example.com/prod", ("tls://nats.example.com:4222",)),
        ("nats://[::1],[2001:db8::1]:5/prod", ("nats://[::1]:4222", "nats://[2001:db8::1]:5")),
    ],
)
def test_an_address_names_brokers_and_a_log(text: str, servers: tuple[str, ...]) -> None:
    assert shared_log(text) == SharedLog(servers, "prod")
    assert Config(engine=text).cluster.address == SharedLog(servers, "prod")


@pytest.mark.parametrize(
    "text",
    [
        "n1",
        "nats://n1",
        "nats://n1/",
        "nats:///prod",
        "nats://n1,/prod",
        "nats://n1:x/prod",
        "nats://n1/prod/more",
        "nats://n1/a.b",
        "nats://n1/a*",
        f"nats://n1/{'a' * 65}",
        "http://n1/prod",
        "nats://user:password@n1/prod",
        "nats://n1/prod?tls=1",
        " nats://n1/prod",
    ],
)
def test_what_is_no_address_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(
        ConfigError, match=r"--engine: .* is not allowed: Expected nats://HOST"
    ) as e:
        Config(engine=text)
    assert "--engine-creds" in str(e.value)


def test_credentials_need_an_engine() -> None:
    with pytest.raises(ConfigError, match="--engine-creds: needs --engine"):
        Config(engine_creds="livelog.creds")


def test_without_an_address_the_order_is_made_here() -> None:
    assert isinstance(engine_of(Config(), lambda: 0.0), LocalEngine)


def test_without_its_extra_the_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("livelog.engine.nats.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "nats", None)
    with pytest.raises(
        ConfigError, match=r"--engine: needs the extra: pip install 'livelog-server\[nats"
    ):
        engine_of(Config(engine="nats://n1/prod"), lambda: 0.0)


def test_the_extra_is_not_loaded_without_the_option() -> None:
    code = "import sys, livelog.cli.serving; print('nats' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_server_that_waits_for_its_brokers_can_be_stopped(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and says nothing
        address = f"nats://127.0.0.1:{silent.getsockname()[1]}/prod"
        process = start("--port", "0", "--engine", address)
        silent.accept()[0].close()
        process.send_signal(signal.SIGTERM)
        code, out, _ = ended(process)
        assert (code, out) == (0, "livelog stopped\n")
