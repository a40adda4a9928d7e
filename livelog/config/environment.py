"""Settings from environment variables, which other programs set as well.

Kubernetes sets `LIVELOG_PORT=tcp://…` and more for every Service whose name begins with livelog;
container files keep quotes and line ends. So what is no setting is passed over, with a warning
unless it is known whose it is, and values are trimmed. Flags and the file, which people write for
livelog, are taken as they are.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from livelog.config.check import flag
from livelog.config.options import OPTIONS
from livelog.config.suggest import suggestion
from livelog.errors import ConfigError

PREFIX = "LIVELOG_"
CONFIG, TOKEN = "LIVELOG_CONFIG", "LIVELOG_TOKEN"
"""Variables that name the TOML file, and the token of the client's commands."""
URL, PROFILE = "LIVELOG_URL", "LIVELOG_PROFILE"
"""Variables that name the server, and the profile, of the client's commands."""

_FROM_FILE = "_FILE"
"""Ending of a variable that names a file with the value, as secrets are mounted."""
_NOT_SETTINGS = (CONFIG, TOKEN, TOKEN + _FROM_FILE, URL, PROFILE)
_MAX_FILE_BYTES = 64 * 1024

_OF_SERVICES = re.compile(
    r"LIVELOG_(.+_)?(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
    r"|LIVELOG_SERVICE_\w+"
)
"""Variables that Kubernetes sets for a Service; Docker's links have the same form."""
_ADDRESS_OF_SERVICE = re.compile(r"(tcp|udp|sctp)://", re.IGNORECASE)
_PORT_OF_SERVICE = re.compile(r"LIVELOG_(.+_)?PORT")

_SWITCHES = {"on": True, "yes": True, "true": True, "1": True}
_SWITCHES |= {"off": False, "no": False, "false": False, "0": False}
_log = logging.getLogger(__name__)


def settings(environment: Mapping[str, str], beaten: Container[str] = ()) -> dict[str, Any]:
    """Return the settings among the variables, by flat name; warn once of those that are none.

    `beaten` are the names of settings that flags have set, whose variables do not count. Raises
    `ConfigError`, which names the variable.
    """
    found: dict[str, Any] = {}
    unknown: list[str] = []
    for variable, text in sorted(environment.items()):
        if not _may_be_setting(variable, text):
            continue
        name, from_file = _setting_of(variable)
        if name not in OPTIONS:
            unknown.append(variable)
        elif name not in beaten:
            if from_file and _variable(name) in environment:
                raise _both(_variable(name), variable)
            value = secret_in(variable, text) if from_file else _value(variable, text, name)
            if value != "":
                found[name] = value
    if unknown:
        _log.warning("passed over, because they are no settings: %s", _listed(unknown))
    return found


def sources(environment: Mapping[str, str], beaten: Container[str] = ()) -> dict[str, str]:
    """Return the variable of each setting that comes from one, by flat name."""
    names = {
        _setting_of(variable)[0]: variable
        for variable, text in environment.items()
        if variable.startswith(PREFIX) and text.strip() and not _is_of_a_service(variable, text)
    }
    known = (*OPTIONS, "config")
    return {
        name: variable for name, variable in names.items() if name in known and name not in beaten
    }


def blamed(issue: str, variables: Mapping[str, str]) -> str:
    """Return an error's text with the variable that the setting it begins with has come from."""
    option = re.match(r"--([a-z0-9-]+)", issue)
    variable = variables.get(option[1].replace("-", "_")) if option else None
    return f"{variable}: {issue}" if variable else issue


def config_file(environment: Mapping[str, str]) -> str | None:
    """Return the TOML file that a variable names, if one does."""
    return environment.get(CONFIG, "").strip() or None


def token(environment: Mapping[str, str]) -> str | None:
    """Return the client's token from its variable or the file that one names.

    Raises `ConfigError`, which names the variable.
    """
    given = environment.get(TOKEN, "").strip()
    file = environment.get(TOKEN + _FROM_FILE, "").strip()
    if given and file:
        raise _both(TOKEN, TOKEN + _FROM_FILE)
    return secret_in(TOKEN + _FROM_FILE, file) if file else _unquoted(TOKEN, given) or None


def secret_in(variable: str, file: str) -> str:
    """Return the secret in the file that `variable` names. Raises `ConfigError`."""
    path = _trimmed(file)
    if not path:
        raise ConfigError(f"{variable}: is empty; it must name a file")
    try:
        with Path(path).open("rb") as opened:
            content = opened.read(_MAX_FILE_BYTES + 1)
        text = content.decode("utf-8")
    except (OSError, ValueError) as error:
        issue = "is not UTF-8" if isinstance(error, UnicodeError) else _plain(error)
        raise ConfigError(f"{variable}: {path}: {issue}") from None
    if len(content) > _MAX_FILE_BYTES:
        raise ConfigError(f"{variable}: {path}: is larger than {_MAX_FILE_BYTES} bytes")
    # The line end that editors and shells put behind the last line is worth no warning.
    return _secret(f"{variable}: {path}", text.removesuffix("\n").removesuffix("\r"))


def _secret(where: str, text: str) -> str:
    """Return a secret without the white space around it, which is warned of."""
    secret = _trimmed(text)
    if not secret:
        raise ConfigError(f"{where}: is empty")
    if secret != text:
        _log.warning("%s: the white space around the secret is not taken as a part of it", where)
    return _unquoted(where, secret)


def _value(variable: str, text: str, name: str) -> str | bool:
    """Return the value of a variable; "" where it counts as not set. Raises `ConfigError`."""
    option = OPTIONS[name]
    if option.secret:
        return _secret(f"{variable}: {flag(name)}", text)
    value = _unquoted(variable, _trimmed(text))
    if not value and option.filled:
        raise ConfigError(f"{variable}: {flag(name)}: is empty")
    if not (value and isinstance(option.default, bool)):
        return value
    if value.lower() not in _SWITCHES:
        allowed = f"Expected bool, one of {', '.join(_SWITCHES)}"
        raise ConfigError(f"{variable}: {flag(name)}: {value!r} is not allowed: {allowed}")
    return _SWITCHES[value.lower()]


def _trimmed(text: str) -> str:
    return text.removeprefix("\ufeff").strip()


def _unquoted(where: str, value: str) -> str:
    """Return the value. Raises `ConfigError` for one in quotes, which some programs keep."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        raise ConfigError(f"{where}: has quotes around its value; it must be without them")
    return value


def _setting_of(variable: str) -> tuple[str, bool]:
    """Return the flat name that a variable sets, and whether by way of a file."""
    name = variable.removeprefix(PREFIX).lower()
    secret = OPTIONS.get(name.removesuffix(_FROM_FILE.lower()))
    from_file = name not in OPTIONS and secret is not None and secret.secret
    return (secret.name, True) if from_file and secret else (name, False)


def _may_be_setting(variable: str, text: str) -> bool:
    ours = variable.startswith(PREFIX) and variable not in _NOT_SETTINGS
    return ours and not _is_of_a_service(variable, text)


def _is_of_a_service(variable: str, text: str) -> bool:
    named = _OF_SERVICES.fullmatch(variable) is not None
    address = _ADDRESS_OF_SERVICE.match(text.strip()) is not None
    return named or (address and _PORT_OF_SERVICE.fullmatch(variable) is not None)


def _listed(variables: list[str]) -> str:
    known = [_variable(name) for name in OPTIONS]
    meant = {variable: suggestion(variable, known).removeprefix("; ") for variable in variables}
    return ", ".join(f"{one} ({hint})" if hint else one for one, hint in meant.items())


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _both(one: str, other: str) -> ConfigError:
    return ConfigError(f"{one} and {other} are both set; only one of them may be")


def _plain(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
