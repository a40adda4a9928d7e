"""Where a command of the client finds its server: options, profiles, variables; and TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.process import Start, ended, ready
from tests.support.tls import make_certificate


def write(folder: Path, text: str) -> dict[str, str]:
    (folder / "livelog").mkdir()
    (folder / "livelog" / "profiles.toml").write_text(text)
    return {"XDG_CONFIG_HOME": str(folder)}


def test_the_server_is_found_in_a_variable_or_a_profile(start: Start, tmp_path: Path) -> None:
    url = ready(start("--port", "0"))
    here = write(tmp_path, f'[here]\nurl = "{url}"\n[gone]\nurl = "ws://127.0.0.1:9"\n')
    gone = "ws://127.0.0.1:9/ws/live-log"
    for flags, variables, code in [
        (["--url", url], {"LIVELOG_URL": gone}, 0),
        ([], {"LIVELOG_URL": url}, 0),
        ([], {"LIVELOG_URL": gone}, 1),
        (["--profile", "here"], {"LIVELOG_URL": gone}, 0),
        (["--profile", "gone"], {"LIVELOG_URL": url}, 1),
        (["--profile", "gone", "--url", url], {}, 0),
        ([], {"LIVELOG_PROFILE": "here"}, 0),
        ([], {"LIVELOG_PROFILE": "gone", "LIVELOG_URL": url}, 0),
    ]:
        got, _, err = ended(start("history", *flags, **here, **variables))
        assert got == code, (flags, variables, err)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[prot]\nurl = "ws://h"', "did you mean 'prot'"),
        ('[prod]\nurll = "ws://h"', "urll"),
        ("[prod]\nurl = 7", "url"),
        ("[prod", "profiles.toml"),
        ('[prod]\ntoken = "hunter2"\ntoken_file = "x"', "both set"),
        ('[prod]\ntoken_file = "missing"', "missing"),
        ('[prod]\ntoken_file = "~nobody-has-this-name/x"', "~nobody-has-this-name/x"),
        ("a = " + "[" * 5000, "nested too deeply"),
        ('\ufeff[prot]\nurl = "ws://h"', "did you mean 'prot'"),
        ('[prod]\ntoken = "hunter2 with spaces"', "in the profile prod"),
    ],
)
def test_what_is_wrong_in_a_profile_is_named(
    start: Start, tmp_path: Path, text: str, said: str
) -> None:
    code, _, err = ended(start("history", "--profile", "prod", **write(tmp_path, text)))
    assert code == 2
    assert said in err
    assert "hunter2" not in err


def test_the_token_of_a_profile_is_used(start: Start, tmp_path: Path) -> None:
    keys = str(tmp_path / "keys.json")
    create = ("keys", "create", "--api-keys", keys, "--owner", "anna", "--scopes", "read")
    _, key, _ = ended(start(*create))
    url = ready(start("--port", "0", "--api-keys", keys))
    (tmp_path / "anna.token").write_text(key)
    here = write(tmp_path, f'[a]\nurl = "{url}"\ntoken_file = "{tmp_path}/anna.token"')
    assert ended(start("history", "--url", url))[0] == 1
    assert ended(start("history", "--profile", "a", **here))[0] == 0
    assert ended(start("history", LIVELOG_PROFILE="a", **here))[0] == 0
    assert ended(start("history", "--url", url, LIVELOG_PROFILE="a", **here))[0] == 0


def test_the_token_of_the_usual_profile_goes_to_no_other_server(
    start: Start, tmp_path: Path
) -> None:
    keys = str(tmp_path / "keys.json")
    create = ("keys", "create", "--api-keys", keys, "--owner", "anna", "--scopes", "read")
    _, key, _ = ended(start(*create))
    url = ready(start("--port", "0", "--api-keys", keys))
    here = write(tmp_path, f'[a]\nurl = "ws://127.0.0.1:9"\ntoken = "{key.strip()}"')
    here["LIVELOG_PROFILE"] = "a"
    for flags, variables in [(["--url", url], {}), ([], {"LIVELOG_URL": url})]:
        code, _, err = ended(start("history", *flags, **here, **variables))
        assert (code, "authenticate" in err or "authentication" in err) == (1, True), err
    assert ended(start("history", "--profile", "a", "--url", url, **here))[0] == 0


def test_a_server_is_trusted_by_the_authorities_of_a_file(start: Start, tmp_path: Path) -> None:
    chain, key = make_certificate(tmp_path)
    server = start("--port", "0", "--tls-cert", str(chain), "--tls-key", str(key))
    url = ready(server, "wss").replace("127.0.0.1", "localhost")
    code, _, err = ended(start("history", "--url", url))
    assert (code, "--cacert" in err, "printed?" in err) == (1, True, False)
    for command in ("history", "publish"):
        code, out, err = ended(start(command, "--url", url, "--cacert", str(chain)), "")
        assert code == 0, (command, out, err)
    _, out, _ = ended(start("doctor", "--url", url, "--cacert", str(chain)))
    assert "the certificate is valid" in out
    for wrong in (str(key), str(tmp_path / "missing.pem")):
        code, _, err = ended(start("history", "--url", url, "--cacert", wrong))
        assert (code, wrong in err) == (2, True)
