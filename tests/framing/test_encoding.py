"""Codec.encode() and gather(): what is written is read back the same, and what would not be is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.splits import RULES, SIZES, body_of, codecs_of_bodies, quick

import poolio


@codecs_of_bodies
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
