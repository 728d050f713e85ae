"""Owns Server, which create_server() and similar functions return, with CPython 3.13's methods on every version.

Refuses to know how connections are accepted (wire.listener) and how sockets are bound (asyncio's own code). Made by
connect; called by user code, and by transports, which attach and detach themselves.
"""

import asyncio
import sys
import weakref
from asyncio import base_events
from typing import Any

from poolio.loops.adapter import AdaptedLoop
from poolio.wire.limits import Limits, ServerStatistics

__all__ = ["Server", "serve_within"]


class Server(base_events.Server):
    """asyncio's Server as CPython 3.13 has it, on every version: `wait_closed()` waits for the connections too, and
    `close_clients()` and `abort_clients()` end them. `statistics()` counts them.
    """

    _loop: AdaptedLoop
    _serving_forever_fut: asyncio.Future[None] | None
    _sockets: list[Any] | None

    def __init__(self, adapter: AdaptedLoop, plain: Any, limits: Limits) -> None:
        super().__init__(
            adapter, plain._sockets, plain._protocol_factory, plain._ssl_context, plain._backlog,
            plain._ssl_handshake_timeout, plain._ssl_shutdown_timeout,
        )
        self._limits = limits

    def statistics(self) -> ServerStatistics:
        """A ServerStatistics of this server as of now; it can be asked for after the end too."""
        return self._limits.statistics()

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
            """End every such connection without sending what is queued."""
            for transport in tuple(self._transports()):
                transport.abort()

        async def wait_closed(self) -> None:
            """Wait until the server is closed and every connection has ended."""
            if self._waiters is not None:
                waiter = self._loop.create_future()
                self._waiters.append(waiter)
                await waiter


async def serve_within(limits: Limits, adapter: AdaptedLoop, plain: asyncio.AbstractServer, start: bool) -> Server:
    """Make a Server of one of asyncio's that has not begun to serve; `start` is asyncio's `start_serving=`."""
    server = Server(adapter, plain, limits)
    if start:
        await server.start_serving()
    return server
