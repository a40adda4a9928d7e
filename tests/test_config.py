"""Settings: where they come from, what beats what, and what a wrong one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from livelog.config import OPTIONS, Config, flag, load
from livelog.errors import ConfigError

FIELDS = [*OPTIONS]
PROOFS = {
    "jwt_secret",
    "jwt_public_key",
    "jwks_url",
    "jwt_issuer",
    "jwt_audience",
    "oauth_issuer",
    "introspection_url",
    "introspection_client_id",
    "introspection_client_secret",
    "viewer_client_id",
    "viewer_audience",
    "api_keys",
}
"""Settings that turn authentication on, or are part of it."""
LISTENING = ("host", "metrics_host")
SECRETS = {"jwt_secret", "introspection_client_secret"}


def value(config: Config, name: str) -> object:
    """The value of an option, where it is read."""
    return getattr(getattr(config, OPTIONS[name].group), OPTIONS[name].field)


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_says_what_it_means(name: str) -> None:
    option = OPTIONS[name]
    assert len(option.description) > 10
    assert option.description.endswith(".")
    assert isinstance(option.default, bool) or option.metavar.isupper()


def test_a_flag_beats_a_variable_beats_the_file_beats_the_default(tmp_path: Path) -> None:
    file = tmp_path / "live.toml"
    file.write_text("port = 1\nping_interval = 1.5\nstall_seconds = 7\n")
    environment = {"LIVELOG_PORT": "2", "LIVELOG_PING_INTERVAL": "2", "OTHER": "x"}
    config = load({"port": "3"}, environment, str(file))
    assert (config.net.port, config.net.ping_interval, config.net.stall_seconds) == (3, 2.0, 7.0)
    assert config.net.hosts == ("127.0.0.1",)


def test_a_byte_order_mark_before_the_file_is_skipped(tmp_path: Path) -> None:
    file = tmp_path / "live.toml"
    file.write_bytes(b"\xef\xbb\xbfport = 1\r\n")
    assert load({}, {}, str(file)).net.port == 1


def test_all_defaults_are_allowed() -> None:
    assert Config() == load({}, {})
    plain = [name for name in FIELDS if not (OPTIONS[name].read or OPTIONS[name].filled)]
    defaults = {name: value(Config(), name) for name in plain}
    assert Config(**defaults) == Config()


@pytest.mark.parametrize("text", ["true", "1", "false", "0"])
def test_a_switch_can_be_set_by_a_variable(text: str) -> None:
    assert load({}, {"LIVELOG_LIMITS": text}).limits.enforced == (text in ("true", "1"))


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("port", "99999", "<= 65535"),
        ("port", "http", "int"),
        ("ping_interval", "0", "> 0"),
        ("ping_interval", "inf", "<= 10000000"),
        ("stall_seconds", "nan", "> 0"),
        ("fanout_share", "1", "< 1"),
        ("retention_messages", "-1", ">= 0"),
        ("limits", "perhaps", "bool"),
        ("message_limit", "0", ">= 1"),
        ("max_frame_bytes", "5", ">= 1024"),
        ("trusted_proxies", "10.0.0.1/8", "10.0.0.0/8, and unix"),
        ("trusted_proxies", "unix, localhost", "10.0.0.0/8, and unix"),
        ("proxy_header", "forwarded", "x-forwarded-for|proxy-protocol"),
        ("uds_mode", "rw-", "[0-7]"),
        ("allowed_origins", "*", "https://example.org"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(name: str, value: str, allowed: str) -> None:
    for flags, variables in (({name: value}, {}), ({}, {f"LIVELOG_{name.upper()}": value})):
        with pytest.raises(ConfigError) as caught:
            load(flags, variables)
        said = str(caught.value)
        assert flag(name) in said
        assert repr(value) in said
        assert allowed in said


SIZES = {name for name in FIELDS if OPTIONS[name].size}
"""Options that are a number of bytes."""


def test_every_size_is_known_as_one() -> None:
    assert {"max_frame_bytes", "max_body_bytes", "window_bytes", "memory_limit"} == SIZES
    assert {name for name in FIELDS if name.endswith("_bytes")} <= SIZES


@pytest.mark.parametrize("unit", ["K", "k", "KiB", " KiB", "kb", " K"])
@pytest.mark.parametrize("name", sorted(SIZES))
def test_a_size_may_have_a_unit_wherever_it_is_written(
    name: str, unit: str, tmp_path: Path
) -> None:
    count = 100 if name.startswith("max_") else 100 * 1024
    text = f"{count}{unit}"
    file = tmp_path / "live.toml"
    file.write_text(f"{name} = '{text}'")
    for config in (
        load({name: text}, {}),
        load({}, {f"LIVELOG_{name.upper()}": text}),
        load({}, {}, str(file)),
    ):
        assert value(config, name) == count * 1024


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("300000000", 300_000_000), ("256M", 2**28), ("1.5G", 3 * 2**29), ("0.5 TiB", 2**39)],
)
def test_units_are_powers_of_1024(text: str, bytes_: int) -> None:
    assert load({"memory_limit": text}, {}).storage.memory_bytes == bytes_


def test_bodies_that_the_memory_could_never_take_are_refused_at_the_start() -> None:
    assert load({"max_body_bytes": "64M"}, {}).net.max_body_bytes == 64 * 2**20
    load({"memory_limit": "64M", "max_body_bytes": "8M"}, {})
    for settings in (
        {"max_body_bytes": "65M"},
        {"max_body_bytes": "9M", "memory_limit": "64M"},
        {"max_body_bytes": "1G", "window_bytes": "4G"},
    ):
        with pytest.raises(ConfigError, match=r"--max-body-bytes: .* an eighth of the memory"):
            load(settings, {})


@pytest.mark.parametrize("text", ["", "M", "1.5", "-1M", "1X", "1e9", "256 M M", "0x10", "256MiBB"])
def test_a_size_that_is_none_is_told_how_to_write_one(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--window-bytes: .*such as 256M"):
        load({"window_bytes": text}, {})


def test_the_memory_limit_follows_the_window_unless_it_is_given() -> None:
    assert Config().storage.memory_bytes == 512 * 2**20
    assert load({"window_bytes": "1G"}, {}).storage.memory_bytes == (1024 + 384) * 2**20
    with pytest.raises(ConfigError, match=r"--memory-limit: 1048576 .* >= 67108864"):
        load({"memory_limit": "1M"}, {})


def test_an_unknown_setting_is_told_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown setting 'prot'; did you mean 'port'\?.*host"):
        Config(prot=1)


def test_a_setting_that_resembles_none_gets_no_suggestion() -> None:
    with pytest.raises(ConfigError, match="unknown setting 'colour'; known are: host, port"):
        Config(colour="red")


def test_an_unknown_key_of_the_file_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "live.toml"
    file.write_text("ping-intervall = 1")
    with pytest.raises(ConfigError) as caught:
        load({}, {}, str(file))
    assert str(file) in str(caught.value)
    assert "'ping-intervall'; did you mean 'ping_interval'?" in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("port = = 1")
    for file in (tmp_path / "missing.toml", broken):
        with pytest.raises(ConfigError, match=file.name):
            load({}, {}, str(file))


def test_a_config_cannot_be_changed() -> None:
    config = Config()
    with pytest.raises(AttributeError, match="read-only"):
        config.net = Config(port=1).net
    with pytest.raises(AttributeError):
        config.net.port = 1  # type: ignore[misc]  # the mistake in question


def test_a_config_made_by_a_program_is_checked_too() -> None:
    with pytest.raises(ConfigError, match="--port"):
        Config(port=-1)
    with pytest.raises(ConfigError, match="--port"):
        Config(port="80")


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in PROOFS])
def test_every_setting_can_be_made_in_every_way(name: str, tmp_path: Path) -> None:
    plain = "" if OPTIONS[name].read else value(Config(), name)
    default = "127.0.0.1" if name in LISTENING else plain
    written = str(default).lower() if isinstance(default, bool) else str(default)
    file = tmp_path / "live.toml"
    file.write_text(f"{name} = {repr(default) if isinstance(default, str) else written}")
    by_variable = load({}, {f"LIVELOG_{name.upper()}": written})
    assert load({name: written}, {}) == by_variable == load({}, {}, str(file)) == Config()


@pytest.mark.parametrize("name", FIELDS)
def test_no_setting_takes_just_anything(name: str) -> None:
    listed = [] if name in (*LISTENING, "allowed_hosts") else [["a", "list"]]
    wrongs: list[object] = [*listed, ["a", 1], None, {}]
    for wrong in wrongs:
        with pytest.raises(ConfigError, match=flag(name)):
            load({name: wrong}, {})


@pytest.mark.parametrize("word", ["nan", "inf", "-inf", "1e999"])
@pytest.mark.parametrize("name", FIELDS)
def test_no_number_can_be_endless(name: str, word: str) -> None:
    if isinstance(OPTIONS[name].default, (int, float)):
        with pytest.raises(ConfigError, match=flag(name)):
            load({}, {f"LIVELOG_{name.upper()}": word})


def test_an_unknown_setting_is_told_all_that_there_are(tmp_path: Path) -> None:
    file = tmp_path / "live.toml"
    file.write_text("prot = 1")
    for flags, source in (({"prot": 1}, None), ({}, str(file))):
        with pytest.raises(ConfigError) as caught:
            load(flags, {}, source)
        assert all(name in str(caught.value) for name in ["'prot'", *FIELDS])


def test_the_name_of_the_file_is_no_setting() -> None:
    assert load({}, {"LIVELOG_CONFIG": "live.toml", "PORT": "1"}) == Config()


def test_a_file_that_is_nested_too_deeply_is_named(tmp_path: Path) -> None:
    file = tmp_path / "deep.toml"
    file.write_text("port = " + "[" * 5000)
    with pytest.raises(ConfigError, match=r"deep\.toml: is nested too deeply"):
        load({}, {}, str(file))


def test_a_file_that_is_not_text_or_no_file_is_named(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"host = '\xff'")
    for file in (tmp_path, binary):
        with pytest.raises(ConfigError, match=f"--config {file}"):
            load({}, {}, str(file))


@pytest.mark.parametrize("name", sorted(PROOFS))
def test_what_protects_the_server_cannot_be_set_to_nothing(name: str, tmp_path: Path) -> None:
    file = tmp_path / "live.toml"
    file.write_text(f"{name} = ''")
    ways: list[tuple[dict[str, str], dict[str, str], str | None]] = [
        ({name: ""}, {}, None),
        ({}, {f"LIVELOG_{name.upper()}": ""}, None),
        ({}, {}, str(file)),
    ]
    for flags, variables, source in ways:
        with pytest.raises(ConfigError, match=f"{flag(name)}: is empty"):
            load(flags, variables, source)
    with pytest.raises(ConfigError, match=f"{flag(name)}: is empty"):
        Config(**{name: ""})
    assert value(load({name: "x"}, {}), name) == "x"


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_a_secret_is_never_shown(name: str) -> None:
    config = load({name: "hunter2", "port": 1}, {})
    assert repr(config) == f"Config(port=1, {name}='…')"
    with pytest.raises(ConfigError) as caught:
        load({name: ["hunter2"]}, {})
    assert "hunter2" not in str(caught.value)
    assert OPTIONS[name].secret


def test_all_other_settings_may_be_shown() -> None:
    assert {name for name in FIELDS if OPTIONS[name].secret} == SECRETS
