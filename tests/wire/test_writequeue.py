"""The write queue where holds end: other people's code that runs then, and secrets in what had to wait."""

import os
import socket
import subprocess
import sys
import weakref

import pytest
from kit.memory import places_of
from kit.pairs import PooledRecorder, linked, needs_own_transports, own_transports, received_by
from kit.wires import eventually, run

import poolio
from poolio.memory.slab import BUILD_VARIANT

pytestmark = needs_own_transports


def ending_with(call):
    """A Buffer that is the last to hold its pool, at whose end call() is made."""
    pool = poolio.Pool()
    weakref.finalize(pool, call)
    return pool.from_bytes(b"the last of its pool")


def fill(transport):
    while not transport.get_write_buffer_size():
        transport.write(bytes(65_536))


async def writing(pieces_for):
    """A protocol that has written pieces_for(it) in one callback, each then held by the queue alone; and its peer."""
    class Writing(PooledRecorder):
        def data_received(self, data):
            pieces = list(pieces_for(self))
            while pieces:
                self.write(pieces.pop(0))
            self.calls.append("written")

    protocol, peer = await linked(Writing)
    peer.sendall(b"now")
    await eventually(lambda: "written" in protocol.calls)
    return protocol, peer


@own_transports
@pytest.mark.parametrize("behind", (0, 1, 2000))
def test_pool_ends_while_it_is_sent_and_aborts(loop_name, behind):
    async def main():
        protocol, peer = await writing(lambda protocol: [ending_with(protocol.transport.abort), *[b"tail"] * behind])
        with peer:
            assert await protocol.ended is None
            assert protocol.calls == ["made", "written", "lost"]
    run(loop_name, main)


@own_transports
@pytest.mark.parametrize("behind", (0, 1))
def test_pool_ends_while_it_is_sent_and_writes_it_arrives(loop_name, behind):
    async def main():
        protocol, peer = await writing(
            lambda protocol: [ending_with(lambda: protocol.transport.write(b", and more")), *[b", tail"] * behind])
        with peer:
            expected = b"the last of its pool" + b", tail" * behind + b", and more"
            assert peer.recv(len(expected), socket.MSG_WAITALL) == expected
            protocol.transport.abort()
            await protocol.ended
    run(loop_name, main)


@own_transports
def test_pool_ends_while_small_pieces_are_moved_together_and_aborts(loop_name):
    async def main():
        protocol, peer = await writing(
            lambda protocol: [bytes(8_000_000), *[b"small"] * 10, ending_with(protocol.transport.abort), b"tail"])
        with peer:
            assert await protocol.ended is None
            assert protocol.transport.get_write_buffer_size() == 0
    run(loop_name, main)


@own_transports
def test_writelines_of_who_fails_raises_and_sends_nothing(loop_name, make_pool):
    pool = make_pool(slab_size=4096, max_bytes=4096)

    async def main():
        kept = []

        def pieces():
            while True:
                kept.append(pool.alloc(1024))
                yield kept[-1]

        protocol, peer = await linked(PooledRecorder)
        with peer:
            with pytest.raises(poolio.PoolExhausted, match="4096"):
                protocol.transport.writelines(pieces())
            protocol.transport.write(b"goes on")
            assert peer.recv(100) == b"goes on"
            protocol.transport.abort()
            await protocol.ended
        kept.clear()
    run(loop_name, main)


# Reads 400 bytes, sends them in small pieces that have to wait, gives up; says when, and goes on when it is told.
KEEPER = """
import asyncio, sys, poolio

def tell(text):
    print(text, flush=True)
    sys.stdin.buffer.raw.read(1)

async def main():
    server = await poolio.create_server(Deaf, "127.0.0.1", 0)
    transport, protocol = await poolio.create_connection(poolio.Protocol, *server.sockets[0].getsockname())
    while not transport.get_write_buffer_size():
        transport.write(bytes(65_536))
    buf = poolio.Pool(zeroing="on_release").alloc(400)
    with memoryview(buf) as view:
        sys.stdin.buffer.raw.readinto(view)
    for _ in range(20):
        transport.write(buf)
    buf.release()
    tell("waits")
    transport.abort()
    server.close()
    server.abort_clients()
    await server.wait_closed()
    tell("gone")

class Deaf(poolio.Protocol):
    def connection_made(self, transport):
        super().connection_made(transport)
        transport.pause_reading()

poolio.run(main())
"""


@pytest.mark.skipif(BUILD_VARIANT == "sanitize", reason="the sanitizer's shadow memory is too large to look through")
def test_on_release_small_pieces_that_wait_are_wiped():
    secret = os.urandom(32)
    child = subprocess.Popen([sys.executable, "-c", KEEPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with child:
        child.stdin.write(secret + bytes(368))
        child.stdin.flush()
        assert child.stdout.readline() == b"waits\n"
        assert places_of(child.pid, secret) >= 20
        child.stdin.write(b".")
        child.stdin.flush()
        assert child.stdout.readline() == b"gone\n"
        assert places_of(child.pid, secret) == 0
        child.stdin.write(b".")
        child.stdin.flush()
    assert child.returncode == 0


@own_transports
def test_small_pieces_of_two_pools_that_wait_arrive_in_order(loop_name, make_pool):
    pools = make_pool(zeroing="on_release"), make_pool(zeroing="on_release"), make_pool()

    async def main():
        protocol, peer = await linked(PooledRecorder)
        with peer:
            transport = protocol.transport
            fill(transport)
            expected = b"".join(b"%4d" % number for number in range(600))
            for number in range(600):
                transport.write(pools[number % 7 % 3].from_bytes(b"%4d" % number) if number % 4 else b"%4d" % number)
            transport.check()
            transport.close()
            assert (await received_by(peer)).endswith(expected)
            await protocol.ended
            await eventually(lambda: not any(pool.statistics().live_bytes for pool in pools))
    run(loop_name, main)
