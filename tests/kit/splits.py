"""Owns Hypothesis's strategies for codecs and streams, and agree(), which compares a split stream with the rules.

The rules in plain Python are those of kit.reference. Called by the tests of framing/.
"""

import asyncio
import gc

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import poolio
from kit import drawn
from kit.memory import SMALL_SLAB
from kit.reference import Ended, Fixed, Prefixed, Variable, compare, pieces_of

zeroing_modes = pytest.mark.parametrize("zeroing", ["never", "on_alloc", "on_release"])
both_modes = pytest.mark.parametrize("too_large", ["raise", "discard"])
quick = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))

MODES = st.sampled_from(["raise", "discard"])
LIMITS = st.one_of(st.integers(1, 20), st.integers(1, 300), st.integers(300, 9000), st.just(1 << 20))
CUTS = st.lists(st.integers(0, 1 << 16), max_size=12)
SIZES = st.one_of(st.integers(0, 12), st.integers(0, 300), st.integers(0, 9000))
DELIMITERS = st.one_of(
    st.sampled_from([
        (b"\n",), (b"\r\n",), (b"\r\n", b"\n"), (b"\n", b"\r\n"), (b"ab", b"abcd", b"bc"), (b"abcd", b"b"),
        (b"aab", b"ab", b"b"), (b"a" * 5, b"a" * 3), (b"aba",), (b"abab", b"ba"), (b"c" * 300, b"cb"),
    ]),
    st.lists(st.text("abc", min_size=1, max_size=4).map(str.encode), min_size=1, max_size=4, unique=True).map(tuple),
)

prefixed = st.builds(
    Prefixed, width=st.sampled_from([1, 2, 3, 4, 8]), byteorder=st.sampled_from(["big", "little"]),
    offset=st.sampled_from([0, 0, 0, 1, 3, 32]), counts=st.sampled_from(["body", "frame"]),
    adjustment=st.sampled_from([0, 0, 0, 1, -1, 2, -3, 40, -(1 << 30), 1 << 30]),
    header=st.sampled_from(["strip", "keep"]), max_frame=LIMITS, too_large=MODES,
)
RULES = {
    "LengthPrefixed": prefixed,
    "Varint": st.builds(
        Variable, max_frame=LIMITS, too_large=MODES, offset=st.sampled_from([0, 0, 1, 3, 32]),
        header=st.sampled_from(["strip", "keep"]), width=st.sampled_from([10, 10, 4, 1, 2])),
    "FixedSize": st.builds(Fixed, size=st.one_of(st.integers(1, 9), st.integers(1, 9000))),
    "Delimited": st.builds(
        Ended, DELIMITERS, ends=st.sampled_from(["strip", "keep"]), last=st.sampled_from(["refuse", "deliver"]),
        max_frame=LIMITS, too_large=MODES),
    "Marked": drawn.marked,
    "LineAndBody": drawn.lines,
}
all_codecs = pytest.mark.parametrize("kind", RULES)
codecs_of_bodies = pytest.mark.parametrize("kind", [kind for kind in RULES if kind not in drawn.STREAMS])


def body_of(size, kind="", seed=0):
    """Bytes that repeat late; few values where delimiters may stand in them."""
    pattern = b"abcabacbca" if kind == "Delimited" else bytes(range(251))
    return bytes((pattern[seed % len(pattern):] + pattern) * (size // len(pattern) + 1))[:size]


@st.composite
def well_formed(draw, kind, rules):
    """Frames, and sometimes a piece of one more."""
    if kind in drawn.STREAMS:
        return draw(drawn.STREAMS[kind](rules))
    if isinstance(rules, Fixed):
        sizes = [rules.size] * draw(st.integers(0, 4))
    else:
        sizes = draw(st.lists(st.one_of(SIZES, st.integers(rules.max_frame - 1, rules.max_frame + 1).filter(
            lambda size: size < 10_000)), max_size=6))
    wires = [rules.wire(body_of(size, kind, seed)) for seed, size in enumerate(sizes)]
    stream = b"".join(wire for wire in wires if wire is not None)
    return stream[:len(stream) - draw(st.sampled_from([0, 0, 1, 2, 5]))] if stream else stream


def arbitrary(kind):
    if kind == "Delimited":
        return st.one_of(
            st.lists(st.sampled_from([b"a", b"b", b"c", b"d", b"\r", b"\n", b"ab", b"\r\n", b"c" * 300, b"x" * 700]),
                     max_size=60).map(b"".join),
            st.binary(max_size=40))
    if kind in drawn.PIECES:
        return st.lists(st.sampled_from(drawn.PIECES[kind]), max_size=40).map(b"".join)
    small = st.lists(st.sampled_from([0, 0, 0, 0, 1, 2, 3, 5, 64, 127, 128, 129, 255]), max_size=60).map(bytes)
    return st.one_of(small, st.binary(max_size=60), st.builds(lambda start, size: start + bytes(size), small, SIZES))


def reads_of(pool, data, cuts):
    """The bytes as Buffers of one pool, each a range of the pool's own memory."""
    return [pool.from_bytes(piece) for piece in pieces_of(data, cuts)]


def agree(rules, stream, cuts, zeroing, after=lambda frames: None):
    """Cut like this, and whole, the stream is what the rules say."""
    pool = poolio.Pool(slab_size=SMALL_SLAB, zeroing=zeroing)
    for places in (cuts, []):
        codec, expected = compare(rules, stream, reads_of(pool, stream, places), after)
        if expected.error is None:
            ends_as_expected(rules, codec, expected)
        del codec
    pool.check()
    gc.collect(0)
    assert pool.statistics().live_bytes == 0


def ends_as_expected(rules, codec, expected):
    """The stream ends: what is left is a last frame, refused, or too large."""
    rest, discarded = expected.rest, expected.discarded
    deliver = rules.__class__ is Ended and rules.last == "deliver"
    last = error = None
    if rules.__class__ is Ended and rules.is_surely_too_large(rest):
        discarded += 1
    elif deliver and len(rest) > rules.max_frame:
        discarded += 1
        error = poolio.FrameTooLarge if rules.too_large == "raise" else None
    elif deliver and rest:
        last = rest
    elif rest:
        error = asyncio.IncompleteReadError
    if error is None:
        assert codec.decode_last(codec.chain) == last
        assert codec.discarded == discarded
        assert len(codec.chain) == 0
    else:
        with pytest.raises(error) as raised:
            codec.decode_last(codec.chain)
        assert getattr(raised.value, "partial", rest) == rest
