"""Owns the functions that connect and serve on poolio's transports, on the running loop, whichever it is.

Refuses to know how that is done (adapter). Called by user code and by the functions for streams (streams). Each
function takes the arguments of the loop's method of the same name, with the same meaning: asyncio's own code resolves
names, tries addresses (happy eyeballs) and binds.
"""

import asyncio
from collections.abc import Callable
from ssl import SSLContext
from typing import Any, Literal, TypeVar

from poolio.loops.adapter import AdaptedLoop, adapter_of
from poolio.loops.server import Server, serve_within
from poolio.wire import tls
from poolio.wire.datagram import DatagramTransport
from poolio.wire.limits import Limits

__all__ = [
    "create_connection", "create_datagram_endpoint", "create_server", "create_unix_connection", "create_unix_server",
    "start_tls",
]

P = TypeVar("P", bound=asyncio.BaseProtocol)


def _adapter() -> AdaptedLoop:
    return adapter_of(asyncio.get_running_loop())


async def create_server(
    protocol_factory: Callable[[], asyncio.BaseProtocol], host: Any = None, port: int | None = None, *,
    start_serving: bool = True, max_connections: int | None = None, when_full: Literal["wait", "refuse"] = "wait",
    idle_timeout: float | None = None, first_frame_timeout: float | None = None, **options: Any,
) -> Server:
    """Serve TCP, or TLS with `ssl=`, as `loop.create_server()` does, with its options, on poolio's transports.

    max_connections      how many may be open at a time, over all sockets of the server
    when_full            what becomes of the next one: with "wait" it stays in the kernel's queue (`backlog=`) until
                         another one has ended; with "refuse" it is accepted and closed at once
    idle_timeout         seconds, from 0.01 to a year. A connection on which no byte comes and none goes for so long is
                         closed
    first_frame_timeout  seconds from the accepting, a TLS handshake included, until the first whole frame: the first
                         one of a FramedProtocol, the first call that reads from a stream, the first byte otherwise

    What is None has no limit. Timeouts end a connection at once, with PeerTimeout, never early and at most a quarter
    late. They don't run while this end does not read and has nothing to send, and idle_timeout not while sendfile()
    runs. The server's statistics() counts all of this.

    OSError if the address can't be bound; NotImplementedError on systems without epoll; TypeError and ValueError for a
    limit that is none.
    """
    limits = Limits(max_connections=max_connections, when_full=when_full, idle_timeout=idle_timeout,
                    first_frame_timeout=first_frame_timeout)
    adapter = _adapter()
    plain = await adapter.create_server(protocol_factory, host, port, start_serving=False, **options)
    return await serve_within(limits, adapter, plain, start_serving)


async def create_unix_server(
    protocol_factory: Callable[[], asyncio.BaseProtocol], path: Any = None, *,
    start_serving: bool = True, max_connections: int | None = None, when_full: Literal["wait", "refuse"] = "wait",
    idle_timeout: float | None = None, first_frame_timeout: float | None = None, **options: Any,
) -> Server:
    """Serve a unix socket, as `loop.create_unix_server()` does, with its options.

    The limits and the errors are those of `create_server()`.
    """
    limits = Limits(max_connections=max_connections, when_full=when_full, idle_timeout=idle_timeout,
                    first_frame_timeout=first_frame_timeout)
    adapter = _adapter()
    plain = await adapter.create_unix_server(protocol_factory, path, start_serving=False, **options)
    return await serve_within(limits, adapter, plain, start_serving)


async def create_connection(
    protocol_factory: Callable[[], P], host: str | None = None, port: int | None = None, **options: Any,
) -> tuple[asyncio.Transport, P]:
    """Connect over TCP, or TLS with `ssl=`, as `loop.create_connection()` does, on poolio's transports.

    It takes the same options. OSError if the connection can't be made; NotImplementedError on systems without epoll.
    """
    return await _adapter().create_connection(protocol_factory, host, port, **options)  # type: ignore[arg-type]


async def create_unix_connection(
    protocol_factory: Callable[[], P], path: Any = None, **options: Any,
) -> tuple[asyncio.Transport, P]:
    """Connect to a unix socket, as `loop.create_unix_connection()` does, with its options.

    Errors as for `create_connection()`.
    """
    return await _adapter().create_unix_connection(protocol_factory, path, **options)


async def start_tls(
    transport: asyncio.Transport, protocol: asyncio.BaseProtocol, sslcontext: SSLContext, **options: Any,
) -> asyncio.Transport | None:
    """Upgrade a connection to TLS, as `loop.start_tls()` does, with its options, on any loop and any transport of it.

    The transport may be encrypted already: TLS runs in TLS then. What is unread in a StreamProtocol or a FramedProtocol
    is the beginning of the handshake. Any other protocol was given all that came, and what it keeps is lost to TLS.

    Returns the new transport, or None if the connection was lost meanwhile. The protocol is not told: call its
    connection_made() yourself. ssl.SSLError, OSError and TimeoutError if the handshake fails; the connection is closed
    then. RuntimeError within a frame that is too large and is being dropped.
    """
    return await tls.start_tls(transport, protocol, sslcontext, loop=asyncio.get_running_loop(), **options)


async def create_datagram_endpoint(
    protocol_factory: Callable[[], P], local_addr: Any = None, remote_addr: Any = None, **options: Any,
) -> tuple[DatagramTransport, P]:
    """Open a UDP or unix datagram socket, as `loop.create_datagram_endpoint()` does, with its options, on any loop."""
    return await _adapter().create_datagram_endpoint(  # type: ignore[return-value]
        protocol_factory, local_addr, remote_addr, **options)
