import asyncio
from collections.abc import Iterable
from ssl import SSLContext
from typing import NoReturn, final

from _typeshed import ReadableBuffer

from poolio.wire.receiver import Receiver
from poolio.wire.stream import StreamTransport

class TLSTransportShape(asyncio.Transport): ...

@final
class TLSTransport(Receiver, TLSTransportShape):  # type: ignore[misc]
    carrier: StreamTransport
    below: StreamTransport | TLSTransport
    def __init__(self) -> NoReturn: ...
    def write(self, data: ReadableBuffer) -> None: ...
    def writelines(self, list_of_data: Iterable[ReadableBuffer]) -> None: ...
    def get_read_buffer_size(self) -> int: ...
    def secured_transport(self) -> TLSTransport | None: ...
    def check(self) -> None: ...

def make_secure(
    loop: asyncio.AbstractEventLoop, protocol: asyncio.BaseProtocol, sslcontext: SSLContext | bool | None,
    waiter: asyncio.Future[None] | None = None, server_side: bool = False, server_hostname: str | None = None, *,
    call_connection_made: bool = True, ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None, first: bytes = b"",
) -> TLSTransport: ...
