import asyncio
import socket
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, NoReturn, final

from poolio.wire.outbox import Outbox
from poolio.wire.reactor import Reactor

BOUNDS: Final[dict[str, int]]

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
class DatagramTransport(Outbox, DatagramShape):
    def __init__(self) -> NoReturn: ...
    def statistics(self) -> DatagramStatistics: ...

def open_datagram_transport(
    reactor: Reactor, sock: socket.socket, protocol: asyncio.BaseProtocol, address: Any = None,
    waiter: asyncio.Future[None] | None = None, extra: Mapping[str, Any] | None = None,
) -> DatagramTransport: ...
