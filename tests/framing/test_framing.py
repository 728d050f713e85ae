"""Codecs: any split of any stream into reads gives what the whole gives, and what the rules in plain Python give."""

import asyncio
import gc
import pickle
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kit.reference import Ended, Fixed, Parsed, Prefixed, Variable, compare, pieces_of

import poolio

SLAB = 4096
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
    "Varint": st.builds(Variable, max_frame=LIMITS, too_large=MODES),
    "FixedSize": st.builds(Fixed, size=st.one_of(st.integers(1, 9), st.integers(1, 9000))),
    "Delimited": st.builds(
        Ended, DELIMITERS, ends=st.sampled_from(["strip", "keep"]), last=st.sampled_from(["refuse", "deliver"]),
        max_frame=LIMITS, too_large=MODES),
}
all_codecs = pytest.mark.parametrize("kind", RULES)


def body_of(size, kind="", seed=0):
    """Bytes that repeat late; few values where delimiters may stand in them."""
    pattern = b"abcabacbca" if kind == "Delimited" else bytes(range(251))
    return bytes((pattern[seed % len(pattern):] + pattern) * (size // len(pattern) + 1))[:size]


@st.composite
def well_formed(draw, kind, rules):
    """Frames, and sometimes a piece of one more."""
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
    small = st.lists(st.sampled_from([0, 0, 0, 0, 1, 2, 3, 5, 64, 127, 128, 129, 255]), max_size=60).map(bytes)
    return st.one_of(small, st.binary(max_size=60), st.builds(lambda start, size: start + bytes(size), small, SIZES))


def reads_of(pool, data, cuts):
    """The bytes as Buffers of one pool, each a range of the pool's own memory."""
    return [pool.from_bytes(piece) for piece in pieces_of(data, cuts)]


def agree(rules, stream, cuts, zeroing, after=lambda frames: None):
    """Cut like this, and whole, the stream is what the rules say."""
    pool = poolio.Pool(slab_size=SLAB, zeroing=zeroing)
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


# --- any split --------------------------------------------------------------------------------------------


@all_codecs
@zeroing_modes
def test_well_formed_stream_in_any_split_is_what_the_rules_say(kind, zeroing):
    @quick
    @given(st.data())
    def holds(data):
        rules = data.draw(RULES[kind])
        agree(rules, data.draw(well_formed(kind, rules)), data.draw(CUTS), zeroing)

    holds()


@all_codecs
@zeroing_modes
def test_arbitrary_bytes_in_any_split_are_what_the_rules_say(kind, zeroing):
    @quick
    @given(RULES[kind], arbitrary(kind), CUTS)
    def holds(rules, stream, cuts):
        agree(rules, stream, cuts, zeroing)

    holds()


STREAMS = {
    "prefix": (Prefixed(2, max_frame=5), b"\0\1a\0\0\0\5abcde\0\6abcdef\0\1b"),
    "prefix discarding": (Prefixed(2, max_frame=5, too_large="discard"), b"\0\1a\0\0\0\5abcde\0\6abcdef\0\1b"),
    "prefix, header kept": (Prefixed(1, offset=2, header="keep", counts="frame"), b"xy\3xy\5abxy\4axy\7abcdxy\2xy"),
    "varint": (Variable(max_frame=3), b"\0\1a\x80\0\x82\x80\0ab\x83\0abc\x84\0abcd\1b"),
    "varint discarding": (Variable(3, "discard"), b"\0\1a\x80\0\x82\x80\0ab\x83\0abc\x84\0abcd\1b"),
    "varint too long": (Variable(), b"\1a" + b"\x80" * 9 + b"\2" + b"\1b"),
    "fixed": (Fixed(3), b"abcdefgh"),
    "lines": (Ended((b"\r\n", b"\n"), max_frame=4), b"a\r\n\n\r\n\rb\r\r\nabcd\nabc\r\nabcde\nc\n"),
    "lines discarding": (Ended((b"\r\n", b"\n"), max_frame=4, too_large="discard"),
                         b"abcde\nab\nabcdefgh\r\n\nabcd\rx\nc\n"),
    "shared parts": (Ended((b"ab", b"abcd", b"bc"), max_frame=6), b"abcdabxbcabcabcxxxxxxababcabbc"),
}


@pytest.mark.parametrize("rules, stream", STREAMS.values(), ids=STREAMS)
def test_every_split_into_three_reads_is_what_the_rules_say(rules, stream):
    for first in range(len(stream)):
        for second in range(first, len(stream)):
            agree(rules, stream, [first, second], "never")


@pytest.mark.parametrize("rules, stream", STREAMS.values(), ids=STREAMS)
def test_byte_at_a_time_is_what_the_rules_say(rules, stream):
    agree(rules, stream, range(len(stream)), "never")


@pytest.mark.parametrize("delimiters", [(b"\r\n", b"\n\n\n"), (b"abcd", b"bc"), (b"ab", b"x" * 5), (b"y" * 300, b"ab")])
def test_one_of_several_delimiters_is_found_wherever_it_stands_in_a_long_line(delimiters):
    rules = Ended(delimiters)
    for doubled in (256, 768, 1792):                 # it is searched in windows that double
        for place in range(doubled - 12, doubled + 4):
            for delimiter in delimiters:
                stream = b"-" * place + delimiter + b"-" * 700
                assert rules.parse(stream).frames == [b"-" * place] or delimiter == b"abcd"
                compare(rules, stream, [stream])


def test_bytes_of_several_kinds_are_fed_alike():
    stream = b"\0\0\0\3abc\0\0\0\2de\0"
    for kind in (bytes, bytearray, memoryview, poolio.from_bytes):
        codec = poolio.LengthPrefixed()
        assert codec.feed(kind(stream)) == [b"abc", b"de"]
        assert len(codec.chain) == 1


# --- memory -----------------------------------------------------------------------------------------------


@all_codecs
@zeroing_modes
def test_frames_written_to_leave_later_frames_alone(kind, zeroing):
    def overwrite(frames):
        for frame in frames:
            if not frame.readonly:
                frame.fill(0xEE)

    @settings(quick, max_examples=50)
    @given(st.data())
    def holds(data):
        rules = data.draw(RULES[kind])
        agree(rules, data.draw(well_formed(kind, rules)), data.draw(CUTS), zeroing, overwrite)

    holds()


@all_codecs
def test_frames_never_share_a_byte(kind):
    @settings(quick, max_examples=50)
    @given(st.data())
    def holds(data):
        rules = data.draw(RULES[kind])
        pool, codec, frames = poolio.Pool(slab_size=SLAB), rules.codec(), []
        for read in reads_of(pool, data.draw(well_formed(kind, rules)), data.draw(CUTS)):
            try:
                frames += codec.feed(read)
            except poolio.FrameError:
                break
        expected = {at: bytes(frame) for at, frame in enumerate(frames)}
        for at, frame in enumerate(frames):
            if not frame.readonly:
                frame.fill(at % 256)
                expected[at] = bytes([at % 256]) * len(frame)
            assert {place: bytes(other) for place, other in enumerate(frames)} == expected

    holds()


def test_frame_in_one_read_is_a_slice_of_it(pool):
    read = pool.from_bytes(b"\0\0\0\3abc\0\0\0\2de")
    frames = poolio.LengthPrefixed().feed(read)
    assert [frame.slab for frame in frames] == [read.slab, read.slab]
    assert [frame.offset for frame in frames] == [read.offset + 4, read.offset + 11]


@pytest.mark.parametrize("codec, header", [
    (poolio.LengthPrefixed(), b"\0\0\0\3"), (poolio.LengthPrefixed(2, offset=2), b"xy\0\3"), (poolio.Varint(), b"\3"),
])
def test_frame_behind_a_header_in_another_read_is_a_slice(pool, codec, header):
    read = pool.from_bytes(b"abc")
    assert codec.feed(pool.from_bytes(header)) == []
    frame, = codec.feed(read)
    assert (frame, frame.slab, frame.offset) == (b"abc", read.slab, read.offset)


def test_frame_straddling_two_reads_is_one_copy_in_their_pool(pool):
    codec = poolio.LengthPrefixed()
    assert codec.feed(pool.from_bytes(b"\0\0\0\3a")) == []
    frames = codec.feed(pool.from_bytes(b"bc\0\0\0\2de"))
    assert frames == [b"abc", b"de"]
    assert [frame.pool for frame in frames] == [pool, pool]


def test_read_released_by_caller_leaves_frames_and_rest(pool):
    codec = poolio.Delimited(b"\n")
    read = pool.from_bytes(b"abc\nde")
    frames = codec.feed(read)
    read.release()
    assert frames == [b"abc"]
    assert codec.feed(pool.from_bytes(b"f\n")) == [b"def"]


def test_empty_frames_pin_nothing(pool):
    frames = poolio.LengthPrefixed(1).feed(pool.from_bytes(bytes(100)))
    assert (len(frames), pool.statistics().slabs_used) == (100, 0)
    assert all(frame == b"" for frame in frames)


STRADDLING = {
    "LengthPrefixed": (poolio.LengthPrefixed, b"\0\0\4\0" + b"x" * 1024),
    "LengthPrefixed keep": (lambda: poolio.LengthPrefixed(header="keep"), b"\0\0\4\0" + b"x" * 1024),
    "Varint": (poolio.Varint, b"\x80\x08" + b"x" * 1024),
    "FixedSize": (lambda: poolio.FixedSize(1024), b"x" * 1024),
    "Delimited": (lambda: poolio.Delimited(b"\n"), b"x" * 1024 + b"\n"),
    "Delimited keep": (lambda: poolio.Delimited(b"\n", ends="keep"), b"x" * 1024 + b"\n"),
}


@pytest.mark.parametrize("kind", STRADDLING)
def test_straddling_frame_at_the_pools_limit_raises_and_comes_later(make_pool, kind):
    make, wire = STRADDLING[kind]
    codec = make()
    pool = make_pool(slab_size=SLAB, max_bytes=2 * SLAB)
    reads = [pool.from_bytes(wire[:700]), pool.from_bytes(wire[700:])]
    held = []
    with pytest.raises(poolio.PoolExhausted):
        while True:
            held.append(pool.alloc(512))
    assert codec.feed(reads.pop(0)) == []
    with pytest.raises(poolio.PoolExhausted):
        codec.feed(reads.pop())
    assert len(codec.chain) == len(wire)
    with pytest.raises(poolio.PoolExhausted):
        codec.feed(b"")
    held.clear()
    extra = {"LengthPrefixed keep": 4, "Delimited keep": 1}.get(kind, 0)
    assert [len(frame) for frame in codec.feed(b"")] == [1024 + extra]


@zeroing_modes
def test_thousand_chains_in_mid_frame_stay_within_two_megabytes(make_pool, zeroing):
    pool = make_pool(zeroing=zeroing)
    rules = poolio.LengthPrefixed()
    codecs = [poolio.LengthPrefixed() for _ in range(1000)]
    whole = bytes(rules.encode(bytes(range(200)) * 5))
    for at, codec in enumerate(codecs):
        assert len(codec.feed(pool.from_bytes(whole * 20 + whole[:5 + at % 900]))) == 20
        passing = [pool.from_bytes(whole * 60) for _ in range(3)]
        passing.clear()
    figures = pool.statistics()
    assert figures.reserved_bytes <= 2 << 20
    assert figures.live_bytes <= 1000 * 910
    for at, codec in enumerate(codecs):
        assert codec.feed(pool.from_bytes(whole[5 + at % 900:])) == [bytes(range(200)) * 5]


# --- writing ----------------------------------------------------------------------------------------------


@all_codecs
def test_encoded_then_fed_comes_back(kind):
    @settings(quick, max_examples=150)
    @given(st.data())
    def holds(data):
        rules = data.draw(RULES[kind])
        codec, pieces = rules.codec(), []
        for seed, size in enumerate(data.draw(st.lists(SIZES, max_size=4))):
            pieces.append(body_of(size, kind, seed))
        if kind == "FixedSize":
            pieces = [body_of(rules.size)[:rules.size // 2], body_of(rules.size)[rules.size // 2:]]
        body = b"".join(pieces)
        wire = None if len(body) > getattr(rules, "max_frame", rules.__dict__.get("size")) else rules.wire(body)
        if wire is None:
            with pytest.raises(ValueError):
                encode(rules, codec, pieces)
        else:
            assert encode(rules, codec, pieces) == wire
            assert codec.feed(wire) == rules.parse(wire).frames != []

    holds()


def encode(rules, codec, pieces):
    """What encode() writes; and gather() the same, where it can."""
    offset = getattr(rules, "offset", 0)
    wire = codec.encode(*pieces, before=b"\xaa" * offset) if offset else codec.encode(*pieces)
    if not offset:
        assert b"".join(bytes(piece) for piece in codec.gather(pieces)) == wire
    return bytes(wire)


@pytest.mark.parametrize("codec", [poolio.LengthPrefixed(), poolio.Varint()])
@pytest.mark.parametrize("size", [0, 1, 127, 128, 4095, 4096, 4097, 20_000])
def test_gather_is_what_encode_writes(codec, size):
    pieces = [b"x" * (size // 3), b"", bytearray(b"y" * (size // 3)), poolio.from_bytes(b"z" * (size - size // 3 * 2))]
    gathered = codec.gather(pieces)
    assert b"".join(map(bytes, gathered)) == codec.encode(*pieces)
    assert len(gathered) == (1 if size <= 4096 else 5)
    assert size <= 4096 or all(sent is piece for sent, piece in zip(gathered[1:], pieces, strict=True))


@pytest.mark.parametrize("codec, size", [
    (poolio.LengthPrefixed(max_frame=5000), 5001), (poolio.LengthPrefixed(1), 256), (poolio.Varint(max_frame=9), 10),
    (poolio.LengthPrefixed(1, counts="frame"), 255), (poolio.LengthPrefixed(2, adjustment=-1), 65535),
    (poolio.Delimited(b"\n", max_frame=3), 4), (poolio.Varint(max_frame=5000), 5001),
])
def test_encode_at_the_limit_is_written_and_beyond_raises(codec, size):
    assert len(codec.encode(b"x" * (size - 1))) > size - 1
    for write in (codec.encode, lambda body: codec.gather([body])):
        with pytest.raises(poolio.FrameTooLarge) as raised:
            write(b"x" * size)
        assert (raised.value.size, raised.value.limit) == (size, size - 1)


def test_encode_of_length_below_zero_raises():
    codec = poolio.LengthPrefixed(adjustment=10)
    with pytest.raises(poolio.FrameError, match=r"9 bytes.*adjustment of 10"):
        codec.encode(b"x" * 9)
    assert codec.encode(b"x" * 10) == bytes(4) + b"x" * 10


def test_encode_limit_is_never_below_zero():
    with pytest.raises(poolio.FrameError) as raised:
        poolio.LengthPrefixed(1, adjustment=-(1 << 30)).encode(b"")
    assert getattr(raised.value, "limit", 0) >= 0


def test_encode_with_before_of_other_size_raises():
    codec = poolio.LengthPrefixed(2, offset=3)
    assert codec.encode(b"body", before=bytearray(b"abc")) == b"abc\0\4body"
    with pytest.raises(ValueError, match=r"3 bytes.*not 2"):
        codec.encode(b"body", before=b"ab")


@pytest.mark.parametrize("delimiters, body", [
    (b"\n", b"a\nb"), ((b"\r\n", b"\n"), b"ab\n"), (b"--", b"a-"), ((b"ab", b"b"), b"x" + b"b"),
    ((b"\n", b"\r\n"), b"a\r"), ((b"bc", b"abc"), b"xa"),
])
def test_encode_of_body_that_would_be_read_otherwise_raises(delimiters, body):
    with pytest.raises(ValueError, match="delimiter"):
        poolio.Delimited(delimiters).encode(body)


def test_encode_with_another_delimiter_at_the_start_of_the_written_one_raises():
    codec = poolio.Delimited((b"aaaaa", b"aaa"))
    with pytest.raises(ValueError, match="delimiter"):
        codec.encode(b"x")          # would be read as x, and then aa stands before the next frame


def test_encode_of_fixed_size_other_size_raises():
    codec = poolio.FixedSize(5)
    assert codec.encode(b"ab", b"", b"cde") == b"abcde"
    for body in (b"", b"abcd", b"abcdef"):
        with pytest.raises(ValueError, match=f"5 bytes, not {len(body)}"):
            codec.encode(body)


@pytest.mark.parametrize("codec", [
    poolio.LengthPrefixed(), poolio.Varint(), poolio.FixedSize(1), poolio.Delimited(b"\n"),
])
def test_encode_of_other_object_raises(codec):
    for piece in ("text", None, 5):
        with pytest.raises(TypeError):
            codec.encode(piece)
        with pytest.raises(TypeError):
            codec.gather([piece])


# --- limits -----------------------------------------------------------------------------------------------

LIMITED = {
    "width 1": Prefixed(1), "width 2 little": Prefixed(2, "little"), "width 3": Prefixed(3), "width 8": Prefixed(8),
    "frame counted": Prefixed(2, counts="frame", header="keep"), "offset": Prefixed(2, offset=3, adjustment=-2),
    "varint": Variable(), "line": Ended(), "lines": Ended((b"\r\n", b"\n")),
    "kept": Ended((b"\r\n", b"\n"), ends="keep"),
}


@both_modes
@pytest.mark.parametrize("limit", [1, 2, 9, 128])
@pytest.mark.parametrize("kind", LIMITED)
def test_frame_at_the_limit_comes_and_beyond_it_does_not(kind, limit, too_large):
    rules = type(LIMITED[kind])(**LIMITED[kind].__dict__ | {"max_frame": limit, "too_large": too_large})
    bodies = [b"x" * limit, b"y" * (limit + 1), b"z" * limit]
    stream = b"".join(map(rules.wire, bodies))
    expected = rules.parse(stream)
    assert (len(expected.frames), expected.discarded) == ((1, 0) if too_large == "raise" else (2, 1))
    for cut in range(len(stream) + 1):
        agree(rules, stream, [cut], "never")
    agree(rules, stream, range(len(stream)), "never")


def test_frame_too_large_is_a_frame_error_with_size_and_limit():
    with pytest.raises(poolio.FrameTooLarge, match=r"101 bytes.*limit of 100") as raised:
        poolio.LengthPrefixed(max_frame=100).feed(b"\0\0\0\x65")
    assert (raised.value.size, raised.value.limit) == (101, 100)
    assert issubclass(poolio.FrameTooLarge, poolio.FrameError)
    assert issubclass(poolio.FrameError, (poolio.PoolError, ValueError))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_frame_too_large_pickled_is_the_same(protocol):
    error = pickle.loads(pickle.dumps(poolio.FrameTooLarge(2**64 - 1, 100), protocol))
    assert (type(error), error.size, error.limit) == (poolio.FrameTooLarge, 2**64 - 1, 100)
    assert str(error) == str(poolio.FrameTooLarge(2**64 - 1, 100))


HUGE = {
    f"{name} {number:#x}": (codec, wire)
    for number in (2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
    for name, codec, wire in [
        ("big", {"width": 8}, number.to_bytes(8, "big")),
        ("little", {"width": 8, "byteorder": "little"}, number.to_bytes(8, "little")),
        ("counted", {"width": 8, "counts": "frame", "offset": 2}, b"xy" + number.to_bytes(8, "big")),
        ("adjusted", {"width": 8, "adjustment": 1 << 30}, number.to_bytes(8, "big")),
        ("varint", {}, bytes(number >> 7 * at & 127 | 128 for at in range(9)) + bytes([number >> 63])),
    ]
}


@both_modes
@pytest.mark.parametrize("options, header", HUGE.values(), ids=HUGE)
def test_huge_length_reserves_nothing(make_pool, options, header, too_large):
    pool = make_pool(slab_size=SLAB)
    codec = (poolio.LengthPrefixed if options else poolio.Varint)(
        **options, max_frame=2**61 - 1 if header[-1] == 1 else 1 << 20, too_large=too_large)
    for at in range(len(header) - 1):
        assert codec.feed(pool.from_bytes(header[at:at + 1])) == []
    if too_large == "raise":
        with pytest.raises(poolio.FrameTooLarge) as raised:
            codec.feed(pool.from_bytes(header[-1:]))
        assert raised.value.size > raised.value.limit == codec.max_frame
    else:
        for body in (header[-1:], b"\0" * 3000, b"\1" * 3000):
            assert codec.feed(pool.from_bytes(body)) == []
        assert (codec.discarded, len(codec.chain)) == (1, 0)
    assert pool.statistics().reserved_bytes <= 2 * SLAB
    assert pool.statistics().live_bytes <= 16


def test_length_within_the_limit_reserves_nothing_before_it_comes(make_pool):
    pool = make_pool()
    codec = poolio.LengthPrefixed(max_frame=2**31)
    assert codec.feed(pool.from_bytes(b"\x7f\xff\xff\xffabc")) == []
    figures = pool.statistics()
    assert (figures.live_bytes, figures.oversize_bytes, codec.chain.wanted) == (7, 0, 2**31 + 3)


def test_discarded_frame_is_dropped_as_it_comes(make_pool):
    pool, codec = make_pool(slab_size=SLAB), poolio.LengthPrefixed(max_frame=10, too_large="discard")
    assert codec.feed(pool.from_bytes((1_000_000).to_bytes(4, "big"))) == []
    for _ in range(500):
        assert codec.feed(pool.from_bytes(b"\0" * 2000)) == []
        assert pool.statistics().live_bytes == 0
    assert codec.feed(pool.from_bytes(b"\0\0\0\1x")) == [b"x"]
    assert codec.discarded == 1


def test_discarded_line_is_dropped_as_it_comes(make_pool):
    pool, codec = make_pool(slab_size=SLAB), poolio.Delimited((b"\r\n", b"\n"), max_frame=10, too_large="discard")
    for _ in range(500):
        assert codec.feed(pool.from_bytes(b"x" * 1999 + b"\r")) == []
        assert pool.statistics().live_bytes <= 1
    assert codec.feed(pool.from_bytes(b"\nnext\n")) == [b"next"]
    assert codec.discarded == 1


# --- errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec, good, bad, error", [
    (poolio.LengthPrefixed(max_frame=9), b"\0\0\0\1a", b"\0\0\0\x0a", poolio.FrameTooLarge),
    (poolio.LengthPrefixed(1, counts="frame"), b"\2a", b"\0", poolio.FrameError),
    (poolio.Varint(), b"\1a", b"\xff" * 10, poolio.FrameError),
    (poolio.Varint(max_frame=1), b"\1a", b"\2", poolio.FrameTooLarge),
    (poolio.Delimited(b"\n", max_frame=1), b"a\n", b"ab\n", poolio.FrameTooLarge),
    (poolio.Delimited(b"\n", max_frame=1), b"a\n", b"ab", poolio.FrameTooLarge),
])
def test_error_behind_good_frames_comes_at_the_next_feed_and_loses_nothing(codec, good, bad, error):
    assert codec.feed(good * 3 + bad + b"more") == [b"a"] * 3
    for data in (b"", b"x", b"yz"):
        with pytest.raises(error):
            codec.feed(data)
    assert bytes(codec.chain.peek(len(codec.chain))) == bad + b"morexyz"


@pytest.mark.parametrize("too_small, counted", [(0, 4), (3, 4)])
def test_length_below_what_it_counts_raises_and_names_both(too_small, counted):
    codec = poolio.LengthPrefixed(2, offset=2, counts="frame")
    with pytest.raises(poolio.FrameError, match=f"says {too_small}.*{counted} bytes"):
        codec.feed(b"xx" + too_small.to_bytes(2, "big"))


def test_released_buffer_fed_raises_and_loses_nothing(pool):
    codec, read = poolio.Delimited(b"\n"), pool.from_bytes(b"abc")
    assert codec.feed(b"12") == []
    read.release()
    with pytest.raises(poolio.BufferReleased):
        codec.feed(read)
    assert codec.feed(b"3\n") == [b"123"]


BAD_OPTIONS = {
    "width": (lambda: poolio.LengthPrefixed(5), "1, 2, 3, 4 or 8.*not 5"),
    "width 0": (lambda: poolio.LengthPrefixed(0), "1, 2, 3, 4 or 8.*not 0"),
    "width text": (lambda: poolio.LengthPrefixed("4"), "1, 2, 3, 4 or 8.*not '4'"),
    "byteorder": (lambda: poolio.LengthPrefixed(byteorder="middle"), "'big' or 'little', not 'middle'"),
    "offset": (lambda: poolio.LengthPrefixed(offset=33), r"0\.\.32.*not 33"),
    "offset below": (lambda: poolio.LengthPrefixed(offset=-1), r"0\.\.32.*not -1"),
    "counts": (lambda: poolio.LengthPrefixed(counts="all"), "'body' or 'frame', not 'all'"),
    "header": (lambda: poolio.LengthPrefixed(header="drop"), "'strip' or 'keep', not 'drop'"),
    "adjustment": (lambda: poolio.LengthPrefixed(adjustment=2**30 + 1), r"-2\*\*30\.\.2\*\*30.*not 1073741825"),
    "adjustment below": (lambda: poolio.LengthPrefixed(adjustment=-(2**70)), rf"2\*\*30.*not -{2**70}"),
    "max_frame 0": (lambda: poolio.LengthPrefixed(max_frame=0), r"1\.\.\d+ bytes, not 0"),
    "max_frame huge": (lambda: poolio.Varint(max_frame=2**63), rf"1\.\.{2**61 - 1} bytes, not {2**63}"),
    "max_frame below": (lambda: poolio.Delimited(b"x", max_frame=-1), r"1\.\.\d+ bytes, not -1"),
    "too_large": (lambda: poolio.Varint(too_large="drop"), "'raise' or 'discard', not 'drop'"),
    "size 0": (lambda: poolio.FixedSize(0), r"size.*\b1\b.*not 0"),
    "size below": (lambda: poolio.FixedSize(-5), r"size.*\b1\b.*not -5"),
    "size huge": (lambda: poolio.FixedSize(2**62), rf"{2**61 - 1}.*not {2**62}"),
    "size beyond 64 bits": (lambda: poolio.FixedSize(2**70), rf"not {2**70}"),
    "delimiter empty": (lambda: poolio.Delimited(b""), "empty.*b''"),
    "delimiters empty": (lambda: poolio.Delimited([]), r"empty.*\[\]"),
    "one delimiter empty": (lambda: poolio.Delimited((b"a", b"")), "empty.*b''"),
    "ends": (lambda: poolio.Delimited(b"x", ends="drop"), "'strip' or 'keep', not 'drop'"),
    "last": (lambda: poolio.Delimited(b"x", last="drop"), "'refuse' or 'deliver', not 'drop'"),
    "codec": (lambda: poolio.Codec(max_frame=0), r"1\.\.\d+ bytes, not 0"),
}


@pytest.mark.parametrize("make, message", BAD_OPTIONS.values(), ids=BAD_OPTIONS)
def test_option_out_of_range_raises_and_names_value_and_limit(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", [
    lambda: poolio.Delimited("\n"), lambda: poolio.Delimited(5), lambda: poolio.Delimited(["\n"]),
    lambda: poolio.Delimited([13, 10]), lambda: poolio.Delimited([b"\n", 5]), lambda: poolio.Delimited(None),
    lambda: poolio.FixedSize("5"), lambda: poolio.FixedSize(1.5), lambda: poolio.LengthPrefixed(offset="1"),
    lambda: poolio.LengthPrefixed(max_frame="1"), lambda: poolio.LengthPrefixed(adjustment=None),
    lambda: poolio.LengthPrefixed(max_frame=1.5), lambda: poolio.LengthPrefixed(offset=1.5),
])
def test_option_of_other_type_raises(make):
    with pytest.raises(TypeError):
        make()


@pytest.mark.parametrize("delimiter", [
    b"\r\n", bytearray(b"\r\n"), memoryview(b"\r\n"), [b"\r\n"], (bytearray(b"\r\n"),),
])
def test_delimiter_of_any_bytes_like_is_taken(delimiter):
    codec = poolio.Delimited(delimiter)
    assert codec.delimiters == (b"\r\n",)
    assert codec.feed(b"a\r\nb\nc\r\n") == [b"a", b"b\nc"]


@pytest.mark.parametrize("code", [
    "poolio.LengthPrefixed().decode(None)", "poolio.Varint().decode(None)", "poolio.FixedSize(1).decode(None)",
    "poolio.Delimited(b'x').decode(None)", "poolio.Delimited(b'x').decode_last(None)",
    "poolio.Codec().decode_last(None)", "poolio.Codec().gather(None)", "poolio.Varint().gather(None)",
    "poolio.LengthPrefixed.__new__(poolio.LengthPrefixed).decode(poolio.Chain())",
    "poolio.Varint.__new__(poolio.Varint).feed(b'abc')",
    "poolio.Delimited.__new__(poolio.Delimited).feed(b'abc')",
    "poolio.Delimited.__new__(poolio.Delimited).encode(b'')",
])
def test_none_and_what_was_never_initialised_raise_and_do_not_crash(code):
    code = f"import poolio\ntry:\n    {code}\nexcept Exception:\n    pass"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# --- the end of the stream --------------------------------------------------------------------------------


def test_decode_last_of_line_delivers_or_refuses():
    for last, expected in (("deliver", b"end"), ("refuse", None)):
        codec = poolio.Delimited(b"\n", last=last)
        assert codec.feed(b"line\nend") == [b"line"]
        if expected is None:
            with pytest.raises(asyncio.IncompleteReadError) as raised:
                codec.decode_last(codec.chain)
            assert raised.value.partial == b"end"
        else:
            assert codec.decode_last(codec.chain) == expected
        assert codec.decode_last(codec.chain) is None


@both_modes
def test_decode_last_of_line_too_large(too_large):
    codec = poolio.Delimited(b"\r\n", last="deliver", max_frame=3, too_large=too_large)
    assert codec.feed(b"a\r\nabcd") == [b"a"]
    if too_large == "raise":
        with pytest.raises(poolio.FrameTooLarge):
            codec.decode_last(codec.chain)
    else:
        assert codec.decode_last(codec.chain) is None
        assert (codec.discarded, len(codec.chain)) == (1, 0)


@pytest.mark.parametrize("codec, rest", [
    (poolio.LengthPrefixed(), b"\0\0\0\4abc"), (poolio.LengthPrefixed(), b"\0"), (poolio.Varint(), b"\x80"),
    (poolio.FixedSize(4), b"abc"),
])
def test_decode_last_in_mid_frame_raises_with_what_is_there(codec, rest):
    assert codec.feed(rest) == []
    with pytest.raises(asyncio.IncompleteReadError) as raised:
        codec.decode_last(codec.chain)
    assert (raised.value.partial, raised.value.expected, len(codec.chain)) == (rest, None, 0)


# --- codecs of one's own ------------------------------------------------------------------------------------


class Pairs(poolio.Codec):
    """A byte that says how many bytes follow, twice: a tuple of two bytes objects."""

    def __init__(self, **options):
        super().__init__(**options)
        self.calls = 0

    def decode(self, chain):
        self.calls += 1
        key = chain.peek(1)[0]
        if key == 0xFF:
            raise poolio.FrameError("no pair")
        if len(chain) < 2 + key:
            chain.wanted = 2 + key
            return None
        value = chain.peek(2 + key)[1 + key]
        if len(chain) < 2 + key + value:
            chain.wanted = 2 + key + value
            return None
        chain.advance(1)
        first = bytes(chain.take(key))
        chain.advance(1)
        return first, bytes(chain.take(value))


def pair(key, value):
    return bytes([len(key)]) + key + bytes([len(value)]) + value


def test_own_codec_returns_objects_in_every_split():
    stream = pair(b"a", b"bc") + pair(b"", b"") + pair(b"def", b"")
    for first in range(len(stream)):
        for second in range(first, len(stream)):
            codec = Pairs()
            got = codec.feed(stream[:first]) + codec.feed(stream[first:second]) + codec.feed(stream[second:])
            assert got == [(b"a", b"bc"), (b"", b""), (b"def", b"")]


def test_own_codec_is_not_asked_below_wanted():
    codec = Pairs()
    stream = pair(b"a" * 50, b"b" * 50)
    got = [codec.feed(stream[at:at + 1]) for at in range(len(stream))]
    assert got[-1] == [(b"a" * 50, b"b" * 50)]
    assert codec.calls == 3


def test_own_codec_raising_behind_good_frames_raises_next():
    codec = Pairs()
    assert codec.feed(pair(b"a", b"b") + b"\xff" + pair(b"c", b"d")) == [(b"a", b"b")]
    for _ in range(2):
        with pytest.raises(poolio.FrameError, match="no pair"):
            codec.feed(b"")
    codec.chain.advance(1)              # it knows better than the library where to go on
    assert codec.feed(b"") == [(b"c", b"d")]


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_own_codec_raising_once_goes_on(error):
    class Once(poolio.Codec):
        raised = False

        def decode(self, chain):
            if not self.raised:
                self.raised = True
                raise error
            return bytes(chain.take(1))

    codec = Once()
    with pytest.raises(error):
        codec.feed(b"ab")
    assert codec.feed(b"c") == [b"a", b"b", b"c"]


def test_own_codec_returning_falsy_objects_returns_them():
    class Numbers(poolio.Codec):
        def decode(self, chain):
            return chain.take(1)[0]

    assert Numbers().feed(b"\0\1\0") == [0, 1, 0]


def test_own_codec_around_another_reuses_its_rules():
    class Text(poolio.Delimited):
        def decode(self, chain):
            line = super().decode(chain)
            return None if line is None else line.decode()

        def encode(self, text):
            return super().encode(text.encode())

    codec = Text(b"\n")
    assert codec.feed(codec.encode("héllo")) == ["héllo"]
    assert [bytes(piece) for piece in codec.gather(["hi"])] == [b"hi\n"]


def test_own_codec_without_methods_says_so():
    codec = poolio.Codec()
    assert codec.feed(b"") == []
    with pytest.raises(NotImplementedError, match=r"Codec.*decode"):
        codec.feed(b"x")
    with pytest.raises(NotImplementedError, match=r"Codec.*encode"):
        codec.encode(b"x")


def test_own_codec_not_calling_init_still_decodes():
    class Silent(poolio.Codec):
        def __init__(self):
            pass

        def decode(self, chain):
            return bytes(chain.take(1))

    assert Silent().feed(b"ab") == [b"a", b"b"]


@all_codecs
def test_codec_of_two_chains_keeps_them_apart(kind):
    @settings(quick, max_examples=40)
    @given(st.data())
    def holds(data):
        rules = data.draw(RULES[kind])
        streams = [data.draw(well_formed(kind, rules)) for _ in range(2)]
        reads = [iter(pieces_of(stream, data.draw(CUTS))) for stream in streams]
        codec, chains, parsed = rules.codec(), [poolio.Chain(), poolio.Chain()], [Parsed(), Parsed()]
        for turn in data.draw(st.lists(st.booleans(), min_size=60, max_size=60)):
            chains[turn].append(next(reads[turn], b""))
            decode_what_is_there(codec, chains[turn], parsed[turn])
        for turn in (0, 1):
            for read in reads[turn]:
                chains[turn].append(read)
            decode_what_is_there(codec, chains[turn], parsed[turn])
        expected = [rules.parse(stream) for stream in streams]
        assert [one.frames for one in parsed] == [one.frames for one in expected]
        assert codec.discarded == sum(one.discarded for one in expected)

    holds()


def decode_what_is_there(codec, chain, parsed):
    try:
        while (frame := codec.decode(chain)) is not None:
            parsed.frames.append(bytes(frame))
    except poolio.FrameError as error:
        parsed.error = type(error)


def test_codec_and_chain_dropped_in_a_cycle_give_all_back(pool):
    class Own(poolio.LengthPrefixed):
        pass

    codec = Own()
    codec.me = codec
    codec.feed(pool.from_bytes(b"\0\0\0\7abc"))
    assert pool.statistics().live_bytes == 7
    del codec
    gc.collect()
    assert pool.statistics().live_bytes == 0
