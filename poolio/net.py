"""Owns the functions that connect and serve on poolio's transports, on the running loop, whichever it is.

Refuses to know how that is done (loop). They take the arguments of the loop's methods of the same names, and mean the
same by them: asyncio's own code resolves names, tries addresses (happy eyeballs) and binds.
"""

import asyncio
import sys
import weakref
from asyncio import base_events
from collections.abc import Callable
from ssl import SSLContext
from typing import Any, TypeVar

from poolio.loop import BorrowedLoop, EventLoop, Wires

__all__ = [
    "Server", "create_connection", "create_server", "create_unix_connection", "create_unix_server", "start_tls",
]

P = TypeVar("P", bound=asyncio.BaseProtocol)


class Server(base_events.Server):
    """asyncio's Server as CPython 3.13 has it, also on earlier versions: `wait_closed()` waits for the connections too,
    `close_clients()` and `abort_clients()` end them.
    """

    _loop: Wires
    _serving_forever_fut: asyncio.Future[None] | None
    _sockets: list[Any] | None

    def __init__(self, wires: Wires, plain: Any) -> None:
        super().__init__(
            wires, plain._sockets, plain._protocol_factory, plain._ssl_context, plain._backlog,
            plain._ssl_handshake_timeout, plain._ssl_shutdown_timeout,
        )

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop._loop_of_transports()

    async def serve_forever(self) -> None:
        """Accept connections until cancelled; then close the server and its connections, as the latest CPython does."""
        if self._serving_forever_fut is not None:
            raise RuntimeError(f"server {self!r} is already being awaited on serve_forever()")
        if self._sockets is None:
            raise RuntimeError(f"server {self!r} is closed")
        if not self.is_serving():
            await self.start_serving()
        self._serving_forever_fut = self.get_loop().create_future()
        try:
            await self._serving_forever_fut
        except asyncio.CancelledError:
            self.close()
            self.close_clients()
            await self.wait_closed()
            raise
        finally:
            self._serving_forever_fut = None

    if sys.version_info < (3, 13):
        takes_transports = True
        _waiters: list[asyncio.Future[None]] | None

        def _attach(self, transport: asyncio.Transport) -> None:
            self._transports().add(transport)
            super()._attach()  # type: ignore[misc]

        def _detach(self, transport: asyncio.Transport) -> None:
            self._transports().discard(transport)
            super()._detach()  # type: ignore[misc]

        def _transports(self) -> "weakref.WeakSet[asyncio.Transport]":
            if not hasattr(self, "_clients"):
                self._clients: weakref.WeakSet[asyncio.Transport] = weakref.WeakSet()
            return self._clients

        def close_clients(self) -> None:
            """Close every connection that was accepted and is still open."""
            for transport in tuple(self._transports()):
                transport.close()

        def abort_clients(self) -> None:
            """Close them without sending what is queued."""
            for transport in tuple(self._transports()):
                transport.abort()

        async def wait_closed(self) -> None:
            """Wait until the server is closed and every connection has ended."""
            if self._waiters is not None:
                waiter = self._loop.create_future()
                self._waiters.append(waiter)
                await waiter


def wires_of_running_loop() -> Wires:
    loop = asyncio.get_running_loop()
    return loop if isinstance(loop, EventLoop) else BorrowedLoop(loop)


async def create_server(
    protocol_factory: Callable[[], asyncio.BaseProtocol], host: Any = None, port: int | None = None, *,
    start_serving: bool = True, **options: Any,
) -> Server:
    """Serve TCP, or TLS with `ssl=`: as `loop.create_server()`, with its options, on poolio's transports.

    OSError if it can't be bound; NotImplementedError on systems without epoll.
    """
    wires = wires_of_running_loop()
    return await _serve(wires, await wires.create_server(
        protocol_factory, host, port, start_serving=False, **options), start_serving)


async def create_unix_server(
    protocol_factory: Callable[[], asyncio.BaseProtocol], path: Any = None, *,
    start_serving: bool = True, **options: Any,
) -> Server:
    """Serve a unix socket: as `loop.create_unix_server()`, with its options. Errors as for `create_server()`."""
    wires = wires_of_running_loop()
    return await _serve(wires, await wires.create_unix_server(
        protocol_factory, path, start_serving=False, **options), start_serving)


async def _serve(wires: Wires, plain: asyncio.AbstractServer, start_serving: bool) -> Server:
    server = Server(wires, plain)
    if start_serving:
        await server.start_serving()
    return server


async def create_connection(
    protocol_factory: Callable[[], P], host: str | None = None, port: int | None = None, **options: Any,
) -> tuple[asyncio.Transport, P]:
    """Connect over TCP, or TLS with `ssl=`: as `loop.create_connection()`, with its options, on poolio's transports.

    OSError if it can't be connected; NotImplementedError on systems without epoll.
    """
    return await wires_of_running_loop().create_connection(protocol_factory, host, port, **options)  # type: ignore[arg-type]


async def create_unix_connection(
    protocol_factory: Callable[[], P], path: Any = None, **options: Any,
) -> tuple[asyncio.Transport, P]:
    """Connect to a unix socket: as `loop.create_unix_connection()`, with its options. Errors: `create_connection()`."""
    return await wires_of_running_loop().create_unix_connection(protocol_factory, path, **options)


async def start_tls(
    transport: asyncio.Transport, protocol: asyncio.BaseProtocol, sslcontext: SSLContext, **options: Any,
) -> asyncio.Transport | None:
    """Upgrade a connection on poolio's transport to TLS: as `loop.start_tls()`, with its options, on any loop.

    Returns the new transport; the protocol is not told, call its connection_made() yourself. None if the connection was
    lost meanwhile; ssl.SSLError and TimeoutError if the handshake fails.
    """
    return await wires_of_running_loop().start_tls(transport, protocol, sslcontext, **options)
