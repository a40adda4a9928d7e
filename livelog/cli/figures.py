"""The figures of all workers on one port: a process beside them that asks each of them.

Each worker has a listener of its own, on the ports above `--metrics-port`. The supervisor listens
on that port itself, and starts this process to answer there. Its threads are the reason why it is
no part of the supervisor, which forks.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from livelog.errors import installing
from livelog.net.hosts import Hosts
from livelog.net.totals import Totals

_ASKED_SECONDS = 2.0
"""Seconds that a worker has to answer."""

_CLIENT_SECONDS = 10.0
"""Seconds that a client has to ask, and to read."""

_MAX_BYTES = 8 * 2**20
"""Bytes of a worker's answer."""

_AT_ONCE = 16
"""Connections at once; more are closed."""


class Answer(NamedTuple):
    """An answer over HTTP."""

    status: int
    body: bytes
    content_type: str = "application/json"


class Workers:
    """The workers, by number and with the address of their own listeners; threads share it."""

    def __init__(self, addresses: Mapping[int, tuple[str, int]]) -> None:
        self._addresses = addresses
        self._totals = Totals(addresses)
        self._lock = threading.Lock()

    def metrics(self, accept: str) -> Answer:
        """Return the metrics of all, in the format that `accept` asks for."""
        try:
            from prometheus_client import CollectorRegistry
            from prometheus_client.exposition import choose_encoder
        except ImportError:
            return _told(501, f"the server lacks prometheus-client: {installing('metrics')}")

        class Merged:
            def collect(self) -> Sequence[Any]:
                return families

        with self._lock:  # or an older page could come behind a newer one
            found = self._ask("/metrics")
            # One that is overloaded refuses with 503, which is an answer about its health only.
            pages = {
                number: answer.body.decode()
                for number, answer in found.items()
                if answer.status == HTTPStatus.OK
            }
            families = self._totals.merge(pages)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Merged())
        encode, content_type = choose_encoder(accept)
        return Answer(200, encode(registry), content_type)

    def health(self, accept: str) -> Answer:
        """Return the health of each; `degraded` unless all are well."""
        workers = self._documents("/healthz")
        well = all(each["status"] == "ok" for each in workers)
        return _json(200, {"status": "ok" if well else "degraded", "workers": workers})

    def readiness(self, accept: str) -> Answer:
        """Return 200 if all workers that are there are ready, 503 otherwise."""
        workers = self._documents("/readyz")
        states = {each["status"] for each in workers} - {"down"}
        ready = states == {"ready"}
        document = {"status": "ready" if ready else "not-ready", "workers": workers}
        return _json(200 if ready else 503, document)

    def _documents(self, path: str) -> list[dict[str, Any]]:
        found = self._ask(path)
        return [
            {"worker": number, **(json.loads(found[number].body) if number in found else _DOWN)}
            for number in self._addresses
        ]

    def _ask(self, path: str) -> dict[int, Answer]:
        """Ask all workers at once; those that do not answer are left out."""
        with ThreadPoolExecutor(len(self._addresses)) as pool:
            found = pool.map(partial(_asked, path=path), self._addresses.values())
            return {
                number: answer
                for number, answer in zip(self._addresses, found, strict=True)
                if answer is not None
            }


_DOWN = {"status": "down"}

_ROUTES: dict[str, Callable[[Workers, str], Answer]] = {
    "/metrics": Workers.metrics,
    "/healthz": Workers.health,
    "/readyz": Workers.readiness,
}


def _asked(address: tuple[str, int], path: str) -> Answer | None:
    """Ask a worker; None if it does not answer, or not as expected."""
    connection = HTTPConnection(*address, timeout=_ASKED_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read(_MAX_BYTES)
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
    return Answer(answer.status, body) if answer.status in (200, 503) else None


def _json(status: int, document: object) -> Answer:
    return Answer(status, json.dumps(document).encode())


def _told(status: int, issue: str) -> Answer:
    return _json(status, {"issue": issue})


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "livelog", ""
    timeout = _CLIENT_SECONDS
    server: _Server

    def do_GET(self) -> None:
        """Answer a request."""
        answer = self._answer()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(answer.body)

    do_HEAD = do_GET

    def _answer(self) -> Answer:
        if not self.server.hosts.allows(self.headers.get("Host", "")):
            return _told(421, "the header Host has a name that is not this server's")
        route = _ROUTES.get(self.path.partition("?")[0])
        if route is None:
            return _told(404, f"nothing here; there is {', '.join(_ROUTES)}")
        return route(self.server.workers, self.headers.get("Accept", ""))

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: it is asked every few seconds."""


class _Server(ThreadingHTTPServer):
    """The answers on one socket, which is bound already; a thread for each connection."""

    daemon_threads = True

    def __init__(self, sock: socket.socket, workers: Workers, hosts: Hosts) -> None:
        super().__init__(sock.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = sock
        self.workers, self.hosts = workers, hosts
        self._room = threading.BoundedSemaphore(_AT_ONCE)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, unless there are too many."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and leave room for another."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Do nothing: the client has gone."""


def serve(
    sockets: Sequence[socket.socket], workers: Workers, hosts: Hosts, channel: socket.socket
) -> None:
    """Answer on sockets that listen, until the other end of `channel` is closed."""
    for sock in sockets:
        server = _Server(sock, workers, hosts)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    while channel.recv(64):
        pass  # orders are for the workers: the figures are told until all have ended
