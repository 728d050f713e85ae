"""Owns poolio's transports under asyncio's connecting and serving code.

Refuses to know how data moves (wire). Timers, signals, subprocesses, executors, name resolution and pipes stay the
standard library's; so does TLS, over poolio's transports. Called by the functions that connect and serve (connect), by
the workers, and by asyncio's own code.

asyncio's selector loop makes transports and accepts connections in a few methods. AdaptedLoop replaces these methods.
It has two subclasses:

    EventLoop       the standard loop itself, with poolio's selector (event_loop)
    BorrowedLoop    asyncio's connecting and serving code on behalf of another loop (asyncio's own, uvloop): it asks
                    that loop for everything, and runs nothing itself
"""

import asyncio
import sys
from ssl import SSLContext
from typing import Any

from poolio.wire.datagram import open_datagram_transport
from poolio.wire.limits import Limits
from poolio.wire.listener import Listener
from poolio.wire.reactor import Reactor, reactor_of
from poolio.wire.receiver import drop_unread, unread_of
from poolio.wire.stream import StreamTransport, open_transport
from poolio.wire.tls import TLSProtocol, share_room
from poolio.wire.tlstransport import TLSTransport, make_secure

__all__ = ["AdaptedLoop", "BorrowedLoop", "adapter_of", "shared_sockets"]

# Sockets that other processes serve as well: no server here removes their files. A worker adds its sockets, each with
# the limits of `serve()`, which hold for what its server has no limit of its own.
shared_sockets: dict[Any, Limits] = {}


class AdaptedLoop(asyncio.SelectorEventLoop):
    """asyncio's selector loop with poolio's reactor and transports."""

    _reactor: Reactor
    _listeners: dict[int, Listener]

    def _loop_of_transports(self) -> asyncio.AbstractEventLoop:
        return self

    def _ensure_fd_no_transport(self, fd: Any) -> None:
        """Raise RuntimeError if a transport that is not closing has this descriptor, as asyncio's own loop does."""
        super()._ensure_fd_no_transport(fd)  # type: ignore[misc]
        number = fd if isinstance(fd, int) else int(fd.fileno())
        transport: Any = self._reactor.endpoint_at(number)
        if transport is not None and not transport.is_closing():
            raise RuntimeError(f"File descriptor {fd!r} is used by transport {transport!r}")

    # `context` is CPython 3.15's: the one that the callbacks of a connection run in. None: a copy of the current one.

    def _make_socket_transport(  # type: ignore
        self, sock, protocol, waiter=None, *, extra=None, server=None, context=None,
    ):
        self._ensure_fd_no_transport(sock)
        return open_transport(self._reactor, sock, protocol, waiter, extra, server, context)

    def _make_ssl_transport(  # type: ignore
        self, rawsock, protocol, sslcontext, waiter=None, *, server_side=False, server_hostname=None, extra=None,
        server=None, context=None, **timeouts,
    ):
        self._ensure_fd_no_transport(rawsock)
        tls = self._secure(protocol, sslcontext, waiter, server_side, server_hostname, **timeouts)
        open_transport(self._reactor, rawsock, tls, None, extra, server, context)
        return tls

    def _make_datagram_transport(self, sock, protocol, address=None, waiter=None, extra=None):  # type: ignore
        self._ensure_fd_no_transport(sock)
        return open_datagram_transport(self._reactor, sock, protocol, address, waiter, extra)

    def _secure(self, *arguments: Any, **options: Any) -> TLSTransport:
        return make_secure(self._loop_of_transports(), *arguments, **options)

    def _tls_within(self, *arguments: Any, first: bytes, **options: Any) -> TLSProtocol:
        """TLS on a transport that is not poolio's: asyncio's protocol."""
        tls = TLSProtocol(self._loop_of_transports(), *arguments, **options)
        share_room(tls, self._reactor)
        tls.begin_with(first)
        return tls

    async def start_tls(  # type: ignore
        self, transport, protocol, sslcontext, *, server_side=False, server_hostname=None, **timeouts,
    ):
        if not isinstance(sslcontext, SSLContext):
            raise TypeError(f"start_tls() needs an ssl.SSLContext, got {sslcontext!r}")
        if not getattr(transport, "_start_tls_compatible", False):
            raise TypeError(f"transport {transport!r} is not supported by start_tls()")
        unread = unread_of(protocol)
        waiter = self.create_future()
        make = self._secure if type(transport) in (StreamTransport, TLSTransport) else self._tls_within
        tls = make(
            protocol, sslcontext, waiter, server_side, server_hostname, call_connection_made=False, first=unread,
            **timeouts)
        drop_unread(protocol)
        transport.pause_reading()  # nothing must come before connection_made()
        transport.set_protocol(tls)
        scheduled = self.call_soon(tls.connection_made, transport), self.call_soon(transport.resume_reading)
        try:
            await waiter
        except BaseException:
            transport.close()
            for handle in scheduled:
                handle.cancel()
            del waiter  # it has the exception, which has this frame: the transport would live until the next collection
            raise
        return tls.secured_transport()  # None if the connection was lost just now

    async def create_unix_server(
        self, protocol_factory: Any, path: Any = None, *, sock: Any = None, **options: Any,
    ) -> asyncio.Server:
        if sock in shared_sockets and sys.version_info >= (3, 13):
            options["cleanup_socket"] = False
        return await super().create_unix_server(protocol_factory, path, sock=sock, **options)

    def _start_serving(  # type: ignore
        self, protocol_factory, sock, sslcontext=None, server=None, backlog=100, ssl_handshake_timeout=None,
        ssl_shutdown_timeout=None, context=None,
    ):
        def tls_factory() -> Any:
            return self._secure(
                protocol_factory(), sslcontext, None, True, None,
                ssl_handshake_timeout=ssl_handshake_timeout, ssl_shutdown_timeout=ssl_shutdown_timeout,
            )

        factory = protocol_factory if sslcontext is None else tls_factory
        limits = _limits_of(server, sock)
        self._listeners[sock.fileno()] = Listener(self._reactor, sock, factory, server, context, limits)

    def _forget_listeners(self) -> None:
        """Called when the loop was closed: nothing accepts any more, and a server that nobody else holds ends."""
        listeners, self._listeners = self._listeners, {}
        for listener in listeners.values():
            listener.stop()

    def _stop_serving(self, sock):  # type: ignore
        listener = self._listeners.pop(sock.fileno(), None)
        if listener is not None:
            listener.stop()
        super()._stop_serving(sock)  # type: ignore[misc]

    async def _sendfile_native(self, transp, file, offset, count):  # type: ignore
        resume_reading = transp.is_reading()
        transp.pause_reading()
        await transp._make_empty_waiter()
        try:
            with transp._sock.dup() as sock:  # its number is waited for, while the transport may read from its own
                return await self.sock_sendfile(sock, file, offset, count, fallback=False)
        finally:
            transp._reset_empty_waiter()
            if resume_reading:
                transp.resume_reading()


class BorrowedLoop(AdaptedLoop):
    """asyncio's create_connection() and so on, for poolio's transports on another loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, reactor: Reactor) -> None:
        self._loop = loop
        self._reactor = reactor
        self._listeners = {}
        self._transports = getattr(loop, "_transports", {})
        self._unix_server_sockets: dict[Any, int] = {}

    @property
    def _debug(self) -> bool:
        return self._loop.get_debug()

    def _remove_reader(self, fd):  # type: ignore
        return self._loop.remove_reader(fd)

    def __del__(self) -> None:
        """There is nothing to close: the loop is not its own."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._loop!r}>"

    def _loop_of_transports(self) -> asyncio.AbstractEventLoop:
        return self._loop


def _limits_of(server: Any, sock: Any) -> Limits | None:
    """Return the limits of a server that begins to serve on a socket, with those of `serve()` where it has none."""
    limits: Limits | None = getattr(server, "_limits", None)
    general = shared_sockets.get(sock)
    if general is not None and general.is_set:
        if limits is None:
            limits = server._limits = Limits()
        limits.fill_in(general)
    return limits


def _of_the_loop(name: str) -> Any:
    """Make a method that calls the borrowed loop's, which is looked up each time: somebody may have replaced it."""
    def ask(self: BorrowedLoop, *arguments: Any, **options: Any) -> Any:
        return getattr(self._loop, name)(*arguments, **options)
    return ask


for _name in (
    "add_reader", "remove_reader", "add_writer", "remove_writer", "call_soon", "call_later", "call_at", "time",
    "call_exception_handler", "create_future", "create_task", "getaddrinfo", "getnameinfo", "get_debug",
    "is_closed", "is_running", "run_in_executor", "sock_connect",
):
    setattr(BorrowedLoop, _name, _of_the_loop(_name))


def adapter_of(loop: asyncio.AbstractEventLoop) -> AdaptedLoop:
    """Return what connects and serves on poolio's transports for this loop: poolio's own loop does so itself."""
    if isinstance(loop, AdaptedLoop):
        return loop
    reactor = reactor_of(loop)
    if reactor.adapter is None:
        reactor.adapter = BorrowedLoop(loop, reactor)
    adapter: AdaptedLoop = reactor.adapter
    return adapter
