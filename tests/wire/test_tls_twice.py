"""TLS in TLS, on both engines: information, flow, memory. Its ends are in test_tls_as_on_asyncio, with asyncio's."""

import asyncio
import contextlib
import ssl

import pytest
from kit.pairs import PooledRecorder, Recorder, RoomRecorder, on, turns
from kit.tlspairs import each_engine, secured_twice
from kit.wires import BLOCK, OURS, SERVER_TLS, eventually

import poolio

pytestmark = pytest.mark.usefixtures("default_pool_is_left_as_it_was")

@each_engine
@on("asyncio", *OURS)
async def test_information_is_that_of_the_inner_connection(engine, force):
    force(engine)
    async with secured_twice() as (protocol, peer):
        transport = protocol.transport
        assert isinstance(transport.get_extra_info("ssl_object"), ssl.SSLObject)
        assert transport.get_extra_info("sslcontext") is SERVER_TLS
        assert transport.get_extra_info("cipher") == peer.object.cipher()
        assert transport.get_extra_info("peername") == peer.writer.get_extra_info("sockname")
        if hasattr(transport, "below"):
            outer = transport.below.get_extra_info("ssl_object")
            assert isinstance(outer, ssl.SSLObject) and outer is not transport.get_extra_info("ssl_object")
            assert transport.get_extra_info("tls_engine") == transport.below.get_extra_info("tls_engine") == engine


@each_engine
@pytest.mark.parametrize("factory", (Recorder, PooledRecorder))
@on(*OURS)        # asyncio's inner TLS does not count what the outer one keeps
async def test_marks_pause_and_resume_the_protocol_and_all_arrives(engine, factory, force):
    force(engine)
    async with secured_twice(factory) as (protocol, peer):
        protocol.transport.set_write_buffer_limits(high=1_000_000)
        protocol.transport.write(BLOCK)
        await turns(3)
        assert protocol.calls == ["made", "pause"]
        assert 0 < protocol.transport.get_write_buffer_size() < 1.01 * len(BLOCK)
        assert await peer.read(len(BLOCK)) == BLOCK
        await eventually(lambda: protocol.calls == ["made", "pause", "resume"])
        assert protocol.transport.get_write_buffer_size() == 0


@each_engine
@on(*OURS)
async def test_ciphertext_of_both_is_bounded_and_close_sends_all_behind_which_both_say_goodbye(engine, force):
    force(engine)
    async with secured_twice() as (protocol, peer):
        protocol.write(BLOCK)
        transport = protocol.transport
        assert transport.below.get_write_buffer_size() < 500_000
        assert transport.carrier.get_write_buffer_size() < 300_000
        transport.check()
        transport.close()
        assert await peer.read(len(BLOCK)) == BLOCK
        await peer.read_end()
        await peer.reader.outer.read_end()
        assert await protocol.ended is None


@each_engine
@pytest.mark.parametrize("factory", (Recorder, PooledRecorder))
@on("asyncio", *OURS)
async def test_paused_protocol_is_given_nothing_and_then_all_that_has_come(engine, factory, force):
    force(engine)
    async with secured_twice(factory) as (protocol, peer):
        protocol.transport.pause_reading()
        peer.write(b"first")
        peer.write(BLOCK[:1_000_000])
        await turns(20)
        assert protocol.received == b"" and not protocol.transport.is_reading()
        protocol.transport.resume_reading()
        await eventually(lambda: len(protocol.received) == 1_000_005)
        assert protocol.received == b"first" + BLOCK[:1_000_000]


@each_engine
@pytest.mark.parametrize("factory", (Recorder, PooledRecorder))
@on(*OURS)
async def test_protocol_that_pauses_in_each_callback_is_given_all_in_order(engine, factory, force):
    force(engine)

    class Pausing(factory):
        def data_received(self, data):
            super().data_received(data)
            self.transport.pause_reading()
            asyncio.get_running_loop().call_soon(self.transport.resume_reading)

    async with secured_twice(Pausing) as (protocol, peer):
        peer.write(BLOCK[:400_000])
        await eventually(lambda: len(protocol.received) == 400_000)
        assert protocol.received == BLOCK[:400_000]


@each_engine
@on(*OURS)
async def test_memory_that_is_missing_is_waited_for_and_nothing_is_lost(engine, force):
    force(engine)
    pool = poolio.Pool(max_bytes=4 * 65_536)

    class Own(PooledRecorder):
        def __init__(self):
            super().__init__()
            self.pool = pool

    async with secured_twice(Own) as (protocol, peer):
        held = []
        with contextlib.suppress(poolio.PoolExhausted):
            while True:
                held.append(pool.alloc(4096))
        peer.write(BLOCK[:100_000])
        await turns(20)
        assert len(protocol.received) < 100_000
        while held:
            held.pop().release()
        await eventually(lambda: len(protocol.received) == 100_000)
        assert protocol.received == BLOCK[:100_000]


@each_engine
@on("asyncio", *OURS)
async def test_shutdown_that_the_peer_does_not_answer_times_out(engine, force):
    force(engine)
    async with secured_twice(ssl_shutdown_timeout=0.05) as (protocol, peer):
        protocol.transport.close()
        await peer.read_end()
        await protocol.ended
        assert protocol.calls[-1] == "lost"


@each_engine
@pytest.mark.parametrize("size, factory", ((20_000, RoomRecorder), (200_000, PooledRecorder)))
@on(*OURS)        # asyncio loses what the inner one has not delivered
async def test_end_of_both_behind_data_waits_for_a_protocol_that_pauses(engine, size, factory, force):
    force(engine)

    class Pausing(factory):
        def data_received(self, data):
            super().data_received(data)
            self.transport.pause_reading()

        def buffer_updated(self, count):
            super().buffer_updated(count)
            self.transport.pause_reading()

    async with secured_twice(Pausing) as (protocol, peer):
        peer.object.write(BLOCK[:size])
        for each in (peer, peer.reader.outer):
            with contextlib.suppress(ssl.SSLWantReadError):
                each.object.unwrap()
            if each is peer:
                each.reader.outer.object.write(each.to_send())
        peer.reader.outer.writer.write(peer.reader.outer.to_send())
        while not protocol.ended.done():
            await turns(10)
            protocol.transport.resume_reading()
        assert protocol.received == BLOCK[:size] and protocol.calls == ["made", "eof", "lost"]
