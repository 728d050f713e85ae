"""ReadSlab: whose bytes a transport's room shows, old views, and giving idle memory back to the system."""

import asyncio
import gc
import socket
import weakref

import pytest
from kit.clocks import JumpingSelectorLoop
from kit.endpoints import batches_into, contents, plain
from kit.memory import address_of, look
from kit.pairs import collect_errors, connect_socket, needs_own_transports, on_pool, turns
from kit.wires import eventually

import poolio


class Keep(poolio.Protocol):
    """Keeps what it received."""

    def __init__(self, pool):
        self.pool, self.received = pool, []

    def data_received(self, buf):
        self.received.append(buf)


def receive(protocol, data):
    room = protocol.get_buffer(-1)
    room[:len(data)] = data
    protocol.buffer_updated(len(data))


def on_loop(test):
    """Run an async test body on a loop of its own; pools are empty afterwards (make_pool)."""
    asyncio.run(test())
    gc.collect()


def test_room_of_on_alloc_pool_shows_no_earlier_bytes(make_pool):
    pool = make_pool(zeroing="on_alloc")

    async def test():
        protocol = Keep(pool)
        for size in (1000, 10, 30_000, 64, 200_000, 5):
            receive(protocol, b"\xa5" * size)
            protocol.received.clear()
            room = memoryview(protocol.get_buffer(-1))
            assert bytes(room) == bytes(len(room))
            room.release()

    on_loop(test)


def test_room_of_on_alloc_pool_beside_held_bytes_shows_none_of_them(make_pool):
    pool = make_pool(zeroing="on_alloc")
    held = [pool.from_bytes(b"\xa5" * 60_000) for _ in range(8)]
    held.clear()

    async def test():
        protocol = Keep(pool)
        for _ in range(9):
            receive(protocol, b"\xa5" * 50_000)
            room = memoryview(protocol.get_buffer(-1))
            assert bytes(room) == bytes(len(room))
            room.release()
        assert [bytes(buf) for buf in protocol.received] == [b"\xa5" * 50_000] * 9

    on_loop(test)


@pytest.mark.parametrize("zeroing", ["on_alloc", "on_release"])
def test_bytes_written_and_never_reported_are_not_shown_by_alloc(make_pool, zeroing):
    pool = make_pool(zeroing=zeroing)

    async def test():
        protocol = Keep(pool)
        room = protocol.get_buffer(-1)
        room[:] = b"\xa5" * len(room)           # as a TLS record that turns out to be broken

    on_loop(test)
    assert pool.statistics().slabs == 1         # the same one
    for size in (60_000, 65_536):
        assert bytes(pool.alloc_unsafe(size)) == bytes(size)


def test_old_view_of_room_sees_nothing_that_comes_later(pool):
    async def test():
        first, second = Keep(pool), Keep(pool)
        room = first.get_buffer(-1)
        view = memoryview(room)
        view[:5] = b"first"
        address, size = address_of(view), len(view)
        first.buffer_updated(5)
        before = look(address, size)
        receive(second, b"second")
        assert look(address, size) == before
        assert (first.received, second.received) == ([b"first"], [b"second"])
        view.release()

    on_loop(test)


@needs_own_transports
def test_old_view_of_room_costs_one_slab_not_one_for_each_read(pool):
    async def test():
        first = Keep(pool)
        room = first.get_buffer(-1)
        view = memoryview(room)
        first.buffer_updated(5)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        transport, protocol = await connect_socket(lambda: Keep(pool), ours)
        with theirs:
            for count in range(1, 31):
                theirs.send(b"x")
                await eventually(lambda count=count: len(protocol.received) == count)
            assert pool.statistics().slabs == 2
            view.release()
            transport.abort()
            await turns()
            protocol.received.clear()

    on_loop(test)


def burst(protocol, pool):
    """Ten slabs' worth of received data, then none of it."""
    for _ in range(40):
        receive(protocol, b"b" * 65_000)
    slabs = pool.statistics().slabs
    protocol.received.clear()
    return slabs


def test_idle_memory_goes_back_to_the_system_by_the_loops_timer(pool):
    async def test():
        loop, protocol = asyncio.get_running_loop(), Keep(pool)
        assert burst(protocol, pool) >= 10
        loop.ahead += 9
        await turns()
        assert pool.statistics().slabs >= 10          # not idle for long enough
        loop.ahead += 2
        await turns()
        loop.ahead += 11
        await turns()
        assert pool.statistics().slabs == 1
        assert loop._scheduled == []                  # nothing to trim: no timer

    with asyncio.Runner(loop_factory=JumpingSelectorLoop) as runner:
        runner.run(test())


def test_idle_memory_needed_again_starts_the_timer_again(pool):
    async def test():
        loop, protocol = asyncio.get_running_loop(), Keep(pool)
        for _ in range(2):
            assert burst(protocol, pool) >= 10
            for _ in range(3):
                loop.ahead += 11
                await turns()
            assert pool.statistics().slabs == 1

    with asyncio.Runner(loop_factory=JumpingSelectorLoop) as runner:
        runner.run(test())


def test_idle_memory_of_the_application_goes_back_while_small_messages_are_read(pool):
    async def test():
        loop, protocol = asyncio.get_running_loop(), Keep(pool)
        receive(protocol, b"first")
        held = [pool.alloc(65_536) for _ in range(40)]
        receive(protocol, b"second")
        del held
        for _ in range(3):
            loop.ahead += 11
            await turns()
        protocol.received.clear()
        assert pool.statistics().slabs == 2           # the loop's, and the one that alloc carves from
        assert loop._scheduled == []

    with asyncio.Runner(loop_factory=JumpingSelectorLoop) as runner:
        runner.run(test())


def test_room_is_safe_from_a_trim_while_the_timer_is_started(pool):
    class Trimming(asyncio.SelectorEventLoop):
        def call_later(self, *arguments, **options):
            pool.trim()
            return super().call_later(*arguments, **options)

    async def test():
        held, protocol = pool.alloc(16), Keep(pool)
        receive(protocol, b"safe")
        assert (protocol.received, held) == ([b"safe"], bytes(16))

    with asyncio.Runner(loop_factory=Trimming) as runner:
        runner.run(test())


def test_timer_of_a_closed_loop_keeps_neither_loop_nor_pool():
    pool = poolio.Pool()

    async def test(pool):
        burst(Keep(pool), pool)
        return weakref.ref(asyncio.get_running_loop())

    loop, gone = asyncio.run(test(pool)), weakref.ref(pool)
    del pool
    gc.collect()
    assert (loop(), gone()) == (None, None)


# --- a pool at its limit for long ------------------------------------------------------------------------------

async def waiting_for_memory(pool, count):
    """Protocols that wait for a pool without memory, and what keeps it."""
    collect_errors()
    held = [pool.alloc_unsafe(1000) for _ in range(4)]
    protocols, peers = [], []
    for _ in range(count):
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        transport, protocol = await connect_socket(on_pool(pool), ours)
        theirs.send(b"x")
        await eventually(lambda transport=transport: "read=idle" in repr(transport))
        protocols.append(protocol)
        peers.append(theirs)
    return protocols, peers, held


@needs_own_transports
@pytest.mark.parametrize("is_first_aborted", (False, True))
def test_late_waiters_are_closed_one_after_the_other(make_pool, is_first_aborted):
    """Also those behind one that was closed, or went by itself."""
    pool = make_pool(slab_size=4096, max_bytes=4096)

    async def test():
        protocols, peers, held = await waiting_for_memory(pool, 3)
        waiting = list(protocols)
        if is_first_aborted:
            waiting[0].transport.abort()
            assert await waiting.pop(0).ended is None
        while waiting:
            assert not any(protocol.ended.done() for protocol in waiting)
            asyncio.get_running_loop().ahead += 6
            assert isinstance(await asyncio.wait_for(waiting.pop(0).ended, 3), poolio.PoolExhausted)
        for peer in peers:
            peer.close()
        held.clear()

    with asyncio.Runner(loop_factory=JumpingSelectorLoop) as runner:
        runner.run(test())


def test_late_datagram_endpoint_is_told_and_waits_on(make_pool):
    pool = make_pool(slab_size=4096, max_bytes=4096)

    async def test():
        held = [pool.alloc_unsafe(1000) for _ in range(4)]
        with plain() as peer:
            transport, protocol = await poolio.create_datagram_endpoint(batches_into(pool), sock=plain())
            peer.sendto(b"abc", transport.get_extra_info("sockname"))
            await eventually(lambda: "read=idle" in repr(transport))
            asyncio.get_running_loop().ahead += 6
            await eventually(lambda: protocol.errors)
            assert isinstance(protocol.errors[0], poolio.PoolExhausted)
            assert protocol.received == []
            held.clear()
            assert contents(await protocol.until(1)) == [b"abc"]
            protocol.received.clear()
            transport.abort()
            await protocol.ended

    with asyncio.Runner(loop_factory=JumpingSelectorLoop) as runner:
        runner.run(test())
