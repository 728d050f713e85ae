"""Owns a TLS server and a client by hand whose bytes a test sends as it likes: secured(). And the engines that TLS may
have: each_engine.

Called by the tests of wire and faults that look at poolio's TLS transport, with asyncio's beside it.
"""

import asyncio
import contextlib

import pytest

from kit.pairs import PooledRecorder, listed_in
from kit.tlsbyhand import TLSByHand
from kit.wires import SERVER_TLS, eventually, net

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
