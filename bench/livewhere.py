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
from bench.traffic import Traffic, publication
from bench.websocket import Client

TEXT_LENGTH = 100
LAST = "lastofall"
MATCHED_SECONDS = 120
"""Seconds that the server may take for what it has not tested when the last message comes."""


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
    """Publish at a steady rate; return the microseconds of the server's CPU for each message.

    Expressions are tested after a message is acknowledged, perhaps much later. So a last message is
    waited for that an expression finds: those before it have been tested by then.
    """
    last = subscribed(server, f"{LAST} -the")
    last.sock.settimeout(MATCHED_SECONDS)
    _publish(server, pump, rate, warmup, last)
    began = server.cpu_ns()
    count = _publish(server, pump, rate, seconds, last)
    spent = server.cpu_ns() - began
    last.sock.close()
    return spent / 1000 / count


def _publish(server: Server, pump: Pump, rate: float, seconds: float, last: Client) -> int:
    """Publish for some seconds, and wait until all is tested; return the number of messages."""
    client, count = Client(server.url), round(rate * seconds)
    publisher = Publisher(client, Traffic(TEXT_LENGTH))
    pump.watch(publisher, [])
    start = clock()
    publisher.plan(start, rate, count)
    while publisher.acknowledged < count:
        pump.run(clock() + SECOND // 10)
    client.sock.setblocking(True)
    client.ask(publication(0, LAST))
    last.read_until(LAST.encode())
    client.sock.close()
    return count
