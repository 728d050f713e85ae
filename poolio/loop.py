"""Owns poolio's place in asyncio: its transports under asyncio's connecting and serving code, and poolio.EventLoop.

Refuses to know how data moves (transport, listener, reactor). Timers, signals, subprocesses, executors, name
resolution and pipes stay the standard library's; so does TLS, over poolio's transports.

asyncio's selector loop makes transports in two places and accepts in a third. Wires replaces these, on

    EventLoop       the standard loop itself, with poolio's selector
    BorrowedLoop    asyncio's connecting and serving code for a loop that is somebody else's (asyncio's own, uvloop):
                    it asks that loop for everything, and runs nothing itself
"""

import asyncio
import sys
import threading
from asyncio import sslproto
from collections.abc import Coroutine
from typing import Any, TypeVar

from poolio.datagram import open_datagram_transport
from poolio.endpoint import Endpoint
from poolio.framed import FramedCore
from poolio.listener import Listener
from poolio.reactor import Reactor, reactor_of
from poolio.selector import Selector
from poolio.transport import open_transport
from poolio.writer import StreamCore

__all__ = ["BorrowedLoop", "EventLoop", "new_event_loop", "run"]

T = TypeVar("T")

# Sockets that other processes serve too: no server here removes their files. A worker puts its own in.
shared_sockets: set[Any] = set()

_thread = threading.local()


class TLSProtocol(sslproto.SSLProtocol):
    """asyncio's, sharing its room, and safe for who reads only while he may write.

    With tiny write limits asyncio's own pauses such an application for ever: session tickets of the handshake wait for
    the next read to be sent, and at 0 nothing to send is already too much.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        share_room(self)

    def _on_handshake_complete(self, handshake_exc):  # type: ignore
        if handshake_exc is None:
            self._process_outgoing()  # type: ignore[attr-defined]
        super()._on_handshake_complete(handshake_exc)

    def _control_app_writing(self) -> None:
        size = self._get_write_buffer_size()  # type: ignore[attr-defined]
        if self._app_writing_paused or size > self._outgoing_high_water:  # type: ignore[attr-defined]
            super()._control_app_writing()  # type: ignore[misc]


def share_room(tls: sslproto.SSLProtocol) -> None:
    """Let a TLS connection receive into 256 KiB that all of its thread share, instead of as much for each.

    SAFE: a transport asks for the room, receives, and hands over what came in one go; it is copied out at once.
    """
    if not hasattr(_thread, "tls_room"):
        _thread.tls_room = bytearray(tls.max_size)
    tls._ssl_buffer = _thread.tls_room  # type: ignore[attr-defined]
    tls._ssl_buffer_view = memoryview(_thread.tls_room)  # type: ignore[attr-defined]


def ensure_nothing_unread(protocol: asyncio.BaseProtocol) -> None:
    """What has come in the clear must not be taken for the beginning of what comes encrypted: RuntimeError."""
    unread = 0
    if isinstance(protocol, FramedCore):
        unread = len(protocol.chain)
    elif isinstance(protocol, StreamCore) and protocol.reader is not None:
        unread = len(protocol.reader.chain)
    if unread:
        raise RuntimeError(f"{unread} bytes are unread, which the peer has sent in the clear before start_tls()")


class Wires(asyncio.SelectorEventLoop):
    """asyncio's selector loop, on poolio's reactor and transports."""

    _reactor: Reactor
    _listeners: dict[int, Listener]

    def _loop_of_transports(self) -> asyncio.AbstractEventLoop:
        return self

    def _make_socket_transport(self, sock, protocol, waiter=None, *, extra=None, server=None):  # type: ignore
        return open_transport(self._reactor, sock, protocol, waiter, extra, server)

    def _make_ssl_transport(  # type: ignore
        self, rawsock, protocol, sslcontext, waiter=None, *, server_side=False, server_hostname=None, extra=None,
        server=None, **timeouts,
    ):
        tls = self._tls(protocol, sslcontext, waiter, server_side, server_hostname, **timeouts)
        open_transport(self._reactor, rawsock, tls, None, extra, server)
        return tls._app_transport

    def _make_datagram_transport(self, sock, protocol, address=None, waiter=None, extra=None):  # type: ignore
        return open_datagram_transport(self._reactor, sock, protocol, address, waiter, extra)

    def _tls(self, *arguments: Any, **options: Any) -> sslproto.SSLProtocol:
        return TLSProtocol(self._loop_of_transports(), *arguments, **options)

    async def start_tls(
        self, transport: Any, protocol: Any, sslcontext: Any, **options: Any,
    ) -> asyncio.Transport | None:
        ensure_nothing_unread(protocol)
        secured = await super().start_tls(transport, protocol, sslcontext, **options)
        if secured is not None:  # it is None if the connection was lost just now
            share_room(secured._ssl_protocol)  # type: ignore[attr-defined]
        return secured

    async def create_unix_server(
        self, protocol_factory: Any, path: Any = None, *, sock: Any = None, **options: Any,
    ) -> asyncio.Server:
        if sock in shared_sockets and sys.version_info >= (3, 13):
            options["cleanup_socket"] = False
        return await super().create_unix_server(protocol_factory, path, sock=sock, **options)

    def _start_serving(  # type: ignore
        self, protocol_factory, sock, sslcontext=None, server=None, backlog=100, ssl_handshake_timeout=None,
        ssl_shutdown_timeout=None,
    ):
        def tls_factory() -> asyncio.BaseProtocol:
            return self._tls(
                protocol_factory(), sslcontext, None, True, None,
                ssl_handshake_timeout=ssl_handshake_timeout, ssl_shutdown_timeout=ssl_shutdown_timeout,
            )

        factory = protocol_factory if sslcontext is None else tls_factory
        self._listeners[sock.fileno()] = Listener(self._reactor, sock, factory, server)

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
            return await self.sock_sendfile(transp._sock, file, offset, count, fallback=False)
        finally:
            transp._reset_empty_waiter()
            if resume_reading:
                transp.resume_reading()


class EventLoop(Wires):
    """The standard SelectorEventLoop with poolio's selector and socket transports. Linux only.

    Use it as `asyncio.Runner(loop_factory=poolio.EventLoop)`, or with `poolio.run()`. Every library on asyncio gets
    poolio's transports, unchanged.
    """

    _closed = True  # until asyncio has made it: where it can't be made, there is nothing to close

    def __init__(self) -> None:
        selector = Selector()
        self._reactor = selector.reactor
        self._listeners = {}
        super().__init__(selector)
        selector.serve(self)

    def _ensure_fd_no_transport(self, fd):  # type: ignore
        super()._ensure_fd_no_transport(fd)  # type: ignore[misc]
        transport = self._reactor.source_at(fd if isinstance(fd, int) else int(fd.fileno()))
        if isinstance(transport, Endpoint):
            raise RuntimeError(f"File descriptor {fd!r} is used by transport {transport!r}")


class BorrowedLoop(Wires):
    """asyncio's create_connection() and so on for poolio's transports on another loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reactor = reactor_of(loop)
        self._listeners = {}
        self._debug = loop.get_debug()
        self._unix_server_sockets: dict[Any, int] = {}
        for name in (
            "add_reader", "remove_reader", "add_writer", "remove_writer", "call_soon", "call_later", "call_at", "time",
            "call_exception_handler", "create_future", "create_task", "getaddrinfo", "getnameinfo", "get_debug",
            "is_closed", "is_running", "run_in_executor", "sock_connect",
        ):
            setattr(self, name, getattr(loop, name))

    def _remove_reader(self, fd):  # type: ignore
        return self._loop.remove_reader(fd)

    def __del__(self) -> None:
        """Nothing to close here."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._loop!r}>"

    def _loop_of_transports(self) -> asyncio.AbstractEventLoop:
        return self._loop


def new_event_loop() -> EventLoop:
    """A new poolio.EventLoop, for `loop_factory=`; close it at the end. NotImplementedError where there is no epoll."""
    return EventLoop()


def run(main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
    """asyncio.run() on a new poolio.EventLoop: runs a coroutine to its end and returns its result.

    RuntimeError from within a running loop; NotImplementedError on systems without epoll.
    """
    if asyncio._get_running_loop() is not None:  # before a loop is made, which could not be closed in order here
        raise RuntimeError("poolio.run() cannot be called from a running event loop")
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)
