"""`livelog config`: a file of settings is checked, shown with its sources, and begun."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from livelog import Config, cli
from livelog.config import OPTIONS, load

SECRET = "a secret that has more than thirty-two bytes"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OPTIONS:
        monkeypatch.delenv(f"LIVELOG_{name.upper()}", raising=False)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(["config", *arguments]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(["config", *arguments]) == 2
    out, err = capsys.readouterr()
    assert not out
    return err


def test_the_example_has_every_option_and_says_the_defaults(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = printed(capsys, "example")
    assert tomllib.loads(text) == {}
    lines = text.splitlines()
    set_ = [line[1:] for line in lines if line.startswith("#") and not line.startswith("# ")]
    found = tomllib.loads("\n".join(set_))
    assert list(found) == list(OPTIONS)
    not_empty = {name: value for name, value in found.items() if value != ""}
    assert Config.from_text(not_empty) == Config()
    file = tmp_path / "live.toml"
    file.write_text(text)
    assert load({}, {}, str(file)) == Config()
    assert printed(capsys, "check", str(file)) == f"{file} is good: 0 settings\n"


def test_print_tells_each_setting_and_its_source(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "live.toml"
    file.write_text("port = 1\nmessage_limit = 7\nping_interval = 30\nwindow_bytes = '64M'\n")
    monkeypatch.setenv("LIVELOG_MESSAGE_LIMIT", "8")
    monkeypatch.setenv("LIVELOG_TRUSTED_PROXIES", "10.0.0.0/8")
    text = printed(
        capsys,
        "print",
        "--config",
        str(file),
        "--port",
        "2",
        "--host",
        "::1",
        "--host",
        "127.0.0.1",
    )
    sources = dict(line.split("  # ") for line in text.splitlines())
    told = {line.strip(): source for line, source in sources.items()}
    assert told['host = "::1,127.0.0.1"'] == "--host"
    assert told["port = 2"] == "--port"
    assert told["message_limit = 8"] == "LIVELOG_MESSAGE_LIMIT"
    assert told['trusted_proxies = "10.0.0.0/8"'] == "LIVELOG_TRUSTED_PROXIES"
    assert told["ping_interval = 30.0"] == str(file)
    assert told['window_bytes = "64M"'] == str(file)
    assert told["command_limit = 10"] == "default"
    found = tomllib.loads(text)
    assert list(found) == list(OPTIONS)
    by_flags = {"port": "2", "host": "::1,127.0.0.1", "message_limit": "8"}
    expected = load({**by_flags, "trusted_proxies": "10.0.0.0/8"}, {}, str(file))
    assert Config.from_text({k: v for k, v in found.items() if v != ""}) == expected


def test_what_follows_from_another_setting_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    [line] = [line for line in printed(capsys, "print", "--demo").splitlines() if "store =" in line]
    assert line.split("  # ") == [line.split("  # ")[0], "follows from others"]
    assert 'store = "memory"' in line


@pytest.mark.parametrize(
    "arguments",
    [
        ["--jwt-secret", SECRET],
        ["--introspection-client-secret", SECRET],
        ["--introspection-url", f"https://user:{SECRET.replace(' ', '-')}@example.org/x"],
        ["--jwks-url", f"https://user:8/{SECRET.replace(' ', '-')}@example.org/x"],
        ["--jwks-url", f"https://example.org/x?key={SECRET.replace(' ', '-')}"],
    ],
)
def test_no_secret_is_shown(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    text = printed(capsys, "print", *arguments)
    assert "secret that" not in text
    assert "secret-that" not in text
    assert "…" in text


@pytest.mark.parametrize(
    ("text", "issue"),
    [
        ("prot = 1", "did you mean 'port'?"),
        ("port = 70000", "--port: 70000 is not allowed"),
        ("port = ", "live.toml"),
        ("message_limit = true", "--message-limit"),
        ("memory_limit = '1M'", "--memory-limit"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, issue: str
) -> None:
    file = tmp_path / "live.toml"
    file.write_text(text)
    assert issue in refused(capsys, "check", str(file))
    assert issue in refused(capsys, "print", "--config", str(file))


def test_a_file_that_is_not_there_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "none.toml" in refused(capsys, "check", str(tmp_path / "none.toml"))
