"""Owns a loop that is never idle: connections that answer each other without end.

Called by loops/test_event_loop.py.
"""

import asyncio
import socket


class PingPong(asyncio.Protocol):
    """Both ends answer whatever comes: as long as it lives, a descriptor is ready in every pass."""

    total = 0

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        type(self).total += 1
        self.transport.write(data)


class Saturated:
    """An async context in which the reactor is never idle."""

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self.transports = []
        for _ in range(8):
            for sock in (pair := socket.socketpair()):
                sock.setblocking(False)
            for sock in pair:
                transport, _ = await loop.create_unix_connection(PingPong, sock=sock)
                self.transports.append(transport)
            transport.write(b"x")
        return self

    async def __aexit__(self, *exc_info):
        for transport in self.transports:
            transport.abort()
        await asyncio.sleep(0)
