"""poolio.Protocol over real sockets: every loop, every wire, contents checked."""

import asyncio
import gc
import itertools
import threading

import pytest
from kit.echoes import Echo
from kit.memory import assert_empty
from kit.pairs import on_pool
from kit.wires import (
    BLOCK,
    LOOPS,
    WIRES,
    Checker,
    allow_descriptors,
    closed,
    eventually,
    listening,
    pairwise,
    run,
)

import poolio

SIZES = (1, 64, 4096, 65537, 1 << 20, 8 << 20)
CONNECTIONS = (1, 10, 100, 1000)
ZEROING = ("never", "on_alloc", "on_release")
IN_FLIGHT_BYTES = 64 << 20

every_loop = pytest.mark.parametrize("loop_name", LOOPS)
every_wire = pytest.mark.parametrize("wire", WIRES)


@pytest.fixture
def pool():
    pool = poolio.Pool()
    yield pool
    assert_empty(pool)


async def echo_through(wire, pool, size, connections):
    async with listening(wire, on_pool(pool, Echo)) as connect:
        clients = []
        for number in range(connections):
            _, client = await connect(lambda number=number: Checker(number % 4096))
            clients.append(client)
        room = asyncio.Semaphore(max(1, min(connections, IN_FLIGHT_BYTES // size)))

        async def one(client):
            async with room:
                await client.echo(size)

        await asyncio.gather(*map(one, clients))
        await closed(clients)
        await eventually(lambda: pool.statistics().live_buffers == 0)


def check_echo(loop_name, wire, size, connections, zeroing):
    allow_descriptors(2 * connections + 200)
    pool = poolio.Pool(zeroing=zeroing)
    run(loop_name, lambda: echo_through(wire, pool, size, connections), timeout=600)
    assert_empty(pool)


@pytest.mark.parametrize("loop_name, wire, size, connections, zeroing",
                         pairwise(tuple(LOOPS), WIRES, SIZES[:-1], CONNECTIONS[:-1], ZEROING))
def test_echo_every_pair_returns_same_bytes(loop_name, wire, size, connections, zeroing):
    check_echo(loop_name, wire, size, connections, zeroing)


# The largest size and the largest count, with every other value once: on their own, so that only one case is both.
@pytest.mark.parametrize("loop_name, wire, size, connections", [
    *((loop_name, wire, 8 << 20, 1) for loop_name, wire in itertools.product(LOOPS, WIRES)),
    *((loop_name, wire, 64, 1000) for loop_name, wire in itertools.product(LOOPS, WIRES)),
    *(("asyncio", "tcp", size, 1000) for size in SIZES if size not in (64, 8 << 20)),
    ("uvloop", "tcp", 8 << 20, 10),
    ("uvloop", "unix", 8 << 20, 100),
    ("uvloop", "unix", 8 << 20, 1000),
])
def test_echo_extremes_returns_same_bytes(loop_name, wire, size, connections):
    check_echo(loop_name, wire, size, connections, "never")


@pytest.mark.full
@pytest.mark.parametrize("loop_name, wire, size, connections, zeroing",
                         list(itertools.product(LOOPS, WIRES, SIZES, CONNECTIONS, ZEROING)))
def test_echo_full_product_returns_same_bytes(loop_name, wire, size, connections, zeroing):
    check_echo(loop_name, wire, size, connections, zeroing)


@every_wire
@every_loop
def test_kept_buffers_later_traffic_leaves_them_unchanged(loop_name, wire, pool):
    kept = []

    class Keep(poolio.Protocol):
        def data_received(self, buf):
            kept.append((buf, buf[len(buf) // 2:], bytes(buf)))
            self.write(buf)

    Keep.pool = pool

    async def main():
        async with listening(wire, Keep) as connect:
            _, client = await connect(Checker)
            for size in (1, 7, 64, 100_000, 300_000, 2 << 20):
                await client.echo(size)
            await closed([client])
            await eventually(lambda: gc.collect() >= 0 and pool.statistics().live_allocations == len(kept))

    run(loop_name, main)
    for buf, half, seen in kept:
        assert buf == seen
        assert half == seen[len(seen) // 2:]
    kept.clear()


@every_wire
@every_loop
def test_buffer_to_another_connection_arrives_whole(loop_name, wire, pool):
    others = []

    class Forward(poolio.Protocol):
        def connection_made(self, transport):
            super().connection_made(transport)
            others.append(self)

        def data_received(self, buf):
            target = others[1 - others.index(self)]
            target.writelines([buf[:10], buf[10:]])
            buf.release()

    Forward.pool = pool

    async def main():
        async with listening(wire, Forward) as connect:
            sender, first = await connect(Checker)
            _, second = await connect(Checker)
            await eventually(lambda: len(others) == 2)
            second.expected = memoryview(BLOCK)[:1 << 20]
            second.done = asyncio.get_running_loop().create_future()
            sender.write(BLOCK[:1 << 20])
            await second.done
            await closed([first, second])
            others.clear()

    run(loop_name, main)


@every_loop
def test_released_right_after_write_queued_bytes_arrive(loop_name, pool):
    size = 8 << 20

    class Send(poolio.Protocol):
        def connection_made(self, transport):
            super().connection_made(transport)
            with pool.from_bytes(BLOCK[:size]) as buf:
                self.write(buf)
            for _ in range(4):      # what the pool hands out next must not be the queued bytes
                pool.alloc(size).release()

    Send.pool = pool

    async def main():
        async with listening("tcp", Send) as connect:
            received = asyncio.get_running_loop().create_future()

            def client():
                checker = Checker()
                checker.expected = memoryview(BLOCK)[:size]
                checker.done = received
                return checker

            _, checker = await connect(client)
            await received
            await closed([checker])

    run(loop_name, main)


class Recorder:
    """A transport that remembers what it was given."""

    def __init__(self):
        self.written = []

    def write(self, data):
        self.written.append(data)


@pytest.fixture
def recorded(pool):
    protocol = Echo()
    protocol.pool = pool
    protocol.connection_made(Recorder())
    yield protocol
    protocol.transport = None


@pytest.mark.parametrize("size", [1, 4096, 4097, 100_000])
def test_write_buffer_freezes_it(recorded, pool, size):
    buf = pool.alloc(size)
    recorded.write(buf)
    assert buf.readonly
    assert bytes(recorded.transport.written[0]) == bytes(size)


@pytest.mark.parametrize("size", [1, 100_000])
def test_write_under_writable_view_snapshots_and_counts(recorded, pool, size):
    buf = pool.alloc(size)
    with memoryview(buf) as view:
        recorded.write(buf)
        view[0] = 1
        assert recorded.transport.written == [bytes(size)]
    assert pool.statistics().copied_bytes == size


def test_write_bytearray_later_changes_are_not_sent(recorded):
    data = bytearray(b"before")
    recorded.write(data)
    data[:] = b"after!"
    assert recorded.transport.written == [b"before"]


def test_write_view_of_mutable_memory_is_snapshotted(recorded):
    data = bytearray(b"before")
    recorded.write(memoryview(data)[1:])
    data[:] = b"after!"
    assert recorded.transport.written == [b"efore"]


@pytest.mark.parametrize("view", [memoryview(b"12345678").cast("I"), memoryview(b"12345678")[::2],
                                  memoryview(b"12345678").cast("B", (2, 4))])
def test_write_view_of_something_else_than_single_bytes_is_snapshotted(recorded, pool, view):
    recorded.write(view)
    assert recorded.transport.written == [view.tobytes()]
    assert type(recorded.transport.written[0]) is bytes
    assert pool.statistics().copied_bytes == view.nbytes


def test_write_view_of_bytes_passes_it_on_uncopied(recorded, pool):
    view = memoryview(b"as it is")[3:]
    recorded.write(view)
    assert recorded.transport.written[0] is view
    assert pool.statistics().copied_bytes == 0


def test_write_bytes_passes_them_on_uncopied(recorded):
    data = b"as it is"
    recorded.write(data)
    assert recorded.transport.written[0] is data


@pytest.mark.parametrize("wrong", ["text", 5, None, [1]])
def test_write_no_bytes_raises_type_error(recorded, wrong):
    with pytest.raises(TypeError, match=type(wrong).__name__):
        recorded.write(wrong)


def test_write_released_buffer_raises(recorded, pool):
    buf = pool.alloc(10)
    buf.release()
    with pytest.raises(poolio.BufferReleased):
        recorded.write(buf)


def test_write_before_connection_made_says_so():
    with pytest.raises(RuntimeError, match="connection_made"):
        Echo().write(b"x")
    with pytest.raises(RuntimeError, match="connection_made"):
        Echo().writelines([b"x"])


@every_wire
@every_loop
def test_exception_in_data_received_closes_only_that_connection(loop_name, wire, pool):
    class Fragile(poolio.Protocol):
        def data_received(self, buf):
            if buf == b"boom":
                raise ZeroDivisionError("planted")
            self.write(buf)

    Fragile.pool = pool
    reported = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
        async with listening(wire, Fragile) as connect:
            _, healthy = await connect(Checker)
            transport, broken = await connect(Checker)
            transport.write(b"boom")
            await broken.closed
            await healthy.echo(100_000)
            await closed([healthy])

    run(loop_name, main)
    assert [type(context.get("exception")) for context in reported] == [ZeroDivisionError]
    reported.clear()


def test_pool_of_wrong_type_is_reported(pool):
    class Wrong(Echo):
        pool = "never"

    reported = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))
        async with listening("tcp", Wrong) as connect:
            transport, client = await connect(Checker)
            transport.write(b"x")
            await client.closed

    run("asyncio", main)
    assert [str(error) for error in reported] == ["a protocol's pool must be a poolio.Pool or None, not 'str'"]


@every_loop
def test_pool_exhausted_while_reading_closes_that_connection_only(loop_name):
    pool = poolio.Pool(slab_size=65536, max_bytes=65536)
    kept = []

    class Greedy(poolio.Protocol):
        def data_received(self, buf):
            kept.append(buf)

    Greedy.pool = pool
    reported = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))
        async with listening("tcp", Greedy) as connect:
            transport, client = await connect(Checker)
            transport.write(BLOCK[:1 << 20])
            await client.closed
            kept.clear()
            transport, client = await connect(Checker)
            transport.write(b"again")
            await eventually(lambda: kept)
            assert kept == [b"again"]
            kept.clear()
            await closed([client])

    run(loop_name, main)
    assert reported
    reported.clear()
    assert_empty(pool)


@every_wire
@every_loop
def test_thousand_idle_connections_hold_no_slab_each(loop_name, wire, pool):
    allow_descriptors(2300)

    async def main():
        async with listening(wire, on_pool(pool, Echo)) as connect:
            clients = []
            for number in range(1000):
                _, client = await connect(lambda number=number: Checker(number))
                clients.append(client)
            for client in clients:
                await client.echo(100)
            await eventually(lambda: pool.statistics().live_buffers == 0)
            pool.check()
            assert pool.statistics().reserved_bytes <= 2 * pool.slab_size
            await closed(clients)

    run(loop_name, main, timeout=240)


@every_wire
@every_loop
def test_peer_aborts_reserves_nothing_for_ever(loop_name, wire, pool):
    async def main():
        async with listening(wire, on_pool(pool, Echo)) as connect:
            for _ in range(50):
                transport, client = await connect(Checker)
                await client.echo(10)
                transport.abort()
                await client.closed
            _, client = await connect(Checker)
            await client.echo(100_000)
            await closed([client])

    run(loop_name, main)
    assert pool.statistics().reserved_bytes <= 2 * pool.slab_size


@every_loop
def test_trim_inside_data_received_is_harmless(loop_name, pool):
    class Trim(poolio.Protocol):
        def data_received(self, buf):
            self.write(buf)
            del buf
            pool.trim()
            pool.check()

    Trim.pool = pool

    async def main():
        async with listening("tcp", Trim) as connect:
            _, client = await connect(Checker)
            for size in (1, 1000, 1 << 20):
                await client.echo(size)
            await closed([client])

    run(loop_name, main)


def test_two_loops_in_two_threads_share_a_pool(pool):
    failures = []

    def serve():
        try:
            run("asyncio", lambda: echo_through("tcp", pool, 100_000, 20))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=serve) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_reservation_behaves_as_the_bytearray_that_transports_expect(pool):
    async def main():
        protocol = on_pool(pool, Echo)()
        room = protocol.get_buffer(-1)
        assert len(room) >= pool.slab_size // 4
        room[0:3] = b"abc"
        room[3:][:2] = b"de"
        received = []
        protocol.data_received = received.append
        protocol.buffer_updated(5)
        assert received == [b"abcde"]
        received.clear()
        with pytest.raises(BufferError):
            memoryview(room)

    run("asyncio", main)


def test_buffer_updated_without_room_raises(pool):
    async def main():
        protocol = on_pool(pool, Echo)()
        with pytest.raises(RuntimeError, match="get_buffer"):
            protocol.buffer_updated(1)
        room = protocol.get_buffer(-1)
        with pytest.raises(ValueError, match=str(len(room))):
            protocol.buffer_updated(len(room) + 1)

    run("asyncio", main)


def test_view_alive_across_two_protocols_keeps_both_contents(pool):
    async def main():
        received = []
        first, second = on_pool(pool, Echo)(), on_pool(pool, Echo)()
        first.data_received = second.data_received = received.append
        view = memoryview(first.get_buffer(-1))
        other = second.get_buffer(-1)
        view[:5], other[:6] = b"first", b"second"
        second.buffer_updated(6)
        view.release()
        first.buffer_updated(5)
        assert received == [b"second", b"first"]
        assert received[0].slab is not received[1].slab

    run("asyncio", main)


# --- write() belongs to each class, whatever is inherited from where ----------------------------------------------

class Recording:
    def write(self, data, /):
        self.written = ["recorded", data]


class Transport(asyncio.Transport):
    def __init__(self):
        super().__init__()
        self.written = []

    def write(self, data):
        self.written.append(bytes(data))


def written_by(kind):
    protocol = kind()
    protocol.transport = Transport()
    protocol.write(b"x")
    return getattr(protocol, "written", protocol.transport.written)


def test_write_overridden_in_a_subclass_is_used_below_it_too():
    class Plain(poolio.Protocol):
        pass

    class Shouting(Plain):
        def write(self, data, /):
            super().write(data.upper())

    class Below(Shouting):
        pass

    assert [written_by(kind) for kind in (Plain, Shouting, Below)] == [[b"x"], [b"X"], [b"X"]]


def test_write_of_a_mixin_wins_where_inheritance_says_so():
    class Before(Recording, poolio.Protocol):
        pass

    class After(poolio.Protocol, Recording):
        pass

    assert written_by(Before) == ["recorded", b"x"]
    assert written_by(After) == [b"x"]


def test_write_in_a_diamond_is_the_one_that_the_order_of_classes_names():
    class Left(poolio.Protocol):
        pass

    class Right(poolio.Protocol):
        def write(self, data, /):
            super().write(b"right")

    class Bottom(Left, Right):
        pass

    class Last(Bottom):
        pass

    assert [written_by(kind) for kind in (Bottom, Last, Left)] == [[b"right"], [b"right"], [b"x"]]


def test_subclass_arguments_reach_init_subclass():
    class Base(poolio.Protocol):
        def __init_subclass__(cls, *, name, **options):
            super().__init_subclass__(**options)
            cls.name = name

    class Named(Base, name="given"):
        pass

    assert Named.name == "given"
