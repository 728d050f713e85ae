"""Owns the loops and wires that tests run over, and a client that checks every byte it gets back.

A loop is a name and a factory; a wire listens and connects: TCP, a unix socket, TLS from the start (tls), or TLS
after start_tls() on a plain connection. Servers and clients are real sockets in one process. It imports nothing of kit.
Called by pairs, endpoints and nearly all tests that use a loop.
"""

import asyncio
import contextlib
import contextvars
import itertools
import os
import resource
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable

import aiofastnet
import trustme
import uvloop

import poolio
from poolio.wire.reactor import HAS_EPOLL

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
    "aiofastnet": aiofastnet.loop_factory(asyncio.new_event_loop),
    "aiofastnet-uvloop": aiofastnet.loop_factory(uvloop.new_event_loop),
    "poolio": poolio.new_event_loop,
    "poolio-on-asyncio": asyncio.new_event_loop,
    "poolio-on-uvloop": uvloop.new_event_loop,
}
# On these loops the transports are poolio's, made by its own functions; on the others they are the loop's.
OWN_TRANSPORTS = ("poolio-on-asyncio", "poolio-on-uvloop")
# Wherever poolio's own transports run.
OURS = ("poolio", *OWN_TRANSPORTS) if HAS_EPOLL else ()
if not HAS_EPOLL:
    LOOPS = {name: factory for name, factory in LOOPS.items() if not name.startswith("poolio")}
# Loops on which the transports are the loop's own, poolio's or not.
PLAIN_LOOPS = tuple(name for name in LOOPS if name not in OWN_TRANSPORTS)
WIRES = ("tcp", "unix", "tls", "start_tls")
BLOCK = os.urandom((8 << 20) + 4096)

_authority = trustme.CA()
SERVER_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
_authority.issue_cert("localhost").configure_cert(SERVER_TLS)
CLIENT_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_authority.configure_trust(CLIENT_TLS)


_own_transports = contextvars.ContextVar("own_transports", default=False)


def net():
    """What connects and serves here: poolio's functions, or the loop's methods of the same names."""
    return poolio if _own_transports.get() else asyncio.get_running_loop()


def allow_descriptors(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise RuntimeError(f"{count} descriptors are needed and the hard limit is {hard}")
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def run(loop_name: str, main: Callable[[], object], timeout: float = 120) -> None:
    """Run main() on a fresh loop of that name; fail instead of hanging."""

    async def bounded() -> None:
        _own_transports.set(loop_name in OWN_TRANSPORTS)
        await asyncio.wait_for(main(), timeout)

    with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
        runner.run(bounded())


class Upgrading(asyncio.Protocol):
    """Answers the first byte with one byte, then start_tls(): the protocol of a server that upgrades."""

    def __init__(self, factory, tasks) -> None:
        self.factory = factory
        self.tasks = tasks

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data) -> None:
        assert data == b"?"
        self.transport.pause_reading()
        self.transport.write(b"!")
        self.tasks.append(asyncio.ensure_future(self.upgrade()))

    async def upgrade(self) -> None:
        protocol = self.factory()
        transport = await net().start_tls(self.transport, protocol, SERVER_TLS, server_side=True)
        protocol.connection_made(transport)


class AwaitAnswer(asyncio.Protocol):
    def __init__(self) -> None:
        self.answer = asyncio.get_running_loop().create_future()

    def data_received(self, data) -> None:
        self.answer.set_result(data)


@contextlib.asynccontextmanager
async def listening(wire: str, factory) -> AsyncIterator[Callable]:
    """Serve factory() on the wire; yields connect(client_factory) -> (transport, protocol)."""
    tasks: list[asyncio.Future] = []
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        tls = SERVER_TLS if wire == "tls" else None
        if wire == "unix":
            server = await net().create_unix_server(factory, path, backlog=2048)
        else:
            first = (lambda: Upgrading(factory, tasks)) if wire == "start_tls" else factory
            server = await net().create_server(first, "127.0.0.1", 0, ssl=tls, backlog=2048)
            port = server.sockets[0].getsockname()[1]

        async def connect(client):
            if wire == "unix":
                return await net().create_unix_connection(client, path)
            if wire == "tls":
                return await net().create_connection(
                    client, "127.0.0.1", port, ssl=CLIENT_TLS, server_hostname="localhost")
            if wire == "tcp":
                return await net().create_connection(client, "127.0.0.1", port)
            transport, waiting = await net().create_connection(AwaitAnswer, "127.0.0.1", port)
            transport.write(b"?")
            assert await waiting.answer == b"!"
            protocol = client()
            secure = await net().start_tls(transport, protocol, CLIENT_TLS, server_hostname="localhost")
            protocol.connection_made(secure)
            # start_tls() calls no connection_made(): data must not overtake the server's own call of it
            await asyncio.gather(*tasks)
            return secure, protocol

        try:
            yield connect
        finally:
            server.close()
            await asyncio.gather(*tasks)
            await server.wait_closed()


class Checker(asyncio.Protocol):
    """Sends messages out of BLOCK and compares what comes back, byte for byte."""

    def __init__(self, start: int = 0) -> None:
        self.start = start
        self.closed = asyncio.get_running_loop().create_future()
        self.expected: memoryview = memoryview(b"")
        self.done: asyncio.Future | None = None

    def connection_made(self, transport) -> None:
        self.transport = transport

    async def echo(self, size: int) -> None:
        self.expected = memoryview(BLOCK)[self.start:self.start + size]
        self.done = asyncio.get_running_loop().create_future()
        self.transport.write(self.expected)
        await self.done

    def data_received(self, data) -> None:
        if self.expected[:len(data)] != data:
            self.done.set_exception(AssertionError(f"wrong bytes, {len(self.expected)} before the end"))
            self.transport.abort()
            return
        self.expected = self.expected[len(data):]
        if not self.expected:
            self.done.set_result(None)

    def connection_lost(self, exc) -> None:
        if self.done and not self.done.done():
            self.done.set_exception(ConnectionError(f"closed before all was echoed: {exc!r}"))
        if not self.closed.done():
            self.closed.set_result(exc)


async def closed(checkers: Iterable[Checker]) -> None:
    """Close every client and wait until both ends know."""
    for checker in checkers:
        checker.transport.close()
        await checker.closed


async def eventually(condition: Callable[[], bool]) -> None:
    """Let the loop turn until the condition holds; the caller's timeout bounds it."""
    while not condition():
        await asyncio.sleep(0.002)


def pairwise(*factors: tuple) -> list[tuple]:
    """Rows in which every pair of values of two factors stands at least once, chosen greedily."""
    columns = list(itertools.combinations(range(len(factors)), 2))
    rows = list(itertools.product(*factors))
    missing = {(a, b, x, y) for a, b in columns for x in factors[a] for y in factors[b]}
    chosen = []
    while missing:
        best = max(rows, key=lambda row: sum((a, b, row[a], row[b]) in missing for a, b in columns))
        missing -= {(a, b, best[a], best[b]) for a, b in columns}
        chosen.append(best)
    return chosen
