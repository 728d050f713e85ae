"""Owns a TLS server and a client by hand whose bytes a test sends as it likes: secured(), and secured_twice() with TLS
in TLS. And the engines that TLS may have: each_engine.

Called by the tests of wire and faults that look at poolio's TLS transport, with asyncio's beside it.
"""

import asyncio
import contextlib
import ssl

import pytest

from kit.pairs import PooledRecorder, listed_in
from kit.tlsbyhand import TLSByHand
from kit.wires import SERVER_TLS, Upgrading, eventually, net

each_engine = pytest.mark.parametrize("engine", ("openssl", "memorybio"))


@contextlib.asynccontextmanager
async def secured(factory=PooledRecorder, context=SERVER_TLS, peer=TLSByHand, **options):
    """(the server's protocol, a peer whose handshake is done). The protocol's transport is aborted at the end."""
    made = []
    server = await net().create_server(listed_in(made, factory), "127.0.0.1", 0, ssl=context, **options)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    peer = peer(reader, writer)
    try:
        await peer.handshake()
        writer.write(peer.to_send())
        await eventually(lambda: made and "made" in made[0].calls)
        yield made[0], peer
    finally:
        server.close()
        if made and "made" in made[0].calls:
            made[0].transport.abort()
            await made[0].ended
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        await server.wait_closed()


class Within:
    """The reader and the writer of a connection over TLS, for the TLS within it; else the plain connection's writer."""

    def __init__(self, outer):
        self.outer = outer

    async def read(self, size):
        while True:
            try:
                return self.outer.object.read(size)
            except ssl.SSLWantReadError:
                await self.outer._more()

    def write(self, data):
        if data:
            self.outer.write(data)

    def __getattr__(self, name):
        return getattr(self.outer.writer, name)


@contextlib.asynccontextmanager
async def secured_twice(factory=PooledRecorder, **options):
    """As secured(), after start_tls() over TLS. The peer has the peer of the TLS around it as `reader.outer`."""
    made, tasks = [], []
    first = lambda: Upgrading(listed_in(made, factory), tasks)      # noqa: E731
    server = await net().create_server(first, "127.0.0.1", 0, ssl=SERVER_TLS, **options)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    outer = TLSByHand(reader, writer)
    try:
        await outer.handshake()
        outer.write(b"?")
        assert await outer.read(1) == b"!"
        peer = TLSByHand(Within(outer), Within(outer))
        await peer.handshake()
        peer.writer.write(peer.to_send())
        await eventually(lambda: made and "made" in made[0].calls)
        yield made[0], peer
    finally:
        server.close()
        await asyncio.wait(tasks)
        if made and "made" in made[0].calls:
            made[0].transport.abort()
            await made[0].ended
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        await server.wait_closed()
