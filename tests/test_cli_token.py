"""`livelog token`: what it makes opens a real server; and `livelog completion` in real shells."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.process import Start, ended, ready


def test_a_token_signed_with_a_secret_opens_a_server(start: Start, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    assert ended(start("token", "secret", str(secret)))[0] == 0
    assert secret.stat().st_mode & 0o777 == 0o600
    assert ended(start("token", "secret", str(secret)))[0] == 1  # it exists
    make = ("token", "make", "--user", "anna", "--secret", str(secret))
    code, token, _ = ended(start(*make, "--scopes", "read"))
    assert code == 0
    server = start("--port", "0", "--store", "memory", LIVELOG_JWT_SECRET_FILE=str(secret))
    url = ready(server)
    assert ended(start("history", "--url", url))[0] == 1
    assert ended(start("history", "--url", url, LIVELOG_TOKEN=token.strip()))[0] == 0
    line = '{"type":"system","event":"error"}\n'
    code, _, err = ended(start("publish", "--url", url, LIVELOG_TOKEN=token.strip()), line)
    assert (code, "publish" in err) == (1, True)


def test_a_token_signed_with_a_key_opens_a_server(start: Start, tmp_path: Path) -> None:
    key = tmp_path / "anna.pem"
    assert ended(start("token", "keys", str(key)))[0] == 0
    claims = ("--issuer", "dev", "--audience", "logs")
    code, token, _ = ended(start("token", "make", "--user", "anna", "--key", str(key), *claims))
    assert code == 0
    public = str(tmp_path / "anna.pub.pem")
    flags = ("--jwt-public-key", public, "--jwt-issuer", "dev", "--jwt-audience", "logs")
    url = ready(start("--port", "0", "--store", "memory", *flags))
    assert ended(start("history", "--url", url, LIVELOG_TOKEN=token.strip()))[0] == 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--scopes", "rewd"], "'rewd'"),
        (["--hours", "0"], "--hours"),
        (["--hours", "abc"], "'abc' is invalid: must be a number above 0, up to 8760 (a year)"),
        (["--hours", "nan"], "'nan' is invalid: must be a number"),
        (["--secret", "missing.txt"], "missing.txt"),
    ],
)
def test_a_wrong_wish_is_named(start: Start, tmp_path: Path, flags: list[str], said: str) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("x" * 32)
    code, out, err = ended(
        start("token", "make", "--user", "anna", "--secret", str(secret), *flags)
    )
    assert code > 0
    assert out == ""
    assert said in err


def test_a_short_secret_is_refused_and_not_shown(start: Start, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("hunter2")
    code, _, err = ended(start("token", "make", "--user", "anna", "--secret", str(secret)))
    assert (code, "hunter2" in err, "32 bytes" in err) == (1, False, True)


_ASK = """
source {script}
COMP_WORDS=(livelog {words}); COMP_CWORD={at}; _livelog; echo "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("ex", "export"),
        ("tail --si", "--since"),
        ("store ch", "check"),
        ("store check --sto", "--store-key-file"),
        ("completion --he", "--help"),
    ],
)
def test_bash_completes(start: Start, tmp_path: Path, words: str, completed: str) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(ended(start("completion", "bash"))[1])
    asked = _ASK.format(script=script, words=words, at=len(words.split()))
    found = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert found.stdout.split() == [completed]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_takes_the_script(start: Start, shell: str) -> None:
    code, script, _ = ended(start("completion", shell))
    assert code == 0
    assert "--since" in script or "-l since" in script
    if program := shutil.which("bash" if shell != "fish" else shell):
        subprocess.run([program, "-n"], input=script, text=True, check=True)
