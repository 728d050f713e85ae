"""Chain: any sequence of operations agrees with a bytearray."""

import gc

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from kit.chains import content_of
from kit.memory import SMALL_SLAB

import poolio

SIZES = st.one_of(
    st.integers(0, 20), st.integers(0, 1200), st.sampled_from([511, 512, 513, 1024, SMALL_SLAB, 2 * SMALL_SLAB]))
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
        self.pool = poolio.Pool(slab_size=SMALL_SLAB, zeroing=self.zeroing)
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

    @rule(separator=SEPARATORS, start=PLACES)
    def find_from(self, separator, start):
        start %= len(self.model) + 2
        assert self.chain.find(separator, start) == self.model.find(separator, start)

    @rule(separator=SEPARATORS, limit=st.one_of(st.integers(0, 40), st.integers(0, 5000)))
    def take_until(self, separator, limit):
        at = self.model.find(separator)
        if 0 <= at <= limit:
            expected = bytes(self.model[:at])
            del self.model[:at + len(separator)]
            self.hold(self.chain.take_until(separator, limit), expected)
        elif at > limit or len(self.model) >= limit + len(separator):
            with pytest.raises(poolio.FrameTooLarge, match=str(limit)):
                self.chain.take_until(separator, limit)
        else:
            assert self.chain.take_until(separator, limit) is None

    @rule(number=st.integers(-(10**30), 10**30), separator=SEPARATORS)
    def take_integer(self, number, separator):
        self.clear()
        self.chain.append(b"%d" % number)
        self.chain.append(separator)
        assert self.chain.take_int(separator, digits=31) == number

    @precondition(lambda self: self.model)
    @rule(place=PLACES)
    def index(self, place):
        place %= len(self.model)
        assert self.chain[place] == self.chain[place - len(self.model)] == self.model[place]

    @rule(count=PLACES, wrong=st.integers(0, 1))
    def begins_with(self, count, wrong):
        prefix = self.model[:count % (len(self.model) + 1)]
        if prefix:
            prefix[-1] ^= wrong
        assert self.chain.startswith(prefix) == self.model.startswith(prefix)

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
