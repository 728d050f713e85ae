import asyncio
import socket
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, NoReturn, final

from _typeshed import ReadableBuffer

from poolio.wire.endpoint import Endpoint
from poolio.wire.reactor import Reactor

class DatagramStatistics(NamedTuple):
    received: int
    received_bytes: int
    reads: int
    truncated: int
    unplaced: int
    kernel_drops: int
    sent: int
    sent_bytes: int

class DatagramShape(asyncio.DatagramTransport): ...

@final
class DatagramTransport(Endpoint, DatagramShape):
    def __init__(self) -> NoReturn: ...
    def sendto(self, data: ReadableBuffer, addr: Any = None) -> None: ...
    def send_segmented(self, data: ReadableBuffer, size: int, addr: Any = None) -> None: ...
    def sendmany(self, batch: Iterable[tuple[ReadableBuffer, Any]]) -> None: ...
    def statistics(self) -> DatagramStatistics: ...

def open_datagram_transport(
    reactor: Reactor, sock: socket.socket, protocol: asyncio.BaseProtocol, address: Any = None,
    waiter: asyncio.Future[None] | None = None, extra: Mapping[str, Any] | None = None,
) -> DatagramTransport: ...
