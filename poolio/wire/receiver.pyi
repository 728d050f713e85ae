import asyncio

class Receiver:
    transport: asyncio.Transport

def ensure_nothing_unread(protocol: object) -> None: ...
