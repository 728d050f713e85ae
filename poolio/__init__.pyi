from collections.abc import Iterable
from typing import Final, SupportsIndex

from _typeshed import ReadableBuffer

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

__version__: Final[str]
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

def alloc(size: SupportsIndex) -> Buffer: ...
def alloc_unsafe(size: SupportsIndex) -> Buffer: ...
def alloc_unpooled(size: SupportsIndex) -> Buffer: ...
def concat(buffers: Iterable[ReadableBuffer]) -> Buffer: ...
def from_bytes(data: ReadableBuffer) -> Buffer: ...
