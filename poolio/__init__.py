"""Pooled buffers for asyncio, compiled: receive into reused memory, pass slices on without copying.

Memory: `alloc(n)`, `alloc_unsafe(n)`, `from_bytes(data)`, or a `Pool` of your own.
Network: `class Echo(poolio.Protocol)`.
"""

import sys
from types import FunctionType
from typing import Any

from poolio.errors import BufferReleased, ErrorReply, FrameError, FrameTooLarge, PeerTimeout, PoolError, PoolExhausted
from poolio.framing.announced import LineAndBody
from poolio.framing.codec import Codec
from poolio.framing.delimited import Delimited
from poolio.framing.lengths import FixedSize, LengthPrefixed, Varint
from poolio.framing.marked import Marked
from poolio.framing.values import NIL
from poolio.loops.connect import (
    create_connection,
    create_datagram_endpoint,
    create_server,
    create_unix_connection,
    create_unix_server,
    start_tls,
)
from poolio.loops.event_loop import EventLoop, new_event_loop, run
from poolio.loops.streams import open_connection, open_unix_connection, start_server, start_unix_server
from poolio.memory.buffer import Buffer
from poolio.memory.chain import Chain
from poolio.memory.methods import make_public
from poolio.memory.pool import Pool, Statistics, default_pool
from poolio.protocols.datagram import DatagramProtocol
from poolio.protocols.framed import FramedProtocol
from poolio.protocols.protocol import Protocol
from poolio.streams.connection import StreamProtocol, StreamWriter
from poolio.streams.reader import StreamReader
from poolio.streams.relay import relay
from poolio.wire.datagram import DatagramStatistics
from poolio.wire.limits import ServerStatistics

__version__ = "0.1.0"
__all__ = [
    "NIL",
    "Buffer",
    "BufferReleased",
    "Chain",
    "Codec",
    "DatagramProtocol",
    "DatagramStatistics",
    "Delimited",
    "ErrorReply",
    "EventLoop",
    "FixedSize",
    "FrameError",
    "FrameTooLarge",
    "FramedProtocol",
    "LengthPrefixed",
    "LineAndBody",
    "Marked",
    "PeerTimeout",
    "Pool",
    "PoolError",
    "PoolExhausted",
    "Protocol",
    "ServerStatistics",
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

# poolio has no locks: it relies on the GIL. Importing it switches the GIL on in a free-threaded build, unless that was
# forbidden.
if not getattr(sys, "_is_gil_enabled", lambda: True)():
    raise ImportError("poolio needs the GIL: run this free-threaded Python without PYTHON_GIL=0 and -X gil=0")

# Bound methods of the default pool, so that the module's names cost no call of their own.
alloc = default_pool().alloc
alloc_unsafe = default_pool().alloc_unsafe
alloc_unpooled = default_pool().alloc_unpooled
concat = default_pool().concat
from_bytes = default_pool().from_bytes

for _name in __all__:
    if isinstance(globals().get(_name), type | FunctionType):
        make_public(globals()[_name], _name)


def __getattr__(name: str) -> Any:
    """Import serve() when it is asked for: its modules would be a third of the cost of importing poolio."""
    if name != "serve":
        raise AttributeError(f"module 'poolio' has no attribute {name!r}")
    from poolio.workers.supervisor import serve

    make_public(serve, name)
    globals()[name] = serve
    return serve


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
