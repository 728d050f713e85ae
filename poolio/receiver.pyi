import asyncio

class Receiver:
    transport: asyncio.Transport
