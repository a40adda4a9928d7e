"""The parser of all commands, and the options that the commands of the client share."""

from __future__ import annotations

import argparse
import os
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn
from urllib.parse import urlsplit

from livelog.cli import profiles
from livelog.cli.exit import WRONG_USAGE, printed, say
from livelog.cli.profiles import Profile
from livelog.client.url import listed, shown
from livelog.config import environment
from livelog.config.suggest import suggestion
from livelog.errors import ConfigError
from livelog.wire import WEBSOCKET_PATH

DEFAULT_URL = f"ws://127.0.0.1:8000{WEBSOCKET_PATH}"
_OF_ENVIRONMENT = "\0"
"""Stands for the token in the environment: it is looked at only where no option gives one."""
_SCHEMES = {"http": "ws", "https": "wss"}


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keep examples as they are written, and options such as `--limit-window` on one line."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False)


class Parser(argparse.ArgumentParser):
    """A parser that takes options in full only, and suggests the one that was meant.

    An error is one line on stderr.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            formatter_class=HelpFormatter, allow_abbrev=False, add_help=False, **settings
        )
        self.add_argument("-h", "--help", action="help", help="Print this help and exit.")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return the options. Ends the process when one is unknown or invalid."""
        given, rest = self.parse_known_args(args, namespace)
        for word in rest:
            self.error(self._unknown(word) if word.startswith("-") else f"unexpected {word!r}")
        return given

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Find unknown options first: a mistyped one must not show as a missing one."""
        for word in self._own_options(args or ()):
            if word not in self._option_string_actions:
                self.error(self._unknown(word))
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end the process."""
        say(message if message.endswith("?") else f"{message}; see {self.prog} --help")
        self.exit(WRONG_USAGE)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print help or the version; argparse would pass over an output that takes nothing."""
        if code := printed(message):
            self.exit(code)

    def _own_options(self, words: Iterable[str]) -> Iterator[str]:
        """Yield the names of the long options that this parser and no other has to know."""
        for word in words:
            if word == "--" or (self._subparsers is not None and not word.startswith("-")):
                return
            if word.startswith("--"):
                yield word.partition("=")[0]

    def _unknown(self, word: str) -> str:
        return f"unknown option {word!r}{suggestion(word, self._option_string_actions)}"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            meant = suggestion(str(value), known) or f"; known are: {', '.join(known)}"
            what = action.option_strings[0] if action.option_strings else action.metavar
            self.error(f"unknown {str(what or '').lower()} {value!r}{meant}")


class ClientParser(Parser):
    """The parser of a command that works with a server, whose address and token may stand
    elsewhere: in an option, in the profile that one names, in a variable, or in the profile that a
    variable names, in this order."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return the options, with those of the server from wherever they stand."""
        given = super().parse_args(args, namespace)
        try:
            _complete(given)
        except (ConfigError, argparse.ArgumentTypeError) as error:
            self.error(str(error))
        return given


def parser(name: str, description: str, examples: str) -> Parser:
    """Make the parser of a command of the client, with the options that all of them have."""
    made = ClientParser(
        prog=f"livelog {name}", description=description, epilog=f"examples:\n{examples}"
    )
    add_url(made)
    return made


def add_url(made: argparse.ArgumentParser) -> None:
    """Add the options with the address and the credential, which a `ClientParser` completes."""
    made.add_argument(
        "--url",
        type=_urls,
        metavar="URL",
        help=f"Address of the server (default: the variable LIVELOG_URL, or {DEFAULT_URL}), or"
        " comma-separated addresses of servers that share a log.",
    )
    add_token(made)
    made.set_defaults(token=None)
    made.add_argument(
        "--cacert",
        metavar="FILE",
        help="PEM file of the certificate authorities to trust, in the place of the system's.",
    )
    made.add_argument(
        "--profile",
        metavar="NAME",
        help="Name of the server's section in ~/.config/livelog/profiles.toml, with url, token_file"
        " and cacert (default: the variable LIVELOG_PROFILE).",
    )


def add_token(made: argparse.ArgumentParser) -> None:
    """Add the option with the credential."""
    made.add_argument(
        "--token",
        type=_token,
        default=_OF_ENVIRONMENT,
        metavar="TOKEN",
        help="Token or API key to authenticate with (default: the variable LIVELOG_TOKEN, which"
        " other users of the machine do not see, or the file that LIVELOG_TOKEN_FILE names).",
    )


def _complete(given: argparse.Namespace) -> None:
    """Set what no option gives. Raises `ConfigError` and `ArgumentTypeError`."""
    chosen = _profile(given.profile)
    usual = (
        Profile() if given.profile else _profile(os.environ.get(environment.PROFILE, "").strip())
    )
    if given.url is None:
        variable = os.environ.get(environment.URL, "").strip()
        given.url = _urls(chosen.url or variable or usual.url or DEFAULT_URL)
    if usual.url is not None and given.url != _urls(usual.url):
        usual = Profile()  # its token is for its own server, and no other may see it
    if given.token is None:
        given.token = chosen.token or _token_of_environment() or usual.token
    if cacert := given.cacert or chosen.cacert or usual.cacert:
        _trust(cacert)


def _profile(name: str | None) -> Profile:
    found = profiles.named(name, os.environ) if name else Profile()
    if found.token is not None:
        _checked_token(found.token, f" in the profile {name}")
    return found


def _trust(file: str) -> None:
    """Let TLS trust the authorities of a file only, in all of this process."""
    import ssl  # large, and this is for commands without a connection, too

    try:
        ssl.create_default_context(cafile=file)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        issue = error.strerror if isinstance(error, FileNotFoundError) else "has no certificates"
        raise ConfigError(f"--cacert: {file}: {issue}") from None
    # OpenSSL reads it whenever a context loads its default certificates.
    os.environ["SSL_CERT_FILE"] = file


def add_selection(made: Parser, json: str | None = "Print messages as JSON, one a line.") -> None:
    """Add the options that select messages and, if `json` is its help, say how to print them."""
    made.add_argument(
        "--type",
        action="append",
        default=[],
        metavar="TYPE",
        help="Select messages of this type; may be repeated, or list several: user,dm.",
    )
    made.add_argument(
        "--filter",
        action="append",
        default=[],
        type=_condition,
        metavar="NAME=VALUE",
        help="Select messages for which this holds: channel=general, user_id=…, date_from=…; may"
        " be repeated, and then all must hold.",
    )
    made.add_argument(
        "--where",
        metavar="EXPRESSION",
        help="Select messages for which this expression holds: 'channel:general -dragon'.",
    )
    if json is not None:
        made.add_argument("--json", action="store_true", help=json)


def types(given: Sequence[str]) -> list[str]:
    """Return the types that `--type` names."""
    return [name for names in given for name in names.split(",") if name]


def filters(given: argparse.Namespace) -> dict[str, Any]:
    """Return the filters that `--filter` and `--where` name."""
    where = {} if given.where is None else {"where": given.where}
    return {**dict(given.filter), **where}


def _condition(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is invalid: must be NAME=VALUE")
    return name, value


def _token(text: str) -> str | None:
    if text == _OF_ENVIRONMENT:  # argparse converts a default, too, where no option is given
        return _token_of_environment()
    return _checked_token(text, "")


def _token_of_environment() -> str | None:
    try:
        found = environment.token(os.environ)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return None if found is None else _checked_token(found, " in LIVELOG_TOKEN")


def _checked_token(text: str, where: str) -> str:
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise argparse.ArgumentTypeError(f"invalid token{where}")  # without the secret
    return text


def _urls(text: str) -> str:
    """Return the addresses, corrected."""
    return ",".join(map(url, listed(text) or [text]))


def url(text: str) -> str:
    """Return a WebSocket address; `http://…` and a missing path are corrected."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # checked only on access
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{shown(text)!r} is invalid: {error}") from None
    scheme = _SCHEMES.get(parts.scheme, parts.scheme)
    if scheme == "ws+unix":
        return text
    if scheme not in ("ws", "wss") or not parts.netloc:
        issue = f"must be an address such as {DEFAULT_URL}"
        raise argparse.ArgumentTypeError(f"{shown(text)!r} is invalid: {issue}")
    path = WEBSOCKET_PATH if parts.path in ("", "/") else parts.path
    return parts._replace(scheme=scheme, path=path).geturl()
