"""Live subscriptions with expressions: the CPU of a message that none of them matches.

Some require a term, so that they are found by it; others require none and are tested for every
message. What is delivered is left out, as it costs the same for any kind of subscription.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.clients import SECOND, Publisher, Pump, clock
from bench.report import Figures
from bench.server import Launch, Server
from bench.traffic import Traffic
from bench.websocket import Client

TEXT_LENGTH = 100


@dataclass(frozen=True)
class Subscriptions:
    """Numbers of distinct expressions, and the messages that are published meanwhile."""

    few: int = 10
    many: int = 10_000
    without_term: int = 200
    rate: float = 500
    seconds: float = 6
    warmup: float = 1


# None is true of a message of `bench.traffic`.
REQUIRING: tuple[Callable[[int], str], ...] = (
    lambda n: f"channel:channel_{n} metadata.level:>=40",
    lambda n: f"w{n}x -severity:info",
    lambda n: f"user_id:nobody_{n} OR (channel:channel_{n} -the)",
    lambda n: f"(w{n}y OR user_id:nobody_{n}) the",
)
NOT_REQUIRING: tuple[Callable[[int], str], ...] = (
    lambda n: f"metadata.level:>={n}.5",
    lambda n: f"-channel:general -w{n}z",
    lambda n: f"NOT (user_id:* OR w{n}z)",
    lambda n: f"metadata.level:{n}..{n + 10} OR metadata.rank:<{n}",
    lambda n: f"-w{n}z metadata.guild:g{n}*",
)


def with_expressions(launch: Launch, load: Subscriptions) -> Figures:
    """Compare many expressions that require a term with few, beside those without."""
    few, many = (_cost(launch, load, number) for number in (load.few, load.many))
    return {
        f"CPU us/message, {load.few} and {load.without_term}": few,
        f"CPU us/message, {load.many:,} and {load.without_term}": many,
        "CPU many / few": many / few,
    }


def _cost(launch: Launch, load: Subscriptions, requiring: int) -> float:
    wheres = [REQUIRING[n % len(REQUIRING)](n) for n in range(requiring)]
    wheres += [NOT_REQUIRING[n % len(NOT_REQUIRING)](n) for n in range(load.without_term)]
    pump = Pump()  # before the sockets
    with launch.server() as server:
        clients = [subscribed(server, where) for where in wheres]
        found = cpu_of_a_message(server, pump, load.rate, load.warmup, load.seconds)
        for client in clients:
            client.sock.setblocking(False)
            assert not _has_read(client), "an expression is true of the traffic"
            client.sock.close()
    return found


def subscribed(server: Server, where: str) -> Client:
    """Return a client that is subscribed to the messages of users for which `where` is true."""
    client = Client(server.url)
    client.ask({"action": "subscribe", "message_types": ["user"], "filters": {"where": where}})
    return client


def _has_read(client: Client) -> bool:
    try:
        return bool(client.sock.recv(1))
    except BlockingIOError:
        return False


def cpu_of_a_message(
    server: Server, pump: Pump, rate: float, warmup: float, seconds: float
) -> float:
    """Publish at a steady rate; return the microseconds of the server's CPU for each message."""
    publisher = Publisher(Client(server.url), Traffic(TEXT_LENGTH))
    pump.watch(publisher, [])
    start = clock()
    publisher.plan(start, rate, round(rate * (warmup + seconds)))
    pump.run(start + round(warmup * SECOND))
    began, sent = server.cpu_ns(), publisher.acknowledged
    pump.run(start + round((warmup + seconds) * SECOND))
    spent, done = server.cpu_ns() - began, publisher.acknowledged - sent
    publisher.sock.close()
    return spent / 1000 / done
