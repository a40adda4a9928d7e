"""A real nginx in front of a server, with the configuration that comes with livelog.

What an operator would replace is replaced (address, certificate, port), and beyond that only what
a test names. nginx runs as whoever runs the tests.
"""

from __future__ import annotations

import asyncio
import getpass
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.ports import free_port
from tests.support.tls import Files, TlsClient, TlsHttp, secured, trusting
from tests.support.wire import Client, House, Http, serving, soon, until

CONFIGURATION = Path(__file__).parents[2] / "livelog" / "web" / "deploy" / "nginx.conf"
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
HERE, CLIENT = "127.0.0.1", "127.0.0.9"

MAIN = """
{modules}
user {user};
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 2048; }}
http {{
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    {http}
}}
{more}
"""


class Front:
    """A running nginx, in front of `house`."""

    def __init__(self, house: House, files: Files, port: int, *, tls: bool) -> None:
        self.house = house
        self.files = files
        self.address = (HERE, port)
        self._tls = tls

    async def http(self, source: str = CLIENT) -> TlsHttp:
        """A connection from outside, over TLS."""
        return await secured(TlsHttp, self.address, trusting(self.files), source)

    async def connected(self, source: str = CLIENT) -> Client:
        """A connection from outside on which nothing was sent yet."""
        if self._tls:
            return await secured(TlsClient, self.address, trusting(self.files), source)
        return await Client.connect(self.address, source=source)

    async def client(self, query: str = "", source: str = CLIENT) -> Client:
        """A WebSocket from outside that has been greeted."""
        client = await self.connected(source)
        await client.open(query)
        assert (await client.event())["action"] == "connected"
        return client

    async def count(self) -> int:
        """How many messages there are, asked behind nginx's back."""
        http = await Http.connect(self.house.address)
        answer = await http.ask("GET", "/api/history", X_Forwarded_For="203.0.113.99")
        http.close()
        return int(answer.json["total_count"])


@asynccontextmanager
async def nginx(folder: Path, http: str, more: str, port: int) -> AsyncIterator[None]:
    """nginx with this configuration, once it answers at `port`."""
    modules = f"load_module {STREAM};" if "stream" in more else ""
    text = MAIN.format(modules=modules, user=getpass.getuser(), http=http, more=more)
    (folder / "nginx.conf").write_text(text)
    process = await asyncio.create_subprocess_exec(
        NGINX, "-p", str(folder), "-c", "nginx.conf", stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        await until(lambda: process.returncode is not None or _listens(port), "nginx listening")
        assert process.returncode is None, (await process.stderr.read()).decode()
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await soon(process.wait(), "the end of nginx")


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((HERE, port)) == 0


def configured(
    folder: Path, files: Files, upstream: str, port: int, *, tls: bool, changes: dict[str, str]
) -> str:
    """The configuration, with what an operator has to change changed."""
    text = CONFIGURATION.read_text(encoding="utf-8")
    for old, new in {
        "server 127.0.0.1:8000;": f"server {upstream};",
        "listen 80;": f"listen {HERE}:{free_port()};",
        "listen 443 ssl;": f"listen {HERE}:{port}{' ssl' if tls else ''};",
        "/etc/ssl/livelog.pem": str(files.cert),
        "/etc/ssl/livelog.key": str(files.key),
        "/var/log/nginx/livelog.log": str(folder / "access.log"),
        **changes,
    }.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@asynccontextmanager
async def fronted(
    folder: Path,
    files: Files,
    *,
    changes: dict[str, str] | None = None,
    more: str = "",
    uds: bool = False,
    tls: bool = True,
    **settings: Any,
) -> AsyncIterator[Front]:
    """livelog behind nginx. `{upstream}` in `more` stands for where livelog listens."""
    place = {"uds": str(folder / "s"), "trusted_proxies": "unix"} if uds else {}
    async with serving(**{"trusted_proxies": HERE, **place, **settings}) as house:
        port = free_port()
        address = house.address
        upstream = f"unix:{address}" if isinstance(address, str) else f"{HERE}:{address[1]}"
        http = configured(folder, files, upstream, port, tls=tls, changes=changes or {})
        async with nginx(folder, http, more.replace("{upstream}", upstream), port):
            yield Front(house, files, port, tls=tls)
