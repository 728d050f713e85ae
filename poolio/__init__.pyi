from collections.abc import Iterable
from typing import Final, SupportsIndex

from _typeshed import ReadableBuffer

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
from poolio.memory.pool import Pool, Statistics, default_pool
from poolio.protocols.datagram import DatagramProtocol
from poolio.protocols.framed import FramedProtocol
from poolio.protocols.protocol import Protocol
from poolio.streams.connection import StreamProtocol, StreamWriter
from poolio.streams.reader import StreamReader
from poolio.streams.relay import relay
from poolio.wire.datagram import DatagramStatistics
from poolio.wire.limits import ServerStatistics
from poolio.workers.supervisor import serve

__version__: Final[str]
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

def alloc(size: SupportsIndex) -> Buffer: ...
def alloc_unsafe(size: SupportsIndex) -> Buffer: ...
def alloc_unpooled(size: SupportsIndex) -> Buffer: ...
def concat(buffers: Iterable[ReadableBuffer]) -> Buffer: ...
def from_bytes(data: ReadableBuffer) -> Buffer: ...
