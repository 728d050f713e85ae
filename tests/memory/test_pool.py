"""Pool: kinds of allocation, sizes, arguments, statistics, what is pinned, threads and lifetimes."""

import asyncio
import mmap
import socket
import sys
import threading
import weakref

import pytest
from kit.memory import LARGEST_CLASS, SLAB, SMALL_SLAB, dirty

import poolio

NEVER_GIVEN = 1 << 60       # beyond every machine's address space


@pytest.mark.parametrize("kind", ["alloc", "alloc_unsafe", "alloc_unpooled"])
def test_size_zero_is_empty_and_holds_no_slab(pool, kind):
    buf = getattr(pool, kind)(0)
    assert (len(buf), buf.nbytes, buf.slab, buf.offset, bytes(buf)) == (0, 0, None, 0, b"")
    assert (buf[:], list(buf)) == (b"", [])
    assert bytes(memoryview(buf)) == b""
    assert pool.statistics().slabs == 0


@pytest.mark.parametrize("kind", ["alloc", "alloc_unsafe", "alloc_unpooled"])
@pytest.mark.parametrize("size", [-1, -(2**70), 2**62, 2**63, 2**64, 10**30])
def test_size_out_of_range_raises_naming_it(pool, kind, size):
    with pytest.raises(ValueError, match=rf"size.*{size}\b"):
        getattr(pool, kind)(size)
    pool.check()


@pytest.mark.parametrize("kind", ["alloc", "alloc_unsafe", "alloc_unpooled"])
@pytest.mark.parametrize("size", [1.0, "5", None, b"5", [1]])
def test_size_of_other_type_raises_naming_type(pool, kind, size):
    with pytest.raises(TypeError, match=rf"size.*{type(size).__name__}"):
        getattr(pool, kind)(size)


def test_size_with_index_method_is_taken(pool):
    class Seven:
        def __index__(self):
            return 7
    assert len(pool.alloc(Seven())) == 7


def test_size_whose_index_raises_passes_error_on(pool):
    class Broken:
        def __index__(self):
            raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError):
        pool.alloc(Broken())


@pytest.mark.parametrize("kind", ["alloc", "alloc_unsafe", "alloc_unpooled"])
def test_size_beyond_system_raises_memory_error_and_loses_nothing(pool, kind):
    held = pool.from_bytes(b"held")
    before = pool.statistics()
    with pytest.raises(MemoryError, match=str(NEVER_GIVEN)) as caught:
        getattr(pool, kind)(NEVER_GIVEN)
    assert not isinstance(caught.value, poolio.PoolExhausted)
    pool.check()
    assert (pool.statistics(), held) == (before, b"held")


def test_alloc_unpooled_is_zero_and_in_no_slab(pool):
    dirty(pool, 1000)
    buf = pool.alloc_unpooled(1000)
    assert (buf.slab, buf.offset, bytes(buf)) == (None, 0, bytes(1000))
    figures = pool.statistics()
    assert (figures.unpooled_bytes, figures.live_bytes) == (1000, 1000)
    del buf
    assert pool.statistics().unpooled_bytes == 0


@pytest.mark.parametrize("data", [b"", b"x", bytearray(b"abc"), memoryview(b"view"), b"y" * 70_000])
def test_from_bytes_copies_and_stays_writable(pool, data):
    buf = pool.from_bytes(data)
    assert buf == data
    assert not buf.readonly
    assert pool.from_bytes(buf) == data


def test_from_bytes_of_mutable_source_is_a_copy(pool):
    source = bytearray(b"abc")
    buf = pool.from_bytes(source)
    source[0] = ord("z")
    assert buf == b"abc"


@pytest.mark.parametrize("data", ["text", 5, None, [1]])
def test_from_bytes_of_no_bytes_like_raises(pool, data):
    with pytest.raises(TypeError):
        pool.from_bytes(data)


@pytest.mark.parametrize("slab_size", [0, -4096, 4032, 4095, 4097, (1 << 30) + 64, 2**64])
def test_pool_slab_size_out_of_range_raises_naming_it(slab_size):
    with pytest.raises(ValueError, match=rf"slab_size.*{slab_size}\b"):
        poolio.Pool(slab_size=slab_size)


@pytest.mark.parametrize("options", [
    {"slab_size": 4096.0}, {"slab_size": None}, {"max_bytes": "1"}, {"max_bytes": 1e9},
])
def test_pool_argument_of_other_type_raises_naming_it(options):
    with pytest.raises(TypeError, match=next(iter(options))):
        poolio.Pool(**options)


@pytest.mark.parametrize("max_bytes", [0, -1, SLAB - 1, 2**64])
def test_pool_max_bytes_out_of_range_raises_naming_it(max_bytes):
    with pytest.raises(ValueError, match=rf"max_bytes.*{max_bytes}\b"):
        poolio.Pool(max_bytes=max_bytes)


@pytest.mark.parametrize("zeroing", ["", "always", None, 1, b"never"])
def test_pool_unknown_zeroing_raises_naming_choices(zeroing):
    with pytest.raises(ValueError, match="never, on_alloc, on_release"):
        poolio.Pool(zeroing=zeroing)


def test_pool_unknown_argument_raises():
    with pytest.raises(TypeError):
        poolio.Pool(size=1)


def test_pool_smallest_limits_are_taken(make_pool):
    pool = make_pool(slab_size=4096, max_bytes=4096)
    assert (pool.slab_size, pool.max_bytes) == (4096, 4096)
    assert pool.alloc_unsafe(1024).nbytes == 1024


def test_pool_initialised_again_in_use_raises(pool):
    held = pool.from_bytes(b"held")
    with pytest.raises(RuntimeError):
        pool.__init__(slab_size=4096)
    assert (pool.slab_size, held) == (SLAB, b"held")


def test_pool_initialised_again_from_its_own_argument_raises(make_pool):
    pool = make_pool(slab_size=4096)

    class Allocates:
        def __index__(self):
            pool.alloc_unsafe(8).release()
            return SLAB
    with pytest.raises(RuntimeError):
        pool.__init__(slab_size=Allocates())
    assert pool.slab_size == 4096


def test_pool_never_initialised_does_not_crash():
    pool = poolio.Pool.__new__(poolio.Pool)
    buf = pool.alloc(100)
    assert (bytes(buf), pool.trim()) == (bytes(100), 0)
    pool.check()


def test_pool_dropped_before_its_buffers_memory_stays():
    pool = poolio.Pool()
    gone = weakref.ref(pool)
    small, large, own = pool.from_bytes(b"s"), pool.from_bytes(b"l" * 70_000), pool.alloc_unpooled(3)
    del pool
    assert small.pool is gone()
    assert (small, large, own) == (b"s", b"l" * 70_000, bytes(3))
    del small, large, own
    assert gone() is None


def test_pool_subclassed_works():
    class Named(poolio.Pool):
        name = "mine"
    pool = Named(slab_size=SMALL_SLAB)
    buf = pool.alloc(5)
    assert (buf.pool.name, len(buf)) == ("mine", 5)


def test_pool_repr_shows_figures(make_pool):
    pool = make_pool(zeroing="on_release")
    held = pool.alloc(5)
    assert repr(pool) == "<poolio.Pool of 262144-byte slabs, zeroing on_release, 5 bytes live in 262144>"
    held.release()


def test_default_pool_is_one_and_serves_module_functions():
    pool = poolio.default_pool()
    assert pool is poolio.default_pool()
    for buf in (poolio.alloc(3), poolio.alloc_unsafe(3), poolio.alloc_unpooled(3), poolio.from_bytes(b"abc")):
        assert (buf.pool, len(buf)) == (pool, 3)


def test_buffers_dropped_in_another_thread_return_to_pool(pool):
    held = [pool.alloc_unsafe(size) for size in (1, 4096, 70_000, LARGEST_CLASS + 1)]
    held += [held[1][5:9], pool.alloc_unpooled(9)]
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    pool.check()
    assert pool.statistics().live_bytes == 0


def test_two_threads_allocating_share_no_memory(pool):
    failures = []

    def work(mark):
        for number in range(2_000):
            size = number % 300
            buf = pool.from_bytes(mark * size)
            piece = buf[size // 2:]
            del buf
            if bytes(piece) != mark * len(piece):
                failures.append((mark, number))
    threads = [threading.Thread(target=work, args=(mark,)) for mark in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_statistics_is_a_frozen_record(pool):
    figures = pool.statistics()
    assert isinstance(figures, poolio.Statistics)
    assert set(figures) == {0}
    with pytest.raises(AttributeError):
        figures.live_bytes = 1


def test_statistics_of_every_kind_add_up(pool):
    small, large, own = pool.alloc_unsafe(100), pool.alloc_unsafe(100_000), pool.alloc_unpooled(7)
    huge, piece = pool.alloc_unsafe(LARGEST_CLASS + 1), small[3:5]
    figures = pool.statistics()
    assert figures.live_bytes == len(small) + len(large) + len(own) + len(huge)
    assert (figures.live_allocations, figures.live_buffers) == (4, 5)
    assert figures.reserved_bytes == small.slab.capacity + large.slab.capacity
    assert (figures.oversize_bytes, figures.unpooled_bytes) == (len(huge), len(own))
    assert (figures.slabs, figures.slabs_used, figures.slabs_free, figures.free_bytes) == (3, 3, 0, 0)
    assert (figures.reuses, figures.copied_bytes, len(piece)) == (0, 0, 2)


def test_statistics_after_drops_and_detach_add_up(pool):
    small, large, own = pool.alloc_unsafe(100), pool.alloc_unsafe(100_000), pool.alloc_unpooled(7)
    class_bytes = large.slab.capacity
    del large, own
    kept, small = small[3:5].detach(), None
    figures = pool.statistics()
    assert (figures.live_bytes, figures.live_allocations, figures.live_buffers) == (2, 1, 1)
    assert figures.reserved_bytes == SLAB + class_bytes
    assert (figures.slabs, figures.slabs_used, figures.slabs_free) == (2, 0, 2)
    assert figures.free_bytes == SLAB + class_bytes
    assert (figures.unpooled_bytes, figures.copied_bytes, figures.reuses) == (2, len(kept), 1)


def test_statistics_empty_allocations_are_counted(pool):
    empty = pool.alloc(0)
    figures = pool.statistics()
    assert (figures.live_allocations, figures.live_buffers, figures.live_bytes) == (1, 1, 0)
    empty.release()
    assert pool.statistics().live_allocations == 0


# --- concat ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [
    [], [b""], [b"abc"], [b"abc", b"", bytearray(b"def"), memoryview(b"ghi")], [b"x" * 50_000] * 3, [b"y"] * 1000,
])
def test_concat_joins_in_order_and_is_writable(pool, pieces):
    joined = pool.concat(pieces)
    assert (joined, joined.readonly, joined.pool) == (b"".join(pieces), False, pool)


def test_concat_takes_buffers_and_any_iterable(pool):
    parent = pool.from_bytes(b"0123456789")
    assert pool.concat(iter([parent[5:], parent, parent[:1]])) == b"56789" + b"0123456789" + b"0"
    assert poolio.concat((b"a", parent[:1])).pool is poolio.default_pool()


@pytest.mark.parametrize("wrong", [[b"a", "b"], [b"a", None], [1, 2], 5, None, [memoryview(b"abcd")[::2]]])
def test_concat_of_something_else_raises_and_gives_everything_back(pool, wrong):
    first = pool.from_bytes(b"first")
    if isinstance(wrong, list):
        wrong = [first, *wrong]
    with pytest.raises((TypeError, BufferError)):
        pool.concat(wrong)
    first.release()


def test_concat_beyond_the_address_space_raises(pool):
    """A view of a gigabyte costs nothing here: it is mapped and never touched."""
    with mmap.mmap(-1, 1 << 30) as piece, pytest.raises((OverflowError, MemoryError)):
        pool.concat([piece] * (1 << 20))
    pool.check()


# --- what is pinned, and what things weigh ------------------------------------------------------------------------


def test_pinned_is_what_slices_hide(pool):
    root = pool.alloc_unsafe(1000)
    assert pool.statistics().pinned_bytes == 0
    piece = root[100:164]
    assert pool.statistics().pinned_bytes == 0
    root.release()
    assert pool.statistics().pinned_bytes == 1000 - 64
    overlapping = piece[:]
    assert pool.statistics().pinned_bytes == 1000 - 128    # overlaps count twice: at least so much is hidden
    del piece, overlapping
    assert pool.statistics().pinned_bytes == 0


def test_pinned_is_the_rest_of_a_slab_that_is_full(pool):
    held = [pool.alloc_unsafe(8192) for _ in range(33)]
    del held[1:32]
    assert pool.statistics().pinned_bytes == SLAB - 8192
    held[0] = held[0].detach()
    assert pool.statistics().pinned_bytes == 0


@pytest.mark.parametrize("size", [5, 100_000, LARGEST_CLASS + 1])
def test_pinned_by_a_slice_of_any_kind_of_memory(pool, size):
    buf = pool.alloc_unsafe(size)
    carved = buf.slab.capacity if size > 65536 else 8
    piece = buf[2:3]
    del buf
    assert pool.statistics().pinned_bytes == carved - 1
    piece = pool.alloc_unpooled(size)[2:3]
    assert pool.statistics().pinned_bytes == size - 1
    assert len(piece) == 1


def test_sizeof_pool_and_buffers_is_all_memory_once(pool):
    empty = sys.getsizeof(pool)
    held = [pool.alloc_unsafe(size) for size in (100, 100_000, LARGEST_CLASS + 1)]
    weight = sum(map(sys.getsizeof, held)) - len(held) * sys.getsizeof(pool.alloc(0))
    figures = pool.statistics()
    headers = sys.getsizeof(pool) + weight - empty - figures.reserved_bytes - figures.oversize_bytes
    assert 0 < headers < 3 * 200


MESSAGE = 64
MESSAGES = 1_000_000


class Sampler(poolio.Protocol):
    """Cuts messages out of what arrives and keeps every thousandth."""

    def __init__(self, pool, keep):
        self.pool, self.keep = pool, keep
        self.tail, self.count, self.kept = b"", 0, []
        self.done = asyncio.get_running_loop().create_future()

    def data_received(self, buf):
        if self.tail:
            buf = self.pool.concat([self.tail, buf])
        whole = len(buf) // MESSAGE * MESSAGE
        first = -self.count % 1000
        self.kept += [self.keep(buf[at:at + MESSAGE]) for at in range(first * MESSAGE, whole, 1000 * MESSAGE)]
        self.count += whole // MESSAGE
        self.tail = bytes(buf[whole:])
        if self.count == MESSAGES:
            self.done.set_result(None)


def received(pool, keep):
    """A million messages through a socket; returns those kept."""
    block = b"".join(number.to_bytes(4, "big") * (MESSAGE // 4) for number in range(10_000))

    async def main():
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        transport, sampler = await loop.create_connection(lambda: Sampler(pool, keep), sock=ours)
        sending = loop.run_in_executor(None, lambda: [theirs.sendall(block) for _ in range(MESSAGES // 10_000)])
        await asyncio.wait_for(sampler.done, 300)
        await sending
        transport.close()
        theirs.close()
        return sampler.kept

    return asyncio.run(main())


def test_every_thousandth_message_detached_costs_little(make_pool):
    pool = make_pool()
    kept = received(pool, lambda piece: piece.detach())
    expected = [number.to_bytes(4, "big") * (MESSAGE // 4) for number in range(0, 10_000, 1000)] * 100
    assert kept == expected
    figures = pool.statistics()
    assert figures.reserved_bytes + sum(map(sys.getsizeof, kept)) + sys.getsizeof(kept) <= 4 << 20
    assert (figures.unpooled_bytes, figures.pinned_bytes) == (1000 * MESSAGE, 0)


def test_every_thousandth_message_as_slice_is_shown_as_pinned(make_pool):
    pool = make_pool()
    kept = received(pool, lambda piece: piece)
    figures = pool.statistics()
    assert len(kept) == 1000
    assert figures.pinned_bytes > 20 << 20
    assert figures.pinned_bytes <= figures.reserved_bytes - 1000 * MESSAGE
    kept = [piece.detach() for piece in kept]
    assert pool.statistics().pinned_bytes == 0
