"""Owns the functions that connect and serve on poolio's transports, on the running loop, whichever it is.

Refuses to know how that is done (adapter). Called by user code and by the functions for streams (streams). Each
function takes the arguments of the loop's method of the same name, with the same meaning: asyncio's own code resolves
names, tries addresses (happy eyeballs) and binds.
"""

import asyncio
from collections.abc import Callable
from ssl import SSLContext
from typing import Any, TypeVar

from poolio.loops.adapter import AdaptedLoop, adapter_of
from poolio.loops.server import Server
from poolio.wire import tls
from poolio.wire.datagram import DatagramTransport

__all__ = [
    "create_connection", "create_datagram_endpoint", "create_server", "create_unix_connection", "create_unix_server",
    "start_tls",
]

P = TypeVar("P", bound=asyncio.BaseProtocol)


def _adapter() -> AdaptedLoop:
    return adapter_of(asyncio.get_running_loop())


async def create_server(
    protocol_factory: Callable[[], asyncio.BaseProtocol], host: Any = None, port: int | None = None, *,
    start_serving: bool = True, **options: Any,
) -> Server:
    """Serve TCP, or TLS with `ssl=`, as `loop.create_server()` does, with its options, on poolio's transports.

    OSError if the address can't be bound; NotImplementedError on systems without epoll.
    """
    adapter = _adapter()
    return await _serve(adapter, await adapter.create_server(
        protocol_factory, host, port, start_serving=False, **options), start_serving)


async def create_unix_server(
    protocol_factory: Callable[[], asyncio.BaseProtocol], path: Any = None, *,
    start_serving: bool = True, **options: Any,
) -> Server:
    """Serve a unix socket, as `loop.create_unix_server()` does, with its options. Errors as for `create_server()`."""
    adapter = _adapter()
    return await _serve(adapter, await adapter.create_unix_server(
        protocol_factory, path, start_serving=False, **options), start_serving)


async def _serve(adapter: AdaptedLoop, plain: asyncio.AbstractServer, start_serving: bool) -> Server:
    server = Server(adapter, plain)
    if start_serving:
        await server.start_serving()
    return server


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
