"""Owns StreamWriter and StreamProtocol: what is rare in the life of a stream, and what waits.

Refuses to know the rest, which their compiled halves do: how bytes are sent (writer) and received (protocol); how bytes
are kept and awaited (inflow, reader); and how connections are made (loops). Called by transports, by user code, and by
the functions that connect and serve.
"""

import asyncio
import sys
import warnings
from collections.abc import Awaitable, Callable
from ssl import SSLContext
from typing import Any

from poolio.errors import PeerTimeout
from poolio.memory.methods import own_methods
from poolio.memory.pool import Pool
from poolio.streams.protocol import StreamCore
from poolio.streams.reader import DEFAULT_LIMIT, StreamReader
from poolio.streams.writer import WriterCore
from poolio.wire import tls
from poolio.wire.receiver import hand_over, log_fault_of_peer

__all__ = ["Handler", "StreamProtocol", "StreamWriter"]

Handler = Callable[[StreamReader, "StreamWriter"], Awaitable[None] | None]


class StreamWriter(WriterCore):
    """Writes to a stream, as asyncio.StreamWriter does; takes Buffers as well as bytes-like objects.

    open_connection() and start_server() make it. Close it at the end: dropped open, it gives a ResourceWarning.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<poolio.StreamWriter transport={self.transport!r}>"

    # The names of a module are None when the interpreter ends, so what the end needs is kept as defaults.
    def __del__(
        self, warn: Callable[..., None] = warnings.warn, is_finalizing: Callable[[], bool] = sys.is_finalizing,
    ) -> None:
        if self.protocol is not None and not self.protocol.is_lost and not self.transport.is_closing():
            warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            if not is_finalizing() and not self.protocol.loop.is_closed():
                self.close()

    async def _drain(self) -> None:
        error = self.reader.exception() if self.reader is not None else None
        if error is not None:
            raise error
        if self.transport.is_closing():
            await asyncio.sleep(0)  # connection_lost() may bring an error
        waiter = self.protocol.drain_waiter(self.protocol.loop)
        if waiter is not None:
            try:
                await waiter
            finally:
                self.protocol.forget_drain(waiter)

    def can_write_eof(self) -> bool:
        """Can this transport end one direction alone? Over TLS it can't."""
        return self.transport.can_write_eof()

    def write_eof(self) -> None:
        """Send what is queued, then the end of the stream. Reading goes on."""
        self.transport.write_eof()

    def close(self) -> None:
        """Send what is queued, then close; see `wait_closed()`."""
        self.transport.close()

    def is_closing(self) -> bool:
        """Was it closed, or is it about to be?"""
        return self.transport.is_closing()

    async def wait_closed(self) -> None:
        """Wait until the connection is closed. Raises the error that it ended with."""
        await self.protocol.wait_closed()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the transport's get_extra_info() returns."""
        return self.transport.get_extra_info(name, default)

    async def start_tls(
        self, sslcontext: SSLContext, *, server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None, ssl_shutdown_timeout: float | None = None,
    ) -> None:
        """Upgrade the connection to TLS. Reader and writer stay the same, and go on over TLS.

        What has come and is unread is the beginning of the handshake, and is never read from the stream.

        ConnectionResetError if the peer has ended the stream, or the connection is lost meanwhile; ssl.SSLError if the
        handshake fails. After these two the connection is closed. RuntimeError within a frame that is being dropped.
        """
        await self.drain()
        if self.reader.is_at_end:  # the TLS layer would never learn of it, and would wait
            self.transport.close()
            raise ConnectionResetError("the peer has ended the stream before start_tls()")
        was_over_tls = self.protocol.is_over_tls
        self.protocol.is_over_tls = True  # the end of the stream may come before this task goes on
        try:
            secured = await tls.start_tls(
                self.transport, self.protocol, sslcontext, loop=self.protocol.loop,
                server_side=self.protocol.is_server_side, server_hostname=server_hostname,
                ssl_handshake_timeout=ssl_handshake_timeout, ssl_shutdown_timeout=ssl_shutdown_timeout,
            )
            if secured is None or secured.get_extra_info("cipher") is None:  # loops tell a loss in different ways
                raise ConnectionResetError("Connection lost")
        except BaseException as exc:
            if self.transport.is_closing():  # asyncio's TLS layer does not report an end during the handshake
                self.protocol.lose(exc if isinstance(exc, Exception) else None)
            else:
                self.protocol.is_over_tls = was_over_tls
            raise
        self._set_transport(secured)
        self.reader.replace_transport(secured)

    def hand_over(self, protocol: asyncio.BaseProtocol) -> None:
        """Give the connection to another protocol, for an upgrade of what both ends speak.

        The protocol gets connection_made(), then what is unread, then what comes. This reader and this writer are of no
        more use. RuntimeError if a task waits to read, ConnectionResetError if the connection is lost.
        """
        self.protocol.hand_over(protocol)


own_methods(StreamWriter)


class StreamProtocol(StreamCore, asyncio.BufferedProtocol):
    """The protocol between a transport and a StreamReader and StreamWriter, for any loop's create_* functions.

    connected  called with (reader, writer) when the connection is made. If it returns a coroutine, that becomes a task,
               whose exception closes the connection and goes to the loop's exception handler; an exception because
               of what the peer has sent, or of how it has ended, is a line at INFO with the logger "poolio" instead. If
               it is None, use `.reader` and `.writer` yourself
    limit      bytes, as for StreamReader
    pool       what is received into; if it is None, the default pool
    """

    __slots__ = ("closed", "connected", "task", "writer")  # an idle connection is little more than these objects

    def __init__(
        self, connected: Handler | None = None, *, limit: int = DEFAULT_LIMIT, pool: Pool | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.start_reader(limit, loop or asyncio.get_running_loop(), pool)
        self.connected = connected
        self.writer: StreamWriter | None = None
        self.closed: asyncio.Future[None] | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def is_server_side(self) -> bool:
        return self.connected is not None

    def connection_made(self, transport: Any) -> None:
        self.reader.set_transport(transport)
        self.is_over_tls = transport.get_extra_info("sslcontext") is not None
        writer = StreamWriter(transport, self, self.reader)
        if self.connected is None:
            self.writer = writer
        else:
            result = self.connected(self.reader, writer)
            if asyncio.iscoroutine(result):
                self.task = self.loop.create_task(result, name=getattr(result, "__qualname__", None))
                self.task.add_done_callback(self)  # itself: a bound method would be one object more

    def __call__(self, task: asyncio.Task[None]) -> None:
        """Called when the task of the handler has ended: report its exception, and close the connection then."""
        self.task = None
        exc = None if task.cancelled() else task.exception()
        if exc is not None and self._is_fault_of_peer(exc):
            log_fault_of_peer(self.transport, exc)
        elif exc is not None:
            self.loop.call_exception_handler({
                "message": "Unhandled exception in client_connected_cb",
                "exception": exc, "transport": self.transport,
            })
        if (exc is not None or task.cancelled()) and not self.is_lost:
            self.transport.close()

    def _is_fault_of_peer(self, exc: BaseException) -> bool:
        """Is it what the reader or the writer has raised because of what the peer has sent, or of how it has ended?"""
        return (exc is self.reader.refused
                or (exc is self.reader.exception() and isinstance(exc, PeerTimeout))
                or (isinstance(exc, asyncio.IncompleteReadError) and self.reader.is_at_end)
                or (isinstance(exc, ConnectionError) and self.is_lost))

    def eof_received(self) -> bool:
        self.reader.feed_eof()
        return not self.is_over_tls  # TLS has no half-closed connections

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None:
            self.reader.feed_eof()
        else:
            self.reader.set_exception(exc)
            self.reader.chain.clear()  # nothing can be read any more, and others may wait for this memory
        self.reader.replace_transport(None)
        self._end(exc)

    def lose(self, exc: Exception | None) -> None:
        """Call connection_lost() unless it was called already."""
        if not self.is_lost:
            self.connection_lost(exc)

    def _end(self, exc: BaseException | None) -> None:
        self.stop_writing(exc)
        if self.closed is not None and not self.closed.done():
            self.closed.set_result(None)
        self.writer = self.task = None

    async def wait_closed(self) -> None:
        if not self.is_lost:
            if self.closed is None:
                self.closed = self.loop.create_future()
            await asyncio.shield(self.closed)
        error = self.reader.exception()
        if error is not None:
            raise error

    def take_writer(self) -> StreamWriter:
        """Return the writer, and keep no reference: if the caller drops it open, it warns and closes."""
        assert self.writer is not None
        writer, self.writer = self.writer, None
        return writer

    def hand_over(self, protocol: Any) -> None:
        if self.is_lost or (self.is_over_tls and self.transport.is_closing()):
            # over TLS connection_lost() may be scheduled already, for this protocol
            raise ConnectionResetError("Connection lost")
        unread, is_paused = self.reader.take_unread(), self.is_writing_paused
        self._end(self.reader.exception())
        hand_over(self.transport, protocol, unread, is_paused=is_paused, is_at_end=self.reader.at_eof())
