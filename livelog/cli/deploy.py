"""`livelog deploy`: print a file with which livelog is run, with the reader's values filled in.

The files stand in `livelog/web/deploy`, complete and as they are tested. A value replaces the one
that a file has in its place: `FILES` says which values a file takes, and what stands for each.
"""

from __future__ import annotations

import re
from argparse import SUPPRESS, ArgumentTypeError
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import NamedTuple

from livelog.cli.exit import WRONG_USAGE, printed, say
from livelog.cli.options import Parser
from livelog.config.suggest import suggestion

_EXAMPLES = """\
examples:
  livelog deploy systemd --user livelog > livelog.service
  livelog deploy nginx --name log.example.com --cert /etc/tls/c.pem --key /etc/tls/k.pem
  livelog deploy nginx-path --path /live
  livelog deploy three-nodes > three-nodes.sh; bash three-nodes.sh
  livelog deploy kubernetes --image registry.example.com/livelog:1 --engine nats://n1,n2/prod

A value that a file has no place for is refused, and so is one that would need quoting.
"""


class Value(NamedTuple):
    """A value that readers give."""

    metavar: str
    pattern: str
    """What it may look like: it needs no quotes in any of the files."""
    help: str


_FILE = r"/[A-Za-z0-9._/@-]*[A-Za-z0-9._@-]"

VALUES = {
    "name": Value("DOMAIN", r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", "Name of the site."),
    "host": Value("ADDRESS", r"[0-9.]+|localhost", "IPv4 address that livelog listens on."),
    "port": Value("PORT", r"[1-9][0-9]{0,4}", "Port that livelog listens on."),
    "path": Value("PREFIX", r"(/[A-Za-z0-9._-]+)+", "Path below which the site has livelog."),
    "store": Value("FILE", _FILE, "File of the store."),
    "user": Value("USER", r"[a-z_][a-z0-9_-]{0,31}", "User that livelog runs as."),
    "program": Value("FILE", _FILE, "The command livelog."),
    "config": Value("FILE", _FILE, "TOML file of settings."),
    "cert": Value("FILE", _FILE, "PEM certificate and its chain."),
    "key": Value("FILE", _FILE, "PEM private key."),
    "image": Value("IMAGE", r"[a-z0-9][a-z0-9._/:@-]*", "Name of the container's image."),
    "engine": Value("URL", r"(nats|tls)://[A-Za-z0-9.,:-]+/[A-Za-z0-9_-]+", "The shared log."),
}

Places = Mapping[str, Sequence[tuple[str, str]]]
"""Value → texts of a file, and what each becomes; `{}` is the value, `{folder}` its folder."""

_PORT = [(":8000", ":{}")]
_TLS = {
    "cert": [("/etc/ssl/livelog.pem", "{}")],
    "key": [("/etc/ssl/livelog.key", "{}")],
}
_ADDRESS = {"host": [("127.0.0.1:8000", "{}:8000")], "port": _PORT}
_DATA = [("/data", "{folder}"), ("livelog.db", "{file}")]

FILES: dict[str, tuple[str, str, Places]] = {
    "systemd": (
        "livelog.service",
        "unit of systemd, sandboxed",
        {
            "user": [("DynamicUser=yes", "User={}")],
            "program": [("/opt/livelog/bin/livelog", "{}")],
            "config": [("/etc/livelog/livelog.toml", "{}")],
            "store": [
                ("StateDirectoryMode=0700\n", "StateDirectoryMode=0700\n{env}STORE={}\n{writes}"),
                ("/var/lib/livelog/livelog.db", "{}"),
            ],
            "host": [("LimitNOFILE", "{env}HOST={}\nLimitNOFILE")],
            "port": [("LimitNOFILE", "{env}PORT={}\nLimitNOFILE")],
        },
    ),
    "systemd-socket": ("livelog.socket", "socket activation, beside the unit", _ADDRESS),
    "container": (
        "Containerfile",
        "image for podman, docker and Kubernetes",
        {
            "port": [("8000", "{}")],
            "store": _DATA,
        },
    ),
    "compose": (
        "compose-one.yaml",
        "one server in a container",
        {
            "port": [("8000:8000", "{}:8000"), ("localhost:8000", "localhost:{}")],
            "image": [("image: livelog", "image: {}")],
        },
    ),
    "compose-nodes": (
        "compose.yaml",
        "three brokers and three servers in containers",
        {"image": [("image: livelog", "image: {}")]},
    ),
    "three-nodes": ("three-nodes.sh", "the same on this machine, to try what they survive", {}),
    "kubernetes": (
        "kubernetes.yaml",
        "three servers on Kubernetes",
        {
            "image": [("image: livelog", "image: {}")],
            "engine": [("nats://nats:4222/prod", "{}")],
            "port": [('"8000"', '"{}"'), ("containerPort: 8000", "containerPort: {}")],
            "store": _DATA,
        },
    ),
    "nginx": (
        "nginx.conf",
        "nginx before one server, with TLS and limits",
        {**_ADDRESS, **_TLS, "name": [("log.example.org", "{}")]},
    ),
    "nginx-path": (
        "nginx-path.conf",
        "nginx with livelog below a path of a site",
        {**_ADDRESS, "name": [("example.org", "{}")], "path": [("/logs", "{}")]},
    ),
    "nginx-nodes": (
        "nginx-nodes.conf",
        "nginx before several servers",
        {"port": [*_PORT, ("listen 8000", "listen {}")]},
    ),
    "alerts": ("prometheus-rules.yml", "alert rules of Prometheus, and the scrape", {}),
    "dashboard": ("grafana-dashboard.json", "dashboard of Grafana", {}),
}
"""Name → file in `livelog/web/deploy`, its use, and where it has the reader's values."""


def main(arguments: Sequence[str]) -> int:
    """Print the file, and return the exit code."""
    name, *rest = arguments
    given = vars(make_parser(name).parse_args(rest))
    wanted = given.pop("name_of_file")
    if wanted not in FILES:
        meant = suggestion(wanted, FILES) if wanted else ""
        say(f"{'unknown file ' + repr(wanted) if wanted else 'which file?'}{meant}; there are:")
        for each, (_, use, _) in FILES.items():
            say(f"  {each:<15} {use}")
        return WRONG_USAGE
    values = {value: text for value, text in given.items() if text is not None}
    taken = FILES[wanted][2]
    for value in values:
        if value not in taken:
            known = ", ".join(f"--{each}" for each in taken) or "no values"
            say(f"--{value}: {wanted} has no place for it; it takes {known}")
            return WRONG_USAGE
    return printed(filled(wanted, values))


def filled(name: str, values: Mapping[str, str]) -> str:
    """Return the file with the values in their places."""
    file, _, places = FILES[name]
    text = (files("livelog") / "web" / "deploy" / file).read_text(encoding="utf-8")
    for value, given in values.items():
        folder, _, base = given.rpartition("/")
        writes = f"ReadWritePaths={folder or '/'}\n"
        for old, new in places[value]:
            replaced = new.format(
                given, folder=folder or "/", file=base, env="Environment=LIVELOG_", writes=writes
            )
            text = text.replace(old, replaced)
    return text


def make_parser(name: str) -> Parser:
    """Make the parser of the command."""
    parser = Parser(
        prog=f"livelog {name}",
        usage=f"livelog {name} NAME [options]",
        description="Print a file with which livelog is run, with your values filled in.\n\n"
        + "\n".join(f"  {each:<15} {use}" for each, (_, use, _) in FILES.items()),
        epilog=_EXAMPLES,
        argument_default=SUPPRESS,
    )
    parser.add_argument(
        "name_of_file", nargs="?", default="", metavar="NAME", help="The file, as listed above."
    )
    for value, about in VALUES.items():
        parser.add_argument(
            f"--{value}",
            type=_checker(about),
            metavar=about.metavar,
            help=about.help,
        )
    return parser


def _checker(value: Value) -> Callable[[str], str]:
    def check(text: str) -> str:
        port = value.metavar != "PORT" or (text.isdigit() and int(text) < 65536)
        if not (port and re.fullmatch(value.pattern, text)):
            raise ArgumentTypeError(f"{text!r} is not allowed: it must match {value.pattern}")
        return text

    return check
