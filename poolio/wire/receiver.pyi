import asyncio

from _typeshed import ReadableBuffer

from poolio.memory.buffer import Buffer

class Receiver:
    transport: asyncio.Transport

def unread_of(protocol: object) -> bytes: ...
def drop_unread(protocol: object) -> None: ...
def deliver(protocol: asyncio.BaseProtocol, data: ReadableBuffer) -> None: ...
def log_fault_of_peer(transport: asyncio.BaseTransport, exc: BaseException) -> None: ...
def hand_over(
    transport: asyncio.Transport, protocol: asyncio.BaseProtocol, unread: list[Buffer], *, is_paused: bool,
    is_at_end: bool = False,
) -> None: ...
