"""Slabs: carving, reuse, size classes, oversize memory, the limit and trim(), seen through a Pool."""

import copy
import re
import tracemalloc

import pytest
from kit.memory import LARGEST_CLASS, SLAB, SMALL_SLAB

import poolio
from poolio.memory.slab import TRACEMALLOC_DOMAIN, SlabIdentity


def reserved_for(pool, size):
    buf = pool.alloc_unsafe(size)
    reserved = pool.statistics().reserved_bytes
    buf.release()
    pool.trim()
    return reserved


def test_carve_two_of_four_bytes_share_slab_eight_apart(pool):
    first, second = pool.alloc_unsafe(4), pool.alloc_unsafe(4)
    assert first.slab is second.slab is not None
    assert second.offset - first.offset == 8
    assert first.offset == 0


@pytest.mark.parametrize("size", [1, 7, 8, 9, 63, 4095, 4096, 16384])
def test_carve_any_size_next_start_is_aligned(pool, size):
    first, second = pool.alloc_unsafe(size), pool.alloc_unsafe(1)
    assert second.offset == (size + 7) // 8 * 8
    assert second.slab is first.slab


def test_carve_dropped_at_once_uses_one_slab(pool):
    slabs = set()
    for _ in range(10_000):
        slabs.add(pool.alloc_unsafe(4096).slab)
    figures = pool.statistics()
    assert (len(slabs), figures.slabs, figures.reserved_bytes) == (1, 1, SLAB)
    assert figures.reuses == 10_000


def test_carve_until_full_takes_second_slab(pool):
    held = [pool.alloc_unsafe(4096) for _ in range(SLAB // 4096)]
    assert len({buf.slab for buf in held}) == 1
    extra = pool.alloc_unsafe(1)
    assert extra.slab is not held[0].slab
    assert extra.offset == 0


def test_carve_full_to_last_byte_stays_in_slab(pool):
    held = [pool.alloc_unsafe(65536) for _ in range(4)]
    assert [buf.offset for buf in held] == [0, 65536, 131072, 196608]
    assert pool.statistics().slabs == 1


def test_slab_emptied_carves_from_its_start(pool):
    held = [pool.alloc_unsafe(100) for _ in range(5)]
    slab = held[0].slab
    del held
    again = pool.alloc_unsafe(100)
    assert (again.offset, again.slab) == (0, slab)


def test_slab_with_one_holder_left_keeps_carving_upwards(pool):
    first, second = pool.alloc_unsafe(8), pool.alloc_unsafe(8)
    del first
    third = pool.alloc_unsafe(8)
    assert (second.offset, third.offset) == (8, 16)


def test_full_slab_emptied_is_taken_again(pool):
    full = [pool.alloc_unsafe(65536) for _ in range(4)]
    slab = full[0].slab
    other = [pool.alloc_unsafe(65536)]
    del full
    assert pool.statistics().slabs_free == 1
    other += [pool.alloc_unsafe(65536) for _ in range(4)]
    assert other[-1].slab is slab
    assert pool.statistics().slabs == 2


def test_free_slabs_last_emptied_is_taken_first(pool):
    held = [pool.alloc_unsafe(65536) for _ in range(12)]
    slabs = [held[0].slab, held[4].slab]
    keep = held[8:]
    del held[0:4]
    del held[0:4]
    again = pool.alloc_unsafe(8)
    assert again.slab is slabs[1]
    assert len(keep) == 4


def test_largest_small_size_shares_slab(pool):
    before, exact, after = pool.alloc_unsafe(8), pool.alloc_unsafe(65536), pool.alloc_unsafe(8)
    assert before.slab is exact.slab is after.slab
    assert (exact.offset, after.offset) == (8, 65544)


def test_one_byte_over_largest_small_size_has_own_slab(pool):
    small, large = pool.alloc_unsafe(8), pool.alloc_unsafe(65537)
    assert large.slab is not small.slab
    assert large.offset == 0
    assert pool.alloc_unsafe(8).slab is small.slab


@pytest.mark.parametrize("slab_size", [4096, 4160, SLAB])
def test_size_class_every_boundary_reserves_its_capacity(make_pool, class_capacities, slab_size):
    pool = make_pool(slab_size=slab_size)
    capacities = class_capacities(slab_size)
    for smaller, capacity in zip([slab_size // 4, *capacities], capacities, strict=False):
        assert reserved_for(pool, capacity) == capacity
        assert reserved_for(pool, smaller + 1) == capacity


@pytest.mark.parametrize("size", [65538, 262144, LARGEST_CLASS])
def test_size_class_dropped_is_reused(pool, size):
    first = pool.alloc_unsafe(size)
    slab = first.slab
    del first
    assert pool.statistics().slabs_free == 1
    again = pool.alloc_unsafe(size - 1)
    assert again.slab is slab
    assert (pool.statistics().slabs, pool.statistics().reuses) == (1, 1)


def test_size_class_two_free_last_dropped_is_taken_first(pool):
    first, second = pool.alloc_unsafe(100_000), pool.alloc_unsafe(100_000)
    slab = second.slab
    del first, second
    assert pool.alloc_unsafe(100_000).slab is slab


def test_size_class_other_class_is_not_taken(pool):
    pool.alloc_unsafe(65537).release()
    other = pool.alloc_unsafe(200_000)
    assert pool.statistics().slabs == 2
    assert pool.statistics().reuses == 0
    other.release()


def test_oversize_dropped_returns_to_system_at_once(pool):
    buf = pool.alloc_unsafe(LARGEST_CLASS + 1)
    figures = pool.statistics()
    assert (figures.oversize_bytes, figures.reserved_bytes) == (LARGEST_CLASS + 1, 0)
    del buf
    figures = pool.statistics()
    assert (figures.slabs, figures.oversize_bytes, figures.free_bytes) == (0, 0, 0)


def test_free_memory_is_bounded(pool):
    held = [pool.alloc_unsafe(LARGEST_CLASS) for _ in range(20)]
    del held
    assert pool.statistics().free_bytes == 64 << 20


def test_max_bytes_reached_raises_naming_limit_and_recovers(make_pool):
    pool = make_pool(max_bytes=2 * SLAB)
    held = [pool.alloc_unsafe(65536) for _ in range(8)]
    with pytest.raises(poolio.PoolExhausted, match=str(2 * SLAB)):
        pool.alloc_unsafe(1)
    pool.check()
    held.pop()
    held = held[4:]
    assert pool.alloc_unsafe(1).nbytes == 1


def test_max_bytes_too_small_for_class_raises_naming_it(make_pool):
    pool = make_pool(max_bytes=SLAB)
    with pytest.raises(poolio.PoolExhausted, match=rf"{SLAB}.*{SLAB * 5 // 4}"):
        pool.alloc_unsafe(SLAB * 5 // 4)
    pool.check()
    assert pool.statistics().slabs == 0


def test_max_bytes_idle_carved_slab_is_reclaimed_for_class(make_pool):
    pool = make_pool(max_bytes=SLAB)
    pool.alloc_unsafe(8).release()
    assert (pool.statistics().slabs_free, pool.statistics().free_bytes) == (1, SLAB)
    large = pool.alloc_unsafe(SLAB)
    assert pool.statistics().slabs == 1
    large.release()
    assert pool.alloc_unsafe(8).offset == 0


def test_max_bytes_free_class_is_reclaimed_for_small(make_pool):
    pool = make_pool(max_bytes=SLAB)
    pool.alloc_unsafe(SLAB).release()
    small = pool.alloc_unsafe(8)
    assert (pool.statistics().slabs, small.offset) == (1, 0)


def test_max_bytes_oversize_and_unpooled_are_not_counted(make_pool):
    pool = make_pool(max_bytes=SLAB)
    held = [pool.alloc_unsafe(8), pool.alloc_unsafe(LARGEST_CLASS + 1), pool.alloc_unpooled(SLAB)]
    assert pool.statistics().reserved_bytes == SLAB
    assert len(held) == 3


def test_trim_returns_all_free_bytes(pool):
    pool.alloc_unsafe(8).release()
    pool.alloc_unsafe(100_000).release()
    reserved = pool.statistics().reserved_bytes
    assert pool.trim() == reserved
    figures = pool.statistics()
    assert (figures.slabs, figures.reserved_bytes, figures.free_bytes) == (0, 0, 0)
    assert pool.trim() == 0


def test_trim_leaves_what_is_held(pool):
    held = pool.from_bytes(b"held")
    pool.alloc_unsafe(100_000).release()
    pool.trim()
    assert held == b"held"
    assert pool.statistics().reserved_bytes == SLAB


def test_slab_identity_shows_capacity_and_no_memory(pool):
    slab = pool.alloc_unsafe(8).slab
    assert slab.capacity == SLAB
    assert re.fullmatch(r"<poolio slab of 262144 bytes at 0x[0-9a-f]+>", repr(slab))
    with pytest.raises(TypeError):
        memoryview(slab)
    with pytest.raises(AttributeError):
        slab.capacity = 1


def test_slab_identity_made_by_user_raises():
    with pytest.raises(TypeError, match="made by its pool"):
        SlabIdentity()


def test_slab_identity_outlives_its_slab(pool):
    slab = pool.alloc_unsafe(LARGEST_CLASS + 1).slab
    assert slab.capacity == LARGEST_CLASS + 1
    assert pool.alloc_unsafe(LARGEST_CLASS + 1).slab is not slab


def test_pool_copied_raises(pool):
    with pytest.raises(TypeError):
        copy.copy(pool)


def test_check_with_everything_live_passes(make_pool):
    pool = make_pool(slab_size=SMALL_SLAB)
    held = [pool.alloc_unsafe(size) for size in (0, 1, 1024, 1025, 65536, 65537)]
    held += [held[2][1:2], pool.alloc_unpooled(5), pool.from_bytes(b"x").detach()]
    pool.check()
    del held[::2]
    pool.check()


def test_trim_idle_gives_back_what_nobody_needed_twice(pool):
    held = [pool.alloc_unsafe(65536) for _ in range(40)]       # ten slabs
    del held
    assert pool.statistics().slabs == 10
    assert pool._trim_idle() == 0                              # needed a moment ago
    assert pool.statistics().slabs == 10
    freed = pool._trim_idle()
    assert (freed, pool.statistics().slabs) == (9 * SLAB, 1)   # the one that is carved from stays
    pool.check()


def test_trim_idle_keeps_what_was_needed_meanwhile(pool):
    held = [pool.alloc_unsafe(100_000) for _ in range(10)]
    del held
    pool._trim_idle()
    held = [pool.alloc_unsafe(100_000) for _ in range(4)]
    del held
    pool._trim_idle()
    assert pool.statistics().slabs == 4
    pool._trim_idle()
    assert pool.statistics().slabs == 0
    pool.check()


def test_trim_idle_each_list_for_itself(pool):
    for size in (70_000, 100_000, 300_000):
        pool.alloc_unsafe(size).release()
    pool._trim_idle()
    pool.alloc_unsafe(100_000).release()
    pool._trim_idle()
    assert pool.statistics().slabs == 1
    assert pool.alloc_unsafe(100_000).slab.capacity == 114_688
    assert pool.statistics().reuses == 2
    pool.check()


def test_trim_idle_coldest_slabs_go_first(pool):
    held = [pool.alloc_unsafe(100_000) for _ in range(3)]
    slabs = [buf.slab for buf in held]
    while held:
        held.pop(0)
    pool._trim_idle()
    pool.alloc_unsafe(100_000).release()                       # the last one emptied
    pool._trim_idle()
    assert pool.alloc_unsafe(100_000).slab is slabs[2]
    assert pool.statistics().slabs == 1


def test_slabs_are_traced_by_tracemalloc_in_the_line_that_needed_them(make_pool):
    pool = make_pool()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        buf = pool.alloc_unsafe(LARGEST_CLASS + 1)
        held = pool.alloc_unsafe(10)
        grown = tracemalloc.get_traced_memory()[0] - before
        snapshot = tracemalloc.take_snapshot().filter_traces([tracemalloc.DomainFilter(True, TRACEMALLOC_DOMAIN)])
        sizes = {trace.size: trace.traceback[0].filename for trace in snapshot.traces}
        assert LARGEST_CLASS + 1 + SLAB <= grown < LARGEST_CLASS + 1 + SLAB + 100_000
        assert sizes == {LARGEST_CLASS + 1: __file__, SLAB: __file__}
        del buf, held, snapshot
        pool.trim()
        assert tracemalloc.get_traced_memory()[0] - before < 100_000
    finally:
        tracemalloc.stop()
