"""Chain: appending, taking, searching across boundaries, and how little of what it holds it keeps pinned."""

import array
import gc
import itertools

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

import poolio

SLAB = 4096


def chain_of(pool, *pieces):
    """A chain in which each piece is a Buffer of its own."""
    chain = poolio.Chain()
    for piece in pieces:
        chain.append(pool.from_bytes(piece))
    return chain


def content_of(chain):
    return bytes(chain.peek(len(chain)))


def exhaust(pool):
    """All that the pool may still reserve."""
    held = []
    for size in (pool.slab_size // 4, 8):
        with pytest.raises(poolio.PoolExhausted):
            while True:
                held.append(pool.alloc(size))
    return held


class Waiting(poolio.Codec):
    """Never has a frame: what is fed stays in the chain, which is asked to keep little."""

    def decode(self, chain):
        return None


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
    pool = make_pool(slab_size=SLAB, max_bytes=SLAB)
    chain = chain_of(pool, b"kept")
    own = poolio.Chain(pool)
    held = exhaust(pool)
    with pytest.raises(poolio.PoolExhausted, match=str(SLAB)):
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
    pool = make_pool(slab_size=SLAB, max_bytes=2 * SLAB)
    chain = chain_of(pool, b"0123", b"4567")
    chain.wanted = 5
    held = exhaust(pool)
    for _ in range(3):
        with pytest.raises(poolio.PoolExhausted, match=str(2 * SLAB)):
            getattr(chain, method)(6)
        chain.check()
    assert (len(chain), chain.wanted, chain.contiguous) == (8, 5, 4)
    held.clear()
    assert (chain.take(6), chain.take(2)) == (b"012345", b"67")


# --- find -------------------------------------------------------------------------------------------------

TEXTS = [(b"aabaabaaab", b"aaab"), (b"ababababac", b"abac"), (b"--\r\n-\r\r\n-", b"\r\r\n"), (b"xxxxxxxx", b"y"),
         (b"abcdefgh", b"abcdefgh"), (b"abcdefgh", b"h"), (b"abc", b"abcd")]


@pytest.mark.parametrize("text, separator", TEXTS)
def test_find_in_every_split_is_that_of_bytes(pool, text, separator):
    whole = pool.from_bytes(text)
    for cuts in itertools.product((False, True), repeat=len(text) - 1):
        places = [0, *(place for place, cut in enumerate(cuts, 1) if cut), len(text)]
        chain = poolio.Chain()
        for start, stop in itertools.pairwise(places):
            chain.append(whole[start:stop])
        assert chain.find(separator) == text.find(separator)


@pytest.mark.parametrize("text, separator", TEXTS)
def test_find_after_every_append_is_that_of_bytes(pool, text, separator):
    chain = poolio.Chain(pool)
    for end in range(1, len(text) + 1):
        chain.append(text[end - 1:end])
        assert chain.find(separator) == text[:end].find(separator)
        chain.check()


def test_find_does_not_search_twice(pool):
    buf = pool.from_bytes(b"....")
    chain = poolio.Chain()
    chain.append(buf)
    assert chain.find(b"x") == -1
    buf[1] = ord("x")               # behind its back, where it has been
    assert chain.find(b"x") == -1
    chain.append(pool.from_bytes(b".x"))
    assert chain.find(b"x") == 5


def test_find_other_separator_searches_from_the_start(pool):
    chain = chain_of(pool, b"a;b,", b"c;d")
    assert (chain.find(b"!"), chain.find(b";"), chain.find(b","), chain.find(b";")) == (-1, 1, 3, 1)


@pytest.mark.parametrize("separator", [bytearray(b"x"), memoryview(b"x")])
def test_find_of_mutable_separator_searches_from_the_start(pool, separator):
    buf = pool.from_bytes(b"....")
    chain = poolio.Chain()
    chain.append(buf)
    assert chain.find(separator) == -1
    buf[1] = ord("x")
    assert chain.find(separator) == 1


def test_find_changed_separator_finds_the_changed_one(pool):
    chain, separator = chain_of(pool, b"a;b,", b"c"), bytearray(b"!")
    assert chain.find(separator) == -1
    separator[0] = ord(";")
    assert chain.find(separator) == 1
    assert chain.find(pool.from_bytes(b",c")) == 3


def test_find_after_take_counts_from_the_new_front(pool):
    chain = chain_of(pool, b"ab\r", b"\ncd\r\n", b"ef")
    found = []
    while (at := chain.find(b"\r\n")) >= 0:
        assert chain.find(b"\r\n") == at            # found again where it was
        found.append(bytes(chain.take(at)))
        chain.advance(2)
    assert (found, content_of(chain)) == ([b"ab", b"cd"], b"ef")


def test_find_of_separator_half_taken_is_the_next_one(pool):
    chain = chain_of(pool, b"ab--", b"-cd--")
    assert chain.find(b"--") == 2
    chain.advance(3)
    assert chain.find(b"--") == 0
    chain.advance(1)
    assert chain.find(b"--") == 3


def test_find_begun_at_the_end_and_finished_later_is_found(pool):
    chain = poolio.Chain(pool)
    found = []
    for end in (b"ab\r", b"\r", b"\r", b"\n", b"\r"):
        chain.append(end)
        found.append(chain.find(b"\r\r\n"))
    assert found == [-1, -1, -1, 3, 3]


def test_find_empty_separator_raises(pool):
    with pytest.raises(ValueError, match="empty"):
        chain_of(pool, b"abc").find(b"")


def test_find_in_empty_chain_is_nowhere(pool):
    assert poolio.Chain(pool).find(b"x") == -1


def test_find_in_text_full_of_beginnings_stays_linear(pool):
    chain = poolio.Chain(pool)
    for _ in range(64):
        chain.append(b"a" * 32_000)
        assert chain.find(b"a" * 2_000 + b"b") == -1      # 2 MB * 2,000 comparisons would take minutes
    chain.append(b"b")
    assert chain.find(b"a" * 2_000 + b"b") == 64 * 32_000 - 2_000


# --- keeping little ---------------------------------------------------------------------------------------


def test_small_rest_moves_out_of_its_slab(pool):
    codec = Waiting()
    codec.feed(pool.from_bytes(b"x" * 60_000)[:100])
    figures = pool.statistics()
    assert (figures.live_bytes, figures.unpooled_bytes, figures.slabs_used) == (100, 100, 0)
    assert content_of(codec.chain) == b"x" * 100


def test_rest_of_a_frame_moves_once_the_frame_is_dropped(make_pool):
    pool, codec = make_pool(), poolio.FixedSize(60_000)
    frames = codec.feed(pool.from_bytes(b"x" * 60_000 + b"rest"))
    assert pool.statistics().unpooled_bytes == 4        # the chain keeps nothing of the slab; the frame still does
    assert pool.statistics().slabs_used == 1
    frames.clear()
    assert pool.statistics().live_bytes == 4
    assert content_of(codec.chain) == b"rest"


@pytest.mark.parametrize("size, moves", [(SLAB // 8 - 1, True), (SLAB // 8, False), (SLAB // 4, False)])
def test_rest_moves_below_an_eighth_of_its_slab(make_pool, size, moves):
    pool, codec = make_pool(slab_size=SLAB), Waiting()
    buf = pool.from_bytes(b"x" * size)
    codec.feed(buf)
    taken = codec.chain.peek(size)
    assert (taken.slab is None) == moves
    assert pool.statistics().slabs_used == 1            # the caller's


def test_moved_rest_is_the_chains_own(pool):
    buf, codec = pool.from_bytes(b"hello"), Waiting()
    codec.feed(buf)
    buf.fill(0)
    assert content_of(codec.chain) == b"hello"
    assert pool.statistics().copied_bytes == 5


def test_byte_at_a_time_stays_bounded(make_pool):
    pool, codec, most = make_pool(), Waiting(), 0
    data = bytes(range(256)) * 400
    for at in range(len(data)):
        codec.feed(pool.from_bytes(data[at:at + 1]))
        if at % 512 == 511:
            figures = pool.statistics()
            most = max(most, figures.live_bytes / (at + 1))
            assert figures.live_buffers <= 17 + (at + 1) // 32_768      # doubling up to 32 KiB a piece
            assert figures.slabs_used == 0
    assert most <= 2
    assert content_of(codec.chain) == data
    assert pool.statistics().copied_bytes <= 2 * len(data)


def test_byte_at_a_time_between_frames_stays_bounded(pool):
    codec = poolio.Delimited(b"\n")
    line = b"x" * 99 + b"\n"
    frames = []
    for at in range(5_000):
        frames += codec.feed(pool.from_bytes(line[at % 100:at % 100 + 1]))
        assert pool.statistics().live_bytes <= 4 * 100 + 100 * len(frames)
        assert len(frames) < 2 or frames.pop(0) == b"x" * 99
    assert pool.statistics().live_buffers <= 12 + len(frames)


def test_room_behind_a_taken_piece_is_not_the_pieces(pool):
    codec, kept = Waiting(), []
    for at in range(200):
        codec.feed(pool.from_bytes(bytes([at])))
        if at % 7 == 6:
            kept.append(codec.chain.take(5))
            kept[-1].fill(0xFF)
    rest = bytes(at for at in range(200))[5 * len(kept):]
    assert content_of(codec.chain) == rest
    assert all(piece == b"\xff" * 5 for piece in kept)


def test_room_behind_a_frozen_piece_is_still_written(pool):
    codec = Waiting()
    for at in range(5):
        codec.feed(pool.from_bytes(bytes([at])))
    frozen = codec.chain.peek(len(codec.chain)).freeze()
    for at in range(5, 12):
        codec.feed(pool.from_bytes(bytes([at])))
    assert (content_of(codec.chain), frozen) == (bytes(range(12)), bytes(range(5)))


def test_large_reads_between_small_ones_stay_where_they_are(make_pool):
    pool, codec, data = make_pool(slab_size=SLAB), Waiting(), b""
    for size in (1, 3000, 1, 1, 2000, 1, 1, 1, 900, 5):
        data += bytes([size % 251]) * size
        codec.feed(pool.from_bytes(data[-size:]))
        codec.chain.check()
        assert content_of(codec.chain) == data
    assert pool.statistics().copied_bytes <= 1 + 1 + 1 + 1 + 1 + 1 + 5 + 900 + 8


def test_rest_at_the_limit_still_moves(make_pool):
    pool, codec = make_pool(slab_size=SLAB, max_bytes=SLAB), Waiting()
    buf = pool.from_bytes(b"rest")
    held = exhaust(pool)
    codec.feed(buf)
    buf.release()
    assert pool.statistics().unpooled_bytes == 4
    assert content_of(codec.chain) == b"rest"
    held.clear()


# --- any sequence of operations ---------------------------------------------------------------------------

SIZES = st.one_of(st.integers(0, 20), st.integers(0, 1200), st.sampled_from([511, 512, 513, 1024, SLAB, 2 * SLAB]))
SEPARATORS = st.sampled_from([b"\x00", b"\x01", b"\x00\x01", b"\x01\x02\x00", b"\x02\x02", b"\x00" * 9, b"\xff"])
PLACES = st.integers(0, 1 << 20)


class Cutting(poolio.Codec):
    """Cuts at places that the machine has chosen."""

    def __init__(self):
        super().__init__()
        self.counts = []

    def decode(self, chain):
        if not self.counts or len(chain) < self.counts[0]:
            chain.wanted = self.counts[0] if self.counts else 0
            return None
        return chain.take(self.counts.pop(0))


class Machine(RuleBasedStateMachine):
    """A chain, its content as a bytearray, and what was taken with what it should show."""

    zeroing = "never"

    def __init__(self):
        super().__init__()
        self.pool = poolio.Pool(slab_size=SLAB, zeroing=self.zeroing)
        self.codec = Cutting()
        self.chain = self.codec.chain
        self.model = bytearray()
        self.taken = []
        self.counter = 0

    def data(self, size):
        """Bytes of few values, and never the same twice."""
        self.counter += 1
        return bytes((at * at // 7 + self.counter) % 3 for at in range(size))

    def hold(self, buf, expected):
        assert bytes(buf) == expected
        if not buf.readonly:
            buf.fill(0xEE)
        self.taken.append((buf, bytes(buf)))

    @rule(size=SIZES, how=st.sampled_from(["bytes", "Buffer", "released", "slice"]))
    def append(self, size, how):
        data = self.data(size)
        if how == "bytes":
            self.chain.append(data)
        elif how == "slice":
            self.chain.append(self.pool.from_bytes(b"\xee" * 5 + data + b"\xee")[5:5 + size])
        else:
            buf = self.pool.from_bytes(data)
            self.chain.append(buf)
            if how == "released":
                buf.release()
        self.model += data

    @rule(size=SIZES, counts=st.lists(SIZES.filter(bool), max_size=4))
    def feed(self, size, counts):
        data = self.data(size)
        self.codec.counts = counts
        frames = self.codec.feed(self.pool.from_bytes(data))
        self.model += data
        for frame in frames:
            expected = bytes(self.model[:len(frame)])
            del self.model[:len(frame)]
            self.hold(frame, expected)
        assert not self.codec.counts or len(self.model) < self.codec.counts[0]
        self.chain.wanted = 0

    @rule(sizes=st.lists(st.integers(1, 40), min_size=2, max_size=12))
    def trickle(self, sizes):
        for size in sizes:
            self.feed(size, [])

    @rule(count=PLACES)
    def take(self, count):
        count %= len(self.model) + 1
        expected = bytes(self.model[:count])
        del self.model[:count]
        self.hold(self.chain.take(count), expected)

    @rule(count=PLACES)
    def peek(self, count):
        count %= len(self.model) + 1
        seen = self.chain.peek(count)
        assert bytes(seen) == self.model[:count]

    @rule(count=PLACES)
    def freeze_what_is_peeked(self, count):
        count %= len(self.model) + 1
        self.taken.append((self.chain.peek(count).freeze(), bytes(self.model[:count])))

    @rule(count=PLACES)
    def advance(self, count):
        count %= len(self.model) + 1
        self.chain.advance(count)
        del self.model[:count]

    @rule(separator=SEPARATORS, times=st.integers(1, 2))
    def find(self, separator, times):
        for _ in range(times):
            assert self.chain.find(separator) == self.model.find(separator)

    @rule(separator=SEPARATORS)
    def take_up_to(self, separator):
        at = self.chain.find(separator)
        if at >= 0:
            self.take(at)
            assert self.chain.find(separator) == 0
            self.advance(len(separator))

    @rule(beyond=st.integers(1, 1 << 62))
    def take_too_much(self, beyond):
        with pytest.raises(ValueError, match=str(len(self.model))):
            self.chain.take(len(self.model) + beyond)

    @precondition(lambda self: self.taken)
    @rule(place=PLACES)
    def drop(self, place):
        self.taken.pop(place % len(self.taken))

    @rule()
    def clear(self):
        self.chain.clear()
        self.model.clear()

    @invariant()
    def chain_shows_what_the_model_holds(self):
        self.chain.check()
        assert len(self.chain) == len(self.model)
        assert content_of(self.chain) == self.model
        assert min(1, len(self.model)) <= self.chain.contiguous <= len(self.model)

    @invariant()
    def taken_pieces_show_what_they_did(self):
        for buf, expected in self.taken:
            assert buf == expected

    @invariant()
    def accounts_add_up(self):
        self.pool.check()

    def teardown(self):
        self.taken.clear()
        self.chain.clear()
        gc.collect()
        figures = self.pool.statistics()
        assert (figures.live_bytes, figures.live_allocations, figures.live_buffers) == (0, 0, 0)


@pytest.mark.parametrize("zeroing", ["never", "on_alloc", "on_release"])
def test_any_sequence_of_operations_agrees_with_a_bytearray(zeroing):
    machine = type(f"Machine_{zeroing}", (Machine,), {"zeroing": zeroing})
    run_state_machine_as_test(machine, settings=settings(
        max_examples=80, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)))
