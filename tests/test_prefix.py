"""The page and the client below a prefix that a proxy takes off again."""

from __future__ import annotations

import getpass
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.browser import Host, Viewer, chromium, hosting
from tests.support.nginx import HERE, NGINX
from tests.support.ports import free_port
from tests.support.wire import PATIENCE

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(NGINX).exists(), reason="there is no nginx"),
]

CONFIGURATION = """
user {user};
daemon off;
pid nginx.pid;
error_log stderr crit;
events {{ }}
http {{
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    access_log off;
    server {{
        listen {here}:{port};
        {location}
    }}
}}
"""
UPGRADES = """
    proxy_http_version 1.1;
    proxy_set_header   Upgrade    $http_upgrade;
    proxy_set_header   Connection upgrade;
    proxy_set_header   Host       $http_host;
"""


@contextmanager
def proxy(folder: Path, location: str) -> Iterator[int]:
    """Run an nginx that has this location; yield its port."""
    port = free_port()
    text = CONFIGURATION.format(user=getpass.getuser(), here=HERE, port=port, location=location)
    (folder / "nginx.conf").write_text(text)
    process = subprocess.Popen([NGINX, "-p", folder, "-c", "nginx.conf"])
    try:
        deadline = time.monotonic() + PATIENCE
        while not listens(port):
            assert process.poll() is None, "nginx has ended"
            assert time.monotonic() < deadline, "nginx does not listen"
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE)


@contextmanager
def below_a_prefix(host: Host, folder: Path) -> Iterator[str]:
    """Run a proxy in front of a server; yield the address of the page."""
    upstream = f"proxy_pass http://{HERE}:{host.port}/;"
    with proxy(folder, f"location /logs/ {{ {upstream} {UPGRADES} }}") as port:
        yield f"http://{HERE}:{port}/logs/"


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((HERE, port)) == 0


def test_the_page_and_the_client_work_below_a_prefix(tmp_path: Path) -> None:
    with (
        hosting("--store", "memory") as host,
        below_a_prefix(host, tmp_path) as url,
        chromium() as browser,
    ):
        host.publish("from before")
        viewer = Viewer(browser.new_page())
        viewer.open(url)
        viewer.until_row("from before")
        host.publish("live")
        viewer.until_row("live")
        names = viewer.page.evaluate("async () => Object.keys(await import('/logs/livelog.js'))")
        assert "LiveLog" in names
        assert viewer.faults == []
