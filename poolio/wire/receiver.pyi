import asyncio

class Receiver:
    transport: asyncio.Transport

def unread_bytes(protocol: object) -> int: ...
