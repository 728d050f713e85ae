"""Owns what a peer can do to a connection, as functions of its plain socket, and protocols of each kind that note
what they are told.

A kind is how a protocol takes its data: `bytes`, Buffers (pooled) or frames. `received` is always what came, in order.
Called by the tests of faults; those of streams, wire and loops call the functions of sockets and descriptors().
"""

import asyncio
import contextlib
import gc
import os
import socket
import struct

import pytest

import poolio
from kit.pairs import Recorder
from kit.wires import BLOCK, OURS, eventually
from poolio.wire.reactor import reactor_of

CODEC = poolio.LengthPrefixed(4)
FRAME = BLOCK[:1000]
# a frame, and half of another one: a fault now is in the middle of a message
WHOLE = len(FRAME).to_bytes(4, "big") + FRAME
MESSAGE = WHOLE + WHOLE[:500]
# kinds and loops: each kind, each loop
COMBINATIONS = [(kind, name) for kind, name in (
    ("bytes", "poolio"), ("pooled", "poolio"), ("framed", "poolio"), ("bytes", "poolio-on-asyncio"),
    ("pooled", "poolio-on-asyncio"), ("pooled", "poolio-on-uvloop")) if name in OURS]
every_combination = pytest.mark.parametrize("kind, loop_name", COMBINATIONS, ids=map("-".join, COMBINATIONS))
BROKEN = (ConnectionResetError, BrokenPipeError)


class Keeper(Recorder):
    """A Recorder that stays open at the peer's end if `half_open`."""

    half_open = False
    exc = None

    def eof_received(self):
        self.calls.append("eof")
        return self.half_open

    def connection_lost(self, exc):
        self.exc = exc
        super().connection_lost(exc)

    def expected(self, message):
        return message


class PooledKeeper(Keeper, poolio.Protocol):
    def connection_made(self, transport):
        poolio.Protocol.connection_made(self, transport)
        Keeper.connection_made(self, transport)


class FramedKeeper(Keeper, poolio.FramedProtocol):
    codec = CODEC

    def __init__(self):
        poolio.FramedProtocol.__init__(self)
        Keeper.__init__(self)

    def connection_made(self, transport):
        poolio.Protocol.connection_made(self, transport)
        Keeper.connection_made(self, transport)

    data_received = poolio.FramedProtocol.data_received

    def frames_received(self, frames):
        for frame in frames:
            self.received += frame

    def eof_received(self):
        self.calls.append("eof")
        if self.half_open:
            return True
        return poolio.FramedProtocol.eof_received(self)

    def connection_lost(self, exc):
        poolio.FramedProtocol.connection_lost(self, exc)
        Keeper.connection_lost(self, exc)

    def expected(self, message):
        return b"".join(map(bytes, CODEC.feed(message[:len(message) // len(WHOLE) * len(WHOLE)])))


KINDS = {"bytes": Keeper, "pooled": PooledKeeper, "framed": FramedKeeper}


def factory_of(kind, pool, **attributes):
    """Makes protocols of this kind on this pool, each with these attributes; all of them are in its `made`."""
    def make():
        protocol = KINDS[kind]()
        protocol.pool = pool
        for name, value in attributes.items():
            setattr(protocol, name, value)
        make.made.append(protocol)
        return protocol
    make.made = []
    return make


def reset_at_close(sock):
    """When the socket is closed, its peer gets RST instead of FIN, whatever is on the way."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def reset(peer):
    reset_at_close(peer)
    peer.close()


def half_close(peer):
    peer.shutdown(socket.SHUT_WR)


def read_to_the_end(peer):
    """All that the peer still gets; b"" after what it has got if the connection breaks."""
    got = bytearray()
    with contextlib.suppress(ConnectionError):
        while data := peer.recv(1 << 16):
            got += data
    return bytes(got)


async def peer_reads(peer):
    return await asyncio.get_running_loop().run_in_executor(None, read_to_the_end, peer)


def descriptors():
    """How many descriptors this process has open, with the one that is open to count them."""
    return len(os.listdir("/proc/self/fd"))


class Watch:
    """Watches a test's loop: what its exception handler is given, and that descriptors and calls come out even."""

    def __init__(self):
        loop = asyncio.get_running_loop()
        reactor_of(loop)                        # it has a descriptor of its own
        self.handled = []
        # only the type: an exception keeps frames, and what lies in them
        loop.set_exception_handler(lambda loop, context: self.handled.append(type(context.get("exception"))))
        self.before = descriptors()

    def errors(self):
        return self.handled

    async def over(self, protocols, errors=()):
        """Wait until all of them are lost; each once, nothing but `errors` was reported, and no descriptor is left."""
        for protocol in protocols:
            await protocol.ended
        for _ in range(3):
            await asyncio.sleep(0)
        for protocol in protocols:
            assert protocol.calls.count("made") == 1
            assert protocol.calls.count("lost") == 1
            assert protocol.calls[-1] == "lost"
        assert self.errors() == list(errors)
        await eventually(lambda: gc.collect() is not None and descriptors() <= self.before)
