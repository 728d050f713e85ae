"""Codecs: which memory a frame lies in, that frames share no byte, and that rests of frames pin little."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.memory import SMALL_SLAB
from kit.reference import buffers_in
from kit.splits import CUTS, RULES, agree, all_codecs, quick, reads_of, well_formed, zeroing_modes

import poolio


@all_codecs
@zeroing_modes
def test_frames_written_to_leave_later_frames_alone(kind, zeroing):
    def overwrite(frames):
        for buf in buffers_in(frames):
            if not buf.readonly:
                buf.fill(0xEE)

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
        pool, codec, frames = poolio.Pool(slab_size=SMALL_SLAB), rules.codec(), []
        for read in reads_of(pool, data.draw(well_formed(kind, rules)), data.draw(CUTS)):
            try:
                frames += buffers_in(codec.feed(read))
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
    pool = make_pool(slab_size=SMALL_SLAB, max_bytes=2 * SMALL_SLAB)
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
