"""nginx in front of the server: the same load direct, through nginx, and through nginx with TLS.

nginx runs with the configuration that comes with livelog, of which only addresses,
certificate and limits are changed. It has the server's core, as on a small machine that serves
both; the load's own TLS runs on the other core.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from bench import loadprocess
from bench.certificate import make_certificate
from bench.load import Load
from bench.report import Figures
from bench.server import SERVER_CORES, START_SECONDS, TOP, Launch, Server, stop

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or "nginx"
MAIN = """
user %s; daemon off; master_process off; pid nginx.pid; error_log stderr error;
events { worker_connections 16384; }
http { client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u;
scgi_temp_path s; %s }
"""
FRONTS = {"nginx": "ws", "nginx and TLS": "wss"}
LOAD = Load(subscribers=1000, rate=10)


def in_front(launch: Launch, load: Load) -> Figures:
    """Return p95 and CPU of each way, and their ratios to the direct one."""
    with launch.server() as server:
        direct = loadprocess.figures(load, server)
    found = {f"direct {name}": direct[name] for name in ("p95 ms", "CPU us/delivery", "missing")}
    for name, scheme in FRONTS.items():
        with launch.server() as server, before(server.url, scheme) as front:
            figures = loadprocess.figures(load, Server(front.url, server.pid))
            spent = front.cpu_ns() / 1000 / (load.messages * load.subscribers)
        found |= {
            f"{name}: p95 ms": figures["p95 ms"],
            f"{name}: p95 / direct": figures["p95 ms"] / direct["p95 ms"],
            f"{name}: server's CPU / direct": figures["CPU us/delivery"]
            / direct["CPU us/delivery"],
            f"{name}: nginx's CPU us/delivery": spent,
            f"{name}: missing": figures["missing"],
        }
    return found


@contextmanager
def before(url: str, scheme: str) -> Iterator[Server]:
    """Run nginx in front of `url`; the memory and CPU are those of its one process."""
    port = _free_port()
    with TemporaryDirectory() as folder:
        text = _configuration(Path(folder), urlsplit(url).netloc, port, scheme)
        Path(folder, "nginx.conf").write_text(MAIN % (getpass.getuser(), text))
        process = subprocess.Popen(
            (NGINX, "-p", folder, "-c", "nginx.conf"),
            preexec_fn=lambda: os.sched_setaffinity(0, SERVER_CORES),
        )
        try:
            _wait_for(port)
            yield Server(f"{scheme}://127.0.0.1:{port}{urlsplit(url).path}", process.pid)
        finally:
            stop(process)


def _configuration(folder: Path, upstream: str, port: int, scheme: str) -> str:
    text = (TOP / "livelog" / "web" / "deploy" / "nginx.conf").read_text()
    cert, key = make_certificate(folder)
    for old, new in {
        "127.0.0.1:8000": upstream,
        "listen 80": f"listen 127.0.0.1:{_free_port()}",
        "listen 443 ssl": f"listen 127.0.0.1:{port}{' ssl' if scheme == 'wss' else ''}",
        "/etc/ssl/livelog.pem": str(cert),
        "/etc/ssl/livelog.key": str(key),
        "/var/log/nginx/livelog.log": str(folder / "access.log"),
        "livelog_connections 1000": "livelog_connections 20000",
        "burst=1000": "burst=20000",
    }.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit("nginx did not start")
