"""Memory under any sequence of operations: a Hypothesis state machine against plain bytes, in every zeroing mode.

The model of an allocation is a bytearray; of a Buffer, its allocation and range. After each step every Buffer shows
what the model holds, no two live allocations overlap, and the pool's accounts add up. At the end the pool is empty.
"""

import dataclasses
import gc
import itertools

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from kit.memory import SMALL_SLAB, address_of

import poolio

LIMIT = 6 * SMALL_SLAB
SIZES = st.one_of(st.integers(0, 40), st.integers(0, SMALL_SLAB), st.sampled_from(
    [SMALL_SLAB // 4 - 1, SMALL_SLAB // 4, SMALL_SLAB // 4 + 1, SMALL_SLAB, 2 * SMALL_SLAB,
     16 * SMALL_SLAB, 16 * SMALL_SLAB + 1]))
PLACES = st.integers(0, 1 << 20)


@dataclasses.dataclass(eq=False)
class Memory:
    """What the model knows of an allocation."""

    content: bytearray
    address: int | None          # None: size 0
    frozen: bool = False
    holders: int = 0
    writable_views: int = 0


@dataclasses.dataclass(eq=False)
class Held:
    """A Buffer and what it should show."""

    buf: poolio.Buffer | None     # None: dropped, only a view keeps it
    memory: Memory
    start: int
    length: int
    views: list = dataclasses.field(default_factory=list)

    @property
    def expected(self):
        return bytes(self.memory.content[self.start:self.start + self.length])


class Machine(RuleBasedStateMachine):
    zeroing = "never"
    buffers = Bundle("buffers")
    views = Bundle("views")

    def __init__(self):
        super().__init__()
        self.pool = poolio.Pool(slab_size=SMALL_SLAB, zeroing=self.zeroing, max_bytes=LIMIT)
        self.held = []
        self.exhausted = 0

    def hold(self, buf, memory, start, length):
        memory.holders += 1
        held = Held(buf, memory, start, length)
        self.held.append(held)
        return held

    def begin(self, buf):
        address = address_of(buf) if len(buf) and not buf.readonly else None
        return self.hold(buf, Memory(bytearray(bytes(buf)), address, buf.readonly), 0, len(buf))

    def end(self, held):
        """The model's side of a Buffer that is gone, its views included."""
        self.held.remove(held)
        held.memory.holders -= 1

    # --- making ---------------------------------------------------------------------------------------------

    @rule(target=buffers, size=SIZES, kind=st.sampled_from(["alloc", "alloc_unsafe", "alloc_unpooled"]))
    def alloc(self, size, kind):
        try:
            buf = getattr(self.pool, kind)(size)
        except poolio.PoolExhausted:
            assert kind != "alloc_unpooled" and 0 < size <= 16 * SMALL_SLAB
            assert self.pool.statistics().free_bytes == 0          # all that was free was tried
            self.exhausted += 1
            return self.begin(self.pool.alloc_unpooled(size))
        assert (len(buf), buf.readonly, buf.released) == (size, False, False)
        if kind != "alloc_unsafe" or self.zeroing != "never":
            assert bytes(buf) == bytes(size)
        return self.begin(buf)

    @rule(target=buffers, data=st.binary(max_size=300))
    def from_bytes(self, data):
        try:
            return self.begin(self.pool.from_bytes(data))
        except poolio.PoolExhausted:
            return self.begin(self.pool.alloc_unpooled(0))

    @rule(target=buffers, one=buffers, other=buffers)
    def concat(self, one, other):
        live = [held for held in (one, other) if self.is_live(held)]
        try:
            joined = self.pool.concat([held.buf for held in live])
        except poolio.PoolExhausted:
            joined = self.pool.alloc_unpooled(0)
        else:
            assert joined == b"".join(held.expected for held in live)
        return self.begin(joined)

    @rule(target=buffers, held=buffers, start=PLACES, length=PLACES)
    def slice(self, held, start, length):
        if not self.is_live(held):
            return self.begin(self.pool.alloc(0))
        start %= held.length + 1
        length %= held.length - start + 1
        piece = held.buf[start:start + length]
        return self.hold(piece, held.memory, held.start + start, length)

    def has_view(self, held, exported):
        return any(exported is view for view in held.views)

    def is_live(self, held):
        return held in self.held and held.buf is not None

    # --- writing --------------------------------------------------------------------------------------------

    def write(self, held, operation, content):
        """Do it to the Buffer; to the model only if it is allowed. content: what the Buffer should show then."""
        if held.memory.frozen:
            with pytest.raises(TypeError, match="frozen"):
                operation()
        else:
            operation()
            held.memory.content[held.start:held.start + held.length] = content

    @rule(held=buffers, place=PLACES, data=st.binary(min_size=1, max_size=50))
    def assign(self, held, place, data):
        if self.is_live(held):
            place %= held.length + 1
            data = data[:held.length - place]
            content = bytearray(held.expected)
            content[place:place + len(data)] = data
            self.write(held, lambda: held.buf.__setitem__(slice(place, place + len(data)), data), content)

    @rule(held=buffers, pattern=st.binary(min_size=1, max_size=9))
    def fill(self, held, pattern):
        if self.is_live(held):
            content = bytes(itertools.islice(itertools.cycle(pattern), held.length))
            self.write(held, lambda: held.buf.fill(pattern), content)

    @rule(held=buffers, place=PLACES, number=st.integers(0, 2**32 - 1))
    def write_number(self, held, place, number):
        if self.is_live(held) and held.length >= 4:
            place %= held.length - 3
            content = bytearray(held.expected)
            content[place:place + 4] = number.to_bytes(4, "big")
            self.write(held, lambda: held.buf.write_u32be(number, place), content)
            assert held.buf.read_u32be(place) == int.from_bytes(held.expected[place:place + 4], "big")

    @rule(held=buffers, other=buffers, offset=PLACES)
    def copy_into(self, held, other, offset):
        if self.is_live(held) and self.is_live(other) and not other.memory.frozen:
            offset %= other.length + 1
            data = held.expected[:other.length - offset]
            assert held.buf.copy_into(other.buf, offset) == len(data)
            at = other.start + offset
            other.memory.content[at:at + len(data)] = data

    @rule(view=views, place=PLACES, byte=st.integers(0, 255))
    def write_through_view(self, view, place, byte):
        held, exported = view
        if self.has_view(held, exported) and held.length and not exported.readonly:
            place %= held.length
            exported[place] = byte
            held.memory.content[held.start + place] = byte

    # --- freezing, exporting, giving up ------------------------------------------------------------------------

    @rule(held=buffers)
    def freeze(self, held):
        if not self.is_live(held):
            return
        if held.memory.writable_views and not held.memory.frozen:
            with pytest.raises(BufferError):
                held.buf.freeze()
        else:
            assert held.buf.freeze() is held.buf
            held.memory.frozen = True

    @rule(target=views, held=buffers)
    def export(self, held):
        if not self.is_live(held):
            return held, None
        exported = memoryview(held.buf)
        assert exported.readonly == held.memory.frozen
        held.views.append(exported)
        held.memory.writable_views += not exported.readonly
        return held, exported

    @rule(view=consumes(views))
    def end_export(self, view):
        held, exported = view
        if not self.has_view(held, exported):
            return
        held.memory.writable_views -= not exported.readonly
        held.views = [view for view in held.views if view is not exported]
        exported.release()
        if held.buf is None and not held.views:
            self.end(held)

    @rule(held=buffers)
    def release(self, held):
        if not self.is_live(held):
            return
        if held.views:
            with pytest.raises(BufferError):
                held.buf.release()
        else:
            held.buf.release()
            held.buf.release()
            with pytest.raises(poolio.BufferReleased):
                len(held.buf)
            self.end(held)

    @rule(held=buffers)
    def drop(self, held):
        if self.is_live(held):
            held.buf = None
            if not held.views:
                self.end(held)

    @rule(target=buffers, held=buffers)
    def detach(self, held):
        if not self.is_live(held):
            return self.begin(self.pool.alloc(0))
        if held.views:
            with pytest.raises(BufferError):
                held.buf.detach()
            return held
        memory, expected = held.memory, held.expected
        is_alone = held.buf.slab is None and held.length == len(memory.content) and (
            memory.frozen or memory.holders == 1)
        before = self.pool.statistics().copied_bytes
        kept = held.buf.detach()
        assert (kept, kept.readonly, kept.slab, held.buf.released) == (expected, True, None, True)
        assert self.pool.statistics().copied_bytes - before == (0 if is_alone else held.length)
        self.end(held)
        if not is_alone:
            return self.begin(kept)
        memory.frozen = True
        return self.hold(kept, memory, 0, len(kept))

    @rule()
    def trim(self):
        free = self.pool.statistics().free_bytes
        assert self.pool.trim() == free
        assert self.pool.statistics().slabs_free == 0

    @rule()
    def trim_idle(self):
        self.pool._trim_idle()

    @precondition(lambda self: self.exhausted == 0)
    @rule(target=buffers, size=st.integers(1, SMALL_SLAB // 4))
    def exhaust(self, size):
        """Allocate until the limit is reached; then all but one are dropped again."""
        taken = []
        with pytest.raises(poolio.PoolExhausted, match=str(LIMIT)):
            while True:
                taken.append(self.pool.alloc_unsafe(size))
                assert len(taken) <= LIMIT
        self.exhausted += 1
        first = taken[0] if taken else self.pool.alloc(0)
        del taken
        return self.begin(first)

    # --- what always holds -------------------------------------------------------------------------------------

    @rule(held=buffers)
    def hash_and_compare(self, held):
        if self.is_live(held):
            assert held.buf.eq_ignore_ascii_case(held.expected.swapcase())
            if held.memory.frozen:
                assert hash(held.buf) == hash(held.expected)

    @rule(target=buffers, held=buffers, chars=st.binary(max_size=3),
          method=st.sampled_from(["strip", "lstrip", "rstrip"]))
    def strip(self, held, chars, method):
        if not self.is_live(held):
            return self.begin(self.pool.alloc(0))
        piece = getattr(held.buf, method)(chars)
        assert piece == getattr(held.expected, method)(chars)
        kept = held.expected if method == "rstrip" else held.expected.lstrip(chars)
        return self.hold(piece, held.memory, held.start + held.length - len(kept), len(piece))

    @invariant()
    def contents_are_those_of_the_model(self):
        for held in self.held:
            for shown in (held.buf, *held.views):
                if shown is not None:
                    assert bytes(shown) == held.expected

    @invariant()
    def no_two_live_allocations_overlap(self):
        live = {id(held.memory): held.memory for held in self.held if held.memory.address is not None}
        spans = sorted((memory.address, len(memory.content)) for memory in live.values())
        for (address, size), (following, _) in itertools.pairwise(spans):
            assert address + size <= following

    @invariant()
    def accounts_add_up(self):
        self.pool.check()
        figures = self.pool.statistics()
        memories = {id(held.memory): held.memory for held in self.held}
        assert figures.live_buffers == len(self.held)
        assert figures.live_allocations == len(memories)
        assert figures.live_bytes == sum(len(memory.content) for memory in memories.values())
        shown = sum(min(len(memory.content), sum(held.length for held in self.held if held.memory is memory))
                    for memory in memories.values())
        assert figures.pinned_bytes >= figures.live_bytes - shown
        assert figures.reserved_bytes <= LIMIT

    def teardown(self):
        for held in self.held:
            for exported in held.views:
                exported.release()
            held.buf = None
        self.held.clear()
        gc.collect()
        self.pool.check()
        figures = self.pool.statistics()
        assert (figures.live_bytes, figures.live_allocations, figures.live_buffers) == (0, 0, 0)
        self.pool.trim()
        assert self.pool.statistics().slabs == 0


@pytest.mark.parametrize("zeroing", ["never", "on_alloc", "on_release"])
def test_any_sequence_of_operations_agrees_with_plain_bytes(zeroing):
    machine = type(f"Machine_{zeroing}", (Machine,), {"zeroing": zeroing})
    run_state_machine_as_test(machine, settings=settings(
        max_examples=150, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)))
