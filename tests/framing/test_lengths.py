"""LengthPrefixed and Varint: lengths that are huge, too small or not yet come reserve no memory."""

import pytest
from kit.memory import SMALL_SLAB
from kit.splits import both_modes

import poolio

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
    pool = make_pool(slab_size=SMALL_SLAB)
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
    assert pool.statistics().reserved_bytes <= 2 * SMALL_SLAB
    assert pool.statistics().live_bytes <= 16


def test_length_within_the_limit_reserves_nothing_before_it_comes(make_pool):
    pool = make_pool()
    codec = poolio.LengthPrefixed(max_frame=2**31)
    assert codec.feed(pool.from_bytes(b"\x7f\xff\xff\xffabc")) == []
    figures = pool.statistics()
    assert (figures.live_bytes, figures.oversize_bytes, codec.chain.wanted) == (7, 0, 2**31 + 3)


def test_discarded_frame_is_dropped_as_it_comes(make_pool):
    pool, codec = make_pool(slab_size=SMALL_SLAB), poolio.LengthPrefixed(max_frame=10, too_large="discard")
    assert codec.feed(pool.from_bytes((1_000_000).to_bytes(4, "big"))) == []
    for _ in range(500):
        assert codec.feed(pool.from_bytes(b"\0" * 2000)) == []
        assert pool.statistics().live_bytes == 0
    assert codec.feed(pool.from_bytes(b"\0\0\0\1x")) == [b"x"]
    assert codec.discarded == 1


@pytest.mark.parametrize("too_small, counted", [(0, 4), (3, 4)])
def test_length_below_what_it_counts_raises_and_names_both(too_small, counted):
    codec = poolio.LengthPrefixed(2, offset=2, counts="frame")
    with pytest.raises(poolio.FrameError, match=f"says {too_small}.*{counted} bytes"):
        codec.feed(b"xx" + too_small.to_bytes(2, "big"))
