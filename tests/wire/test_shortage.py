"""Connections whose pool is at its limit: reading waits for memory, and nothing waits for ever."""

import asyncio
import contextlib

import pytest
from kit.echoes import RecordingEcho
from kit.memory import SMALL_SLAB
from kit.pairs import PooledRecorder, Recorder, collect_errors, linked, on_pool, own_transports, turns
from kit.wires import BLOCK, OURS, eventually, run

import poolio


@own_transports
def test_pool_at_its_limit_reading_waits_for_memory(loop_name, make_pool):
    """Everything that was received is held; the next connection reads when it is given back."""
    pool = make_pool(slab_size=4096, max_bytes=4096)

    async def main():
        kept = []

        class Keeping(PooledRecorder):
            def data_received(self, buf):
                kept.append(buf)

        keeping, keeping_peer = await linked(on_pool(pool, Keeping))
        reading, peer = await linked(on_pool(pool))
        with keeping_peer, peer:
            keeping_peer.sendall(BLOCK[:4096])
            await eventually(lambda: sum(map(len, kept)) > 3072)
            peer.sendall(BLOCK[:100_000])
            await asyncio.sleep(0.05)
            assert reading.calls == ["made"]
            assert reading.received == b""
            kept.clear()
            await eventually(lambda: len(reading.received) == 100_000)
            assert reading.received == BLOCK[:100_000]
            keeping.transport.close()
            reading.transport.close()
            await asyncio.gather(keeping.ended, reading.ended)
            kept.clear()
    run(loop_name, main)


@own_transports
def test_set_protocol_while_waiting_for_memory_reads_with_the_other_pool(loop_name, make_pool):
    pool = make_pool(slab_size=4096, max_bytes=4096)

    async def main():
        held = [pool.alloc_unsafe(1000) for _ in range(4)]
        protocol, peer = await linked(on_pool(pool))
        with peer:
            peer.sendall(b"waits")
            await eventually(lambda: "read=idle" in repr(protocol.transport))
            second = Recorder()
            protocol.transport.set_protocol(second)
            await eventually(lambda: second.received == b"waits")
            assert protocol.received == b""
            await asyncio.sleep(0.03)                   # nobody looks for the first pool's memory any more
            protocol.transport.close()
            assert await second.ended is None
        held.clear()
    run(loop_name, main, timeout=20)


@pytest.mark.parametrize("loop_name", OURS[:1])
def test_pool_held_by_unread_answers_the_one_with_most_is_closed(loop_name, make_pool):
    """Nothing waits for ever: peers that do not read their echoes pin the pool until one of them is closed."""
    pool = make_pool(slab_size=65_536, max_bytes=1 << 20)

    async def main():
        handled = collect_errors()

        loop = asyncio.get_running_loop()
        pairs = [await linked(on_pool(pool, RecordingEcho)) for _ in range(3)]

        def send_all(peer):
            peer.settimeout(0.5)
            with contextlib.suppress(TimeoutError, ConnectionError):
                peer.sendall(BLOCK)

        for _, peer in pairs:
            loop.run_in_executor(None, send_all, peer)
        await eventually(lambda: any(protocol.ended.done() for protocol, _ in pairs))
        ended = [protocol for protocol, _ in pairs if protocol.ended.done()]
        assert isinstance(await ended[0].ended, poolio.PoolExhausted)
        assert isinstance(handled[0]["exception"], poolio.PoolExhausted)
        for protocol, peer in pairs:
            protocol.transport.abort()
            await protocol.ended
            peer.close()
    run(loop_name, main)


@own_transports
def test_connection_that_ended_while_it_waited_for_memory_takes_another_protocol(loop_name, make_pool):
    async def main():
        pool = make_pool(slab_size=SMALL_SLAB, max_bytes=SMALL_SLAB)
        held = [pool.alloc_unsafe(SMALL_SLAB // 4) for _ in range(4)]
        protocol, peer = await linked(on_pool(pool))
        with peer:
            transport = protocol.transport
            peer.sendall(b"x")
            await turns(10)
            transport.abort()
            await protocol.ended
            transport.set_protocol(Recorder())
            held.clear()
            await turns(5)
    run(loop_name, main)
