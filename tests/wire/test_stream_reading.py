"""StreamTransport: which protocol gets what was received, in which form, and pausing in between.

Where asyncio promises the same, asyncio's own transport runs the same test: then the test is right about asyncio.
"""

import asyncio
import gc
import os

import pytest
from kit.faults import reset
from kit.pairs import (
    PooledRecorder,
    Recorder,
    RoomRecorder,
    collect_errors,
    every_transport,
    linked,
    own_transports,
    received_by,
)
from kit.wires import BLOCK, eventually, run

import poolio


@every_transport
def test_plain_protocol_gets_bytes(loop_name):
    async def main():
        types = set()

        class Plain(Recorder):
            def data_received(self, data):
                types.add(type(data))
                super().data_received(data)

        protocol, peer = await linked(Plain)
        with peer:
            peer.sendall(BLOCK[:300_000])
            await eventually(lambda: len(protocol.received) == 300_000)
            assert protocol.received == BLOCK[:300_000]
            assert types == {bytes}
            protocol.transport.close()
            await protocol.ended
    run(loop_name, main)


@own_transports
def test_plain_protocol_leaves_nothing_to_alloc(loop_name):
    """What was copied out as bytes still lies in the slab, and alloc() has to know."""
    async def main():
        poolio.default_pool().trim()
        protocol, peer = await linked()
        with peer:
            peer.sendall(b"\xff" * 50_000)
            await eventually(lambda: len(protocol.received) == 50_000)
            protocol.transport.close()
            await protocol.ended

    run(loop_name, main)
    gc.collect()                        # the loop's slab is free now
    assert poolio.default_pool().statistics().free_bytes
    bufs = [poolio.alloc(16_384) for _ in range(64)]
    assert all(buf == bytes(16_384) for buf in bufs)


@every_transport
def test_buffered_protocol_brings_its_own_room(loop_name):
    async def main():
        protocol, peer = await linked(RoomRecorder)
        with peer:
            peer.sendall(BLOCK[:30_000])
            await eventually(lambda: len(protocol.received) == 30_000)
            assert protocol.received == BLOCK[:30_000]
        assert await protocol.ended is None
    run(loop_name, main)


@every_transport
@pytest.mark.parametrize("room", (b"", b"abc", None))
def test_buffered_protocol_bad_room_closes_and_is_reported(loop_name, room):
    class BadBuffered(asyncio.BufferedProtocol):
        __init__ = Recorder.__init__
        connection_made = Recorder.connection_made
        connection_lost = Recorder.connection_lost

        def get_buffer(self, sizehint):
            return room

    async def main():
        handled = collect_errors()
        protocol, peer = await linked(BadBuffered)
        with peer:
            peer.sendall(b"x")
            await protocol.ended
        assert len(handled) == 1
        assert handled[0]["protocol"] is protocol
    run(loop_name, main)


@every_transport
def test_paused_reading_delivers_nothing_until_resumed(loop_name):
    async def main():
        protocol, peer = await linked()
        with peer:
            protocol.transport.pause_reading()
            protocol.transport.pause_reading()
            assert not protocol.transport.is_reading()
            peer.sendall(b"abc")
            for _ in range(10):
                await asyncio.sleep(0.002)
            assert protocol.received == b""
            protocol.transport.resume_reading()
            protocol.transport.resume_reading()
            assert protocol.transport.is_reading()
            await eventually(lambda: protocol.received == b"abc")
            protocol.transport.close()
            protocol.transport.pause_reading()
            protocol.transport.resume_reading()
            assert not protocol.transport.is_reading()
            assert await protocol.ended is None
    run(loop_name, main)


@own_transports
def test_paused_peer_resets_costs_no_turns(loop_name):
    """A paused connection that the peer has reset is out of epoll: the loop must not spin on it."""
    async def main():
        protocol, peer = await linked()
        protocol.transport.pause_reading()
        reset(peer)
        await asyncio.sleep(0.01)
        before = os.times()
        await asyncio.sleep(0.2)
        after = os.times()
        assert after.user + after.system - before.user - before.system < 0.1
        protocol.transport.resume_reading()
        assert isinstance(await protocol.ended, ConnectionResetError)
    run(loop_name, main)


@every_transport
def test_set_protocol_switches_between_kinds(loop_name):
    async def main():
        protocol, peer = await linked()
        transport = protocol.transport
        with peer:
            peer.sendall(b"one")
            await eventually(lambda: protocol.received == b"one")
            buffered = RoomRecorder()
            transport.set_protocol(buffered)
            assert transport.get_protocol() is buffered
            peer.sendall(b"two")
            await eventually(lambda: buffered.received == b"two")
            pooled = PooledRecorder()
            transport.set_protocol(pooled)
            peer.sendall(b"three")
            await eventually(lambda: pooled.received == b"three")
            transport.close()
            assert await pooled.ended is None
    run(loop_name, main)


@own_transports
def test_set_protocol_inside_data_received_next_data_goes_to_it(loop_name):
    async def main():
        second = Recorder()

        class First(PooledRecorder):
            def data_received(self, buf):
                super().data_received(buf)
                self.transport.set_protocol(second)
                self.write(b"switched")

        protocol, peer = await linked(First)
        with peer:
            peer.sendall(b"one")
            assert await received_by(peer, 8) == b"switched"
            peer.sendall(b"two")
            await eventually(lambda: second.received == b"two")
            assert protocol.received == b"one"
        assert await second.ended is None
    run(loop_name, main)


@every_transport
def test_data_received_replaced_meanwhile_next_data_goes_to_it(loop_name):
    class Replacing(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.data_received = second.append

    async def main():
        protocol, peer = await linked(Replacing)
        with peer:
            peer.sendall(b"one")
            await eventually(lambda: protocol.received == b"one")
            peer.sendall(b"two")
            await eventually(lambda: second == [b"two"])
            protocol.transport.close()
            assert await protocol.ended is None

    second = []
    run(loop_name, main)
