"""Chain: appending, taking, peeking and advancing, across the boundaries of its Buffers."""

import array

import pytest
from kit.chains import chain_of, content_of, exhaust
from kit.memory import SMALL_SLAB

import poolio

# --- append ---------------------------------------------------------------------------------------------

def test_append_buffer_shares_its_memory(pool):
    buf = pool.from_bytes(b"hello")
    chain = poolio.Chain()
    chain.append(buf)
    buf[0] = ord("J")
    taken = chain.take(5)
    assert (taken, taken.slab, taken.offset) == (b"Jello", buf.slab, buf.offset)
    assert pool.statistics().live_allocations == 1


def test_append_buffer_released_by_caller_keeps_it(pool):
    buf = pool.from_bytes(b"hello")
    chain = poolio.Chain()
    chain.append(buf)
    buf.release()
    other = pool.from_bytes(b"xxxxx")
    assert (chain.take(5), other) == (b"hello", b"xxxxx")


def test_append_slice_takes_its_range_alone(pool):
    chain = poolio.Chain()
    chain.append(pool.from_bytes(b"0123456789")[3:6])
    chain.append(pool.from_bytes(b"abcdef")[2:4])
    assert content_of(chain) == b"345cd"


@pytest.mark.parametrize("data", [
    b"hello", bytearray(b"hello"), memoryview(b"_hello_")[1:6], array.array("B", b"hello"),
])
def test_append_bytes_like_copies_into_the_chains_pool(pool, data):
    chain = poolio.Chain(pool)
    chain.append(data)
    taken = chain.take(5)
    assert (taken, taken.pool) == (b"hello", pool)


def test_append_bytearray_changed_later_does_not_show(pool):
    data = bytearray(b"hello")
    chain = poolio.Chain(pool)
    chain.append(data)
    data[0] = ord("J")
    data.clear()
    assert content_of(chain) == b"hello"


def test_append_bytes_without_pool_uses_the_default_one():
    chain = poolio.Chain()
    chain.append(b"hello")
    assert chain.take(5).pool is poolio.default_pool()


def test_append_empty_adds_nothing(pool):
    chain = poolio.Chain(pool)
    for nothing in (b"", bytearray(), pool.alloc(0), pool.from_bytes(b"abc")[1:1]):
        chain.append(nothing)
        chain.check()
        assert (len(chain), chain.contiguous) == (0, 0)


def test_append_same_buffer_twice_repeats_it(pool):
    buf = pool.from_bytes(b"ab")
    chain = poolio.Chain()
    for _ in range(3):
        chain.append(buf)
    assert content_of(chain) == b"ababab"


def test_append_released_buffer_raises(pool):
    buf = pool.from_bytes(b"abc")
    buf.release()
    chain = poolio.Chain()
    with pytest.raises(poolio.BufferReleased):
        chain.append(buf)
    assert len(chain) == 0


@pytest.mark.parametrize("data", [None, "text", 5, [b"a"]])
def test_append_other_object_raises(pool, data):
    chain = poolio.Chain(pool)
    with pytest.raises(TypeError):
        chain.append(data)
    assert len(chain) == 0


def test_append_copy_at_the_limit_raises_and_adds_nothing(make_pool):
    pool = make_pool(slab_size=SMALL_SLAB, max_bytes=SMALL_SLAB)
    chain = chain_of(pool, b"kept")
    own = poolio.Chain(pool)
    held = exhaust(pool)
    with pytest.raises(poolio.PoolExhausted, match=str(SMALL_SLAB)):
        own.append(b"x" * 100)
    assert (len(own), content_of(chain)) == (0, b"kept")
    held.clear()


@pytest.mark.parametrize("pool", [5, "pool", poolio.Pool])
def test_chain_of_no_pool_raises(pool):
    with pytest.raises(TypeError, match=type(pool).__name__):
        poolio.Chain(pool)


# --- take, peek, advance, clear ---------------------------------------------------------------------------

def test_take_contiguous_is_a_slice(pool):
    buf = pool.from_bytes(b"0123456789")
    chain = poolio.Chain()
    chain.append(buf)
    pieces = [chain.take(3), chain.take(4), chain.take(3)]
    assert pieces == [b"012", b"3456", b"789"]
    assert [piece.slab for piece in pieces] == [buf.slab] * 3
    assert [piece.offset for piece in pieces] == [buf.offset, buf.offset + 3, buf.offset + 7]


def test_take_straddling_is_one_copy_from_first_buffers_pool(pool, make_pool):
    other = make_pool()
    chain = chain_of(pool, b"0123")
    chain.append(other.from_bytes(b"4567"))
    before = pool.statistics().live_allocations
    taken = chain.take(6)
    assert (taken, taken.pool, chain.take(2)) == (b"012345", pool, b"67")
    assert pool.statistics().live_allocations == before         # the copy is there, what it was copied from is gone


def test_take_straddling_ignores_the_chains_own_pool(pool, make_pool):
    chain = poolio.Chain(make_pool())
    chain.append(pool.from_bytes(b"ab"))
    chain.append(b"cd")
    assert chain.take(4).pool is pool


def test_take_behind_a_partly_taken_buffer_is_a_slice(pool):
    buf = pool.from_bytes(b"4567")
    chain = chain_of(pool, b"0123")
    chain.append(buf)
    chain.advance(4)
    taken = chain.take(2)
    assert (taken.slab, taken.offset) == (buf.slab, buf.offset)


@pytest.mark.parametrize("first", range(9))
@pytest.mark.parametrize("second", range(9))
def test_take_of_any_two_counts_is_what_was_appended(pool, first, second):
    data = b"01234567" * 2
    chain = chain_of(pool, data[:3], data[3:4], data[4:9], data[9:])
    taken = [bytes(chain.take(count)) for count in (first, second, 16 - first - second)]
    assert taken == [data[:first], data[first:first + second], data[first + second:]]


def test_take_nothing_is_empty_and_pins_nothing(pool):
    chain = chain_of(pool, b"abc")
    taken = chain.take(0)
    assert (taken, len(chain), taken.slab) == (b"", 3, None)
    assert poolio.Chain(pool).take(0) == b""


def test_take_gives_memory_back_when_dropped(pool):
    chain = chain_of(pool, b"abc", b"def")
    for count in (2, 3, 1):
        chain.take(count)
    assert pool.statistics().live_bytes == 0


def test_taken_pieces_written_to_leave_the_chain_alone(pool):
    chain = chain_of(pool, b"0123", b"4567", b"89")
    for count in (2, 4, 1):             # a slice, a copy, a slice
        chain.take(count).fill(0xFF)
    assert content_of(chain) == b"789"


def test_peek_contiguous_is_a_slice_and_stays(pool):
    buf = pool.from_bytes(b"0123456789")
    chain = poolio.Chain()
    chain.append(buf)
    chain.advance(2)
    seen = chain.peek(3)
    assert (seen, seen.slab, seen.offset, len(chain)) == (b"234", buf.slab, buf.offset + 2, 8)
    assert chain.take(3) == b"234"


def test_peek_straddling_is_a_copy_and_stays(pool):
    chain = chain_of(pool, b"01", b"23")
    seen = chain.peek(3)
    seen.fill(0)
    assert (seen.pool, content_of(chain), len(chain)) == (pool, b"0123", 4)


def test_peek_released_leaves_the_chain_alone(pool):
    chain = chain_of(pool, b"0123")
    chain.peek(4).release()
    assert chain.take(4) == b"0123"


def test_advance_over_several_buffers_drops_them(pool):
    chain = chain_of(pool, b"01", b"23", b"45", b"67")
    chain.advance(5)
    chain.check()
    assert (content_of(chain), len(chain), pool.statistics().live_allocations) == (b"567", 3, 2)


def test_clear_drops_all_and_chain_goes_on(pool):
    chain = chain_of(pool, b"01", b"23")
    chain.clear()
    chain.clear()
    assert (len(chain), pool.statistics().live_buffers) == (0, 0)
    chain.append(pool.from_bytes(b"45"))
    assert content_of(chain) == b"45"


def test_chain_dropped_gives_all_back(pool):
    chain = chain_of(pool, *[b"x"] * 1000)
    assert pool.statistics().live_buffers == 1000
    del chain
    assert pool.statistics().live_buffers == 0


def test_len_and_contiguous_follow_append_and_take(pool):
    chain = chain_of(pool, b"0123", b"456")
    seen = [(len(chain), chain.contiguous)]
    for count in (1, 3, 2, 1):
        chain.take(count)
        seen.append((len(chain), chain.contiguous))
    assert seen == [(7, 4), (6, 3), (3, 3), (1, 1), (0, 0)]


def test_repr_names_the_size(pool):
    assert repr(chain_of(pool, b"0123", b"456")) == "<poolio.Chain of 7 bytes>"


@pytest.mark.parametrize("count", [-1, 6, 2**31, 2**63 - 1, 2**63, 2**70, -(2**70)])
@pytest.mark.parametrize("method", ["take", "peek", "advance"])
def test_count_outside_raises_and_changes_nothing(make_pool, method, count):
    chain = chain_of(make_pool(), b"ab", b"cde")
    with pytest.raises(ValueError, match=rf"0\.\.5\b.*not {count}$"):
        getattr(chain, method)(count)
    assert content_of(chain) == b"abcde"


@pytest.mark.parametrize("count", ["1", 1.0, None, b"a"])
@pytest.mark.parametrize("method", ["take", "peek", "advance"])
def test_count_of_other_type_raises(pool, method, count):
    chain = chain_of(pool, b"ab", b"cde")
    with pytest.raises(TypeError):
        getattr(chain, method)(count)
    assert content_of(chain) == b"abcde"


def test_count_that_clears_the_chain_meanwhile_raises(pool):
    class Clears:
        def __index__(self):
            chain.clear()
            return 3

    chain = chain_of(pool, b"ab", b"cde")
    with pytest.raises(ValueError, match=r"0\.\.0"):
        chain.take(Clears())


@pytest.mark.parametrize("change", [
    lambda chain: chain.take(1), lambda chain: chain.take(3), lambda chain: chain.advance(1), poolio.Chain.clear,
])
def test_wanted_is_zero_again_after_dropping(pool, change):
    chain = chain_of(pool, b"ab", b"cde")
    assert chain.wanted == 0
    chain.wanted = 100
    change(chain)
    assert chain.wanted == 0


@pytest.mark.parametrize("look", [
    lambda chain: chain.peek(3), lambda chain: chain.find(b"x"), lambda chain: chain.append(b"more"), len,
])
def test_wanted_stays_while_nothing_is_dropped(pool, look):
    chain = poolio.Chain(pool)
    chain.append(b"abcde")
    chain.wanted = 100
    look(chain)
    assert chain.wanted == 100


@pytest.mark.parametrize("method", ["take", "peek"])
def test_straddling_piece_at_the_limit_raises_and_loses_nothing(make_pool, method):
    pool = make_pool(slab_size=SMALL_SLAB, max_bytes=2 * SMALL_SLAB)
    chain = chain_of(pool, b"0123", b"4567")
    chain.wanted = 5
    held = exhaust(pool)
    for _ in range(3):
        with pytest.raises(poolio.PoolExhausted, match=str(2 * SMALL_SLAB)):
            getattr(chain, method)(6)
        chain.check()
    assert (len(chain), chain.wanted, chain.contiguous) == (8, 5, 4)
    held.clear()
    assert (chain.take(6), chain.take(2)) == (b"012345", b"67")
