import asyncio

from _typeshed import ReadableBuffer

class Receiver:
    transport: asyncio.Transport

def unread_of(protocol: object) -> bytes: ...
def drop_unread(protocol: object) -> None: ...
def deliver(protocol: asyncio.BaseProtocol, data: ReadableBuffer) -> None: ...
