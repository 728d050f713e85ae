"""Owns the functions that connect and serve with streams, on the running loop, whichever it is.

Refuses to know how connections are made (connect) and what a stream is (streams.connection). Called by user code.
asyncio's functions are the model: these have the same names, arguments and errors. They use poolio's transports where
there is epoll, and the loop's own elsewhere.
"""

import asyncio
from typing import Any

from poolio.loops import connect
from poolio.loops.server import Server
from poolio.memory.pool import Pool
from poolio.streams.connection import Handler, StreamProtocol, StreamWriter
from poolio.streams.reader import DEFAULT_LIMIT, StreamReader
from poolio.wire.reactor import HAS_EPOLL

__all__ = ["open_connection", "open_unix_connection", "start_server", "start_unix_server"]


async def open_connection(
    host: str | None = None, port: int | None = None, *, limit: int = DEFAULT_LIMIT, pool: Pool | None = None,
    **options: Any,
) -> tuple[StreamReader, StreamWriter]:
    """Connect over TCP, or TLS with `ssl=`: asyncio.open_connection(), with its arguments, on poolio's transports.

    limit  bytes, as for StreamReader
    pool   what is received into; if it is None, the default pool
    """
    _, protocol = await _connector().create_connection(
        lambda: StreamProtocol(limit=limit, pool=pool), host, port, **options)
    return protocol.reader, protocol.take_writer()


async def open_unix_connection(
    path: Any = None, *, limit: int = DEFAULT_LIMIT, pool: Pool | None = None, **options: Any,
) -> tuple[StreamReader, StreamWriter]:
    """Connect to a unix socket, as asyncio.open_unix_connection() does, with its arguments, on poolio's transports."""
    _, protocol = await _connector().create_unix_connection(
        lambda: StreamProtocol(limit=limit, pool=pool), path, **options)
    return protocol.reader, protocol.take_writer()


async def start_server(
    connected: Handler, host: Any = None, port: int | None = None, *, limit: int = DEFAULT_LIMIT,
    pool: Pool | None = None, **options: Any,
) -> Server:
    """Serve TCP, or TLS with `ssl=`, as asyncio.start_server() does, with its arguments, on poolio's transports.

    connected(reader, writer) is called for each connection. If it returns a coroutine, that becomes a task.

    The limits of poolio.create_server() are options too: max_connections, when_full, idle_timeout and
    first_frame_timeout. A call that waits when a timeout ends its connection raises PeerTimeout, and so does every
    later one; a handler that does not catch it ends with one line at INFO.
    """
    loop = asyncio.get_running_loop()  # asyncio has none in the child of a fork, where the server may go on
    server: Server = await _connector().create_server(
        lambda: StreamProtocol(connected, limit=limit, pool=pool, loop=loop), host, port, **options)
    return server


async def start_unix_server(
    connected: Handler, path: Any = None, *, limit: int = DEFAULT_LIMIT, pool: Pool | None = None, **options: Any,
) -> Server:
    """Serve a unix socket, as asyncio.start_unix_server() does, with its arguments, on poolio's transports.

    The limits of start_server() are options here too.
    """
    loop = asyncio.get_running_loop()
    server: Server = await _connector().create_unix_server(
        lambda: StreamProtocol(connected, limit=limit, pool=pool, loop=loop), path, **options)
    return server


def _connector() -> Any:
    """Return what connects and serves: poolio's functions, or without epoll the loop's methods of the same names."""
    return connect if HAS_EPOLL else asyncio.get_running_loop()
