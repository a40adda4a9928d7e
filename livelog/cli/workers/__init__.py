"""`livelog serve --workers N`: N processes that serve on one port, and one that watches over them.

The supervisor holds no connection and no message. It is forked from before any loop or thread is
there, keeps the port, passes signals on as orders, reaps what dies (every process, if it is the
first of a container), and starts a worker again that has ended without an order. The kernel spreads
connections over the workers that listen (SO_REUSEPORT), so one that is gone is asked no more.

Each worker is tied to the supervisor by a pair of sockets: it tells there that it is ready, and
takes orders. When the supervisor dies, its end closes, and the workers stop. With `--metrics-port`,
one more process answers there for all of them (`figures`), until the last has ended.

`supervisor` is the process that watches, `child` one that it has forked, as it sees it, and
`worker` the same from inside.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from livelog.cli.workers.supervisor import Answer, Run, Supervisor
from livelog.config import Config
from livelog.net.hosts import hosts_of
from livelog.net.http.internal import internal
from livelog.net.listeners import ALL_IPV4, ALL_IPV6, bind, reserve

_LOCAL = {ALL_IPV4: "127.0.0.1", ALL_IPV6: "::1"}
"""Where a listener on all addresses is reached from the same machine."""


def supervise(
    config: Config,
    run: Run,
    announce: Callable[[str], None],
    reread: Callable[[], Config] | None = None,
) -> int:
    """Run the workers until a signal, and return the exit code.

    `announce` is called once, with the lines that say where they serve, when all are ready;
    `reread` reads the settings again. Raises `OSError` for an address that cannot be listened on.
    """
    with ExitStack() as held:
        port = config.net.port
        for sock in asyncio.run(reserve(config.net)):
            held.enter_context(sock)
            port = sock.getsockname()[1]
        numbers = range(1, config.cluster.workers + 1)
        configs = {number: config_of(config, number, port) for number in numbers}
        answer = _figures(config, configs, held) if config.net.metrics_port else None
        again = reread or (lambda: config)
        with Supervisor(configs, run, announce, again, held, answer) as supervisor:
            return supervisor.watch()


def config_of(config: Config, number: int, port: int) -> Config:
    """Return the configuration of one worker.

    It has its own store and port of metrics, and one of them has the sample traffic.
    """
    store = config.storage.path
    if store != "memory":
        path = Path(store)
        store = str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
    first = config.net.metrics_port
    return config.replaced(
        store=store,
        port=port,
        metrics_port=first and first + number,
        demo=config.demo.enabled and number == 1,
    )


def _figures(config: Config, configs: Mapping[int, Config], held: ExitStack) -> Answer:
    """Listen on the port of the figures of all; return what answers there.

    Raises `OSError` for an address that cannot be listened on.
    """
    from livelog.cli import figures  # it loads an HTTP server and client, which few need

    net = internal(config.net)
    sockets = asyncio.run(bind(net))
    for sock in sockets:
        held.enter_context(sock)
        sock.listen()
    hosts = [sock.getsockname()[0] for sock in sockets]
    own = _LOCAL.get(hosts[0], hosts[0])
    addresses = {number: (own, each.net.metrics_port) for number, each in configs.items()}

    def answer(channel: socket.socket) -> None:
        figures.serve(sockets, figures.Workers(addresses), hosts_of(net, hosts), channel)

    return answer
