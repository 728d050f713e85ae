import asyncio
import contextvars
import socket
from collections.abc import Iterable, Mapping
from typing import Any, Final, NoReturn, final

from _typeshed import ReadableBuffer

from poolio.wire.endpoint import Endpoint
from poolio.wire.reactor import Reactor
from poolio.wire.receiver import Receiver

BOUNDS: Final[dict[str, int]]

class TransportShape(asyncio.Transport): ...

@final
class StreamTransport(Endpoint, TransportShape):
    def __init__(self) -> NoReturn: ...
    def write(self, data: ReadableBuffer) -> None: ...
    def writelines(self, list_of_data: Iterable[ReadableBuffer]) -> None: ...
    def can_write_eof(self) -> bool: ...
    def write_eof(self) -> None: ...
    def check(self) -> None: ...

def open_transport(
    reactor: Reactor, sock: socket.socket, protocol: asyncio.BaseProtocol | Receiver,
    waiter: asyncio.Future[None] | None = None, extra: Mapping[str, Any] | None = None,
    server: asyncio.AbstractServer | None = None, context: contextvars.Context | None = None,
) -> StreamTransport: ...
