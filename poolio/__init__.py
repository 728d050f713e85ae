"""Pooled buffers for asyncio, compiled: receive into reused memory, pass slices on without copying.

Memory: `alloc(n)`, `alloc_unsafe(n)`, `from_bytes(data)`, or a `Pool` of your own.
Network: `class Echo(poolio.Protocol)`.
"""

import sys

from poolio.buffer import Buffer
from poolio.chain import Chain
from poolio.datagram import DatagramStatistics
from poolio.datagrams import DatagramProtocol, create_datagram_endpoint
from poolio.errors import BufferReleased, FrameError, FrameTooLarge, PoolError, PoolExhausted
from poolio.framed import FramedProtocol
from poolio.framing import Codec, Delimited, FixedSize, LengthPrefixed, Varint
from poolio.loop import EventLoop, new_event_loop, run
from poolio.net import create_connection, create_server, create_unix_connection, create_unix_server, start_tls
from poolio.pool import Pool, Statistics, default_pool
from poolio.protocol import Protocol
from poolio.reader import StreamReader
from poolio.streams import (
    StreamProtocol,
    StreamWriter,
    open_connection,
    open_unix_connection,
    relay,
    start_server,
    start_unix_server,
)
from poolio.supervisor import serve

__version__ = "0.1.0"
__all__ = [
    "Buffer",
    "BufferReleased",
    "Chain",
    "Codec",
    "DatagramProtocol",
    "DatagramStatistics",
    "Delimited",
    "EventLoop",
    "FixedSize",
    "FrameError",
    "FrameTooLarge",
    "FramedProtocol",
    "LengthPrefixed",
    "Pool",
    "PoolError",
    "PoolExhausted",
    "Protocol",
    "Statistics",
    "StreamProtocol",
    "StreamReader",
    "StreamWriter",
    "Varint",
    "alloc",
    "alloc_unpooled",
    "alloc_unsafe",
    "concat",
    "create_connection",
    "create_datagram_endpoint",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "default_pool",
    "from_bytes",
    "new_event_loop",
    "open_connection",
    "open_unix_connection",
    "relay",
    "run",
    "serve",
    "start_server",
    "start_tls",
    "start_unix_server",
]

# Nothing here locks: the GIL does. Importing poolio switches it on in a free-threaded build, unless that was forbidden.
if not getattr(sys, "_is_gil_enabled", lambda: True)():
    raise ImportError("poolio needs the GIL: run this free-threaded Python without PYTHON_GIL=0 and -X gil=0")

# Bound methods of the default pool, so that the module's names cost no call of their own.
alloc = default_pool().alloc
alloc_unsafe = default_pool().alloc_unsafe
alloc_unpooled = default_pool().alloc_unpooled
concat = default_pool().concat
from_bytes = default_pool().from_bytes
