"""Variables: what others set is passed over, values are trimmed, secrets may stand in files."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from livelog.config import OPTIONS, Config, flag, load
from livelog.config.environment import token
from livelog.errors import ConfigError

SECRET = "a secret that has more than thirty-two bytes"

KUBERNETES = {
    "LIVELOG_PORT": "tcp://10.0.0.1:8000",
    "LIVELOG_SERVICE_HOST": "10.0.0.1",
    "LIVELOG_SERVICE_PORT": "8000",
    "LIVELOG_SERVICE_PORT_HTTP": "8000",
    "LIVELOG_SERVICE_PORT_WEB_SOCKET": "8001",
    "LIVELOG_PORT_8000_TCP": "tcp://10.0.0.1:8000",
    "LIVELOG_PORT_8000_TCP_PROTO": "tcp",
    "LIVELOG_PORT_8000_TCP_PORT": "8000",
    "LIVELOG_PORT_8000_TCP_ADDR": "10.0.0.1",
    "LIVELOG_PORT_53_UDP": "udp://10.0.0.1:53",
    "LIVELOG_DB_SERVICE_HOST": "10.0.0.2",
    "LIVELOG_DB_SERVICE_PORT": "5432",
    "LIVELOG_DB_SERVICE_PORT_POSTGRES": "5432",
    "LIVELOG_DB_PORT": "tcp://10.0.0.2:5432",
    "LIVELOG_DB_PORT_5432_TCP": "tcp://10.0.0.2:5432",
    "LIVELOG_DB_PORT_5432_TCP_ADDR": "10.0.0.2",
    "LIVELOG_STORE_MAIN_PORT_9_SCTP_PROTO": "sctp",
}
"""What Kubernetes sets for the Services `livelog`, `livelog-db` and `livelog-store-main`."""


def test_what_kubernetes_sets_is_passed_over_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert load({}, KUBERNETES) == Config()
    assert load({}, {**KUBERNETES, "LIVELOG_PORT": " UDP://10.0.0.1:53 "}) == Config()
    assert not caplog.records


@pytest.mark.parametrize("name", OPTIONS)
def test_no_option_has_the_name_of_such_a_variable(name: str) -> None:
    assert f"LIVELOG_{name.upper()}" not in {*KUBERNETES} - {"LIVELOG_PORT"}
    with pytest.raises(ConfigError, match="quotes"):  # it is looked at
        load({}, {f"LIVELOG_{name.upper()}": "''"})


def test_other_variables_are_warned_of_once_and_by_name(caplog: pytest.LogCaptureFixture) -> None:
    variables = {"LIVELOG_PROT": "1", "LIVELOG_COLOUR": "red", "LIVELOG_HOST": "::1", "PORT": "x"}
    assert load({}, variables) == Config(host="::1")
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    said = record.getMessage()
    assert "LIVELOG_PROT (did you mean 'LIVELOG_PORT'?)" in said
    assert "LIVELOG_COLOUR" in said
    assert "HOST" not in said


@pytest.mark.parametrize(
    ("word", "on"),
    [
        *((word, True) for word in ("on", "Yes", "TRUE", "1", " on\n")),
        *((word, False) for word in ("off", "NO", "False", "0", "\t0")),
    ],
)
def test_a_switch_takes_the_usual_words(word: str, on: object) -> None:
    assert load({}, {"LIVELOG_LIMITS": word}).limits.enforced is on


@pytest.mark.parametrize("space", [" ", "\n", "\r\n", "\t", "\ufeff"])
def test_values_are_trimmed(space: str) -> None:
    variables = {"LIVELOG_PORT": f"{space}9000{space.strip(chr(0xFEFF))}", "LIVELOG_STORE": "x\r\n"}
    config = load({}, variables)
    assert (config.net.port, config.storage.path) == (9000, "x")


def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    file = tmp_path / "live.toml"
    file.write_text("port = 9000\n")
    variables = {"LIVELOG_PORT": " ", "LIVELOG_HOST": "", "LIVELOG_STORE": "", "LIVELOG_LIMITS": ""}
    assert load({}, variables, str(file)) == Config(port=9000)


def test_flags_and_the_file_stay_strict(tmp_path: Path) -> None:
    file = tmp_path / "live.toml"
    file.write_text("limits = 'on'\n")
    with pytest.raises(ConfigError, match="--limits"):
        load({}, {}, str(file))
    with pytest.raises(ConfigError, match="--port"):
        load({"port": ""}, {})
    with pytest.raises(ConfigError, match="prot"):
        load({"prot": "1"}, {})


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("LIVELOG_PORT", "x", "--port: 'x' is not allowed"),
        ("LIVELOG_LIMITS", "y", "--limits: 'y' is not allowed: Expected bool, one of on, yes, "),
        ("LIVELOG_PORT", '"8000"', "quotes"),
        ("LIVELOG_STORE", "'live.db'", "quotes"),
        ("LIVELOG_JWT_SECRET", f'"{SECRET}"', "quotes"),
        ("LIVELOG_JWT_SECRET", "\r\n", "is empty"),
        ("LIVELOG_JWT_SECRET_FILE", "", "is empty"),
        ("LIVELOG_JWKS_URL", " ", "is empty"),
        ("LIVELOG_HOST", ",", "address to listen on"),
        ("LIVELOG_TRUSTED_PROXIES", "proxy", "10.0.0.0/8"),
    ],
)
def test_an_error_from_a_variable_names_it(variable: str, value: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({}, {variable: value})
    assert str(caught.value).startswith(f"{variable}: ")
    assert said in str(caught.value)


def test_a_variable_that_a_flag_beats_does_not_count() -> None:
    variables = {"LIVELOG_PORT": "x", "LIVELOG_JWT_SECRET": "", "LIVELOG_JWT_SECRET_FILE": "/none"}
    assert load({"port": "1", "jwt_secret": "x"}, variables) == Config(port=1, jwt_secret="x")


# Secrets.


@pytest.mark.parametrize("name", ["jwt_secret", "introspection_client_secret"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", " ", ""])
def test_a_secret_is_trimmed_with_a_warning_that_does_not_show_it(
    name: str, ending: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"\xef\xbb\xbf" + (SECRET + ending).encode() if ending else SECRET.encode())
    variable = f"LIVELOG_{name.upper()}"
    assert load({}, {variable: SECRET + ending}) == Config(**{name: SECRET})
    assert load({}, {f"{variable}_FILE": f"{file}\n"}) == Config(**{name: SECRET})
    assert len(caplog.records) == (2 if ending else 0)
    for record in caplog.records:
        assert variable in record.getMessage()
        assert SECRET not in record.getMessage()


@pytest.mark.parametrize(("ending", "warnings"), [("\n", 0), ("\r\n", 0), ("\n\n", 1), (" \n", 1)])
def test_the_line_end_of_a_file_is_worth_no_warning(
    ending: str, warnings: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "secret").write_bytes(f"{SECRET}{ending}".encode())
    named = {"LIVELOG_JWT_SECRET_FILE": str(tmp_path / "secret")}
    assert load({}, named) == Config(jwt_secret=SECRET)
    assert len(caplog.records) == warnings


@pytest.mark.parametrize("wrong", [f"{SECRET}\n", f" {SECRET}", f"{SECRET}\r\n"])
def test_a_secret_from_elsewhere_has_no_space_around_it(wrong: str) -> None:
    with pytest.raises(
        ConfigError, match="--jwt-secret: begins or ends with white space"
    ) as caught:
        Config(jwt_secret=wrong)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "name", [name for name, option in OPTIONS.items() if option.filled and not option.secret]
)
def test_what_tokens_are_checked_by_has_no_space_around_it_either(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{flag(name)}: begins or ends with white space"):
        load({name: "https://id.example.com/\n"}, {})
    variable = f"LIVELOG_{name.upper()}"
    assert load({}, {variable: " https://x\n"}) == Config(**{name: "https://x"})


def test_a_secret_and_its_file_exclude_each_other(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET)
    variables = {"LIVELOG_JWT_SECRET": SECRET, "LIVELOG_JWT_SECRET_FILE": str(file)}
    with pytest.raises(ConfigError, match="LIVELOG_JWT_SECRET and LIVELOG_JWT_SECRET_FILE"):
        load({}, variables)
    with pytest.raises(ConfigError, match="LIVELOG_TOKEN and LIVELOG_TOKEN_FILE"):
        token({"LIVELOG_TOKEN": "x", "LIVELOG_TOKEN_FILE": str(file)})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b"\xef\xbb\xbf \r\n", "is empty"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"x" * 70_000, "is larger than 65536 bytes"),
        (f"'{SECRET}'".encode(), "quotes"),
    ],
)
def test_a_file_without_a_usable_secret_is_named(
    content: bytes | None, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load({}, {"LIVELOG_JWT_SECRET_FILE": str(file)})
    assert str(caught.value).startswith(f"LIVELOG_JWT_SECRET_FILE: {file}: ")
    assert said in str(caught.value)
    with pytest.raises(ConfigError, match="LIVELOG_JWT_SECRET_FILE"):
        load({}, {"LIVELOG_JWT_SECRET_FILE": str(tmp_path)})


def test_only_secrets_are_read_from_files(caplog: pytest.LogCaptureFixture) -> None:
    load({}, {"LIVELOG_PORT_FILE": "/etc/port"})
    assert "LIVELOG_PORT_FILE" in caplog.text


def test_the_clients_token_comes_from_a_variable_or_its_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("lk_key\n")
    assert token({}) is token({"LIVELOG_TOKEN": " "}) is None
    assert token({"LIVELOG_TOKEN": "lk_key\n"}) == "lk_key"
    assert token({"LIVELOG_TOKEN_FILE": str(file)}) == "lk_key"
    with pytest.raises(ConfigError, match="LIVELOG_TOKEN: has quotes"):
        token({"LIVELOG_TOKEN": "'lk_key'"})
    with pytest.raises(ConfigError, match="LIVELOG_TOKEN_FILE: /nowhere"):
        token({"LIVELOG_TOKEN_FILE": "/nowhere"})


# Lists.


@pytest.mark.parametrize(
    "given", ["a.example, ::1", ["a.example", "[::1]"], ("a.example", "::1"), "a.example,[::1],::1"]
)
def test_a_list_may_be_a_text_or_a_list(given: object) -> None:
    assert Config(host=given).net.hosts == ("a.example", "::1")


def test_the_demo_keeps_in_memory_unless_told_otherwise(tmp_path: Path) -> None:
    file = tmp_path / "live.toml"
    file.write_text("store = 'livelog.db'\n")
    assert load({"demo": True}, {}).storage.path == "memory"
    assert load({}, {"LIVELOG_DEMO": "yes"}).storage.path == "memory"
    for flags, variables, toml in (
        ({"store": "livelog.db"}, {}, None),
        ({}, {"LIVELOG_STORE": "livelog.db"}, None),
        ({}, {}, str(file)),
    ):
        assert load({"demo": True, **flags}, variables, toml).storage.path == "livelog.db"
    assert load({}, {}).storage.path == "livelog.db"
    assert repr(Config(demo=True)) == "Config(store='memory', demo=True)"
