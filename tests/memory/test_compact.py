"""What stays in a chain keeps little memory: small rests move out of their slabs."""

import pytest
from kit.chains import Waiting, content_of, exhaust
from kit.memory import SMALL_SLAB

import poolio


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


@pytest.mark.parametrize("size, moves", [
    (SMALL_SLAB // 8 - 1, True), (SMALL_SLAB // 8, False), (SMALL_SLAB // 4, False),
])
def test_rest_moves_below_an_eighth_of_its_slab(make_pool, size, moves):
    pool, codec = make_pool(slab_size=SMALL_SLAB), Waiting()
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
    pool, codec, data = make_pool(slab_size=SMALL_SLAB), Waiting(), b""
    for size in (1, 3000, 1, 1, 2000, 1, 1, 1, 900, 5):
        data += bytes([size % 251]) * size
        codec.feed(pool.from_bytes(data[-size:]))
        codec.chain.check()
        assert content_of(codec.chain) == data
    assert pool.statistics().copied_bytes <= 1 + 1 + 1 + 1 + 1 + 1 + 5 + 900 + 8


def test_rest_at_the_limit_still_moves(make_pool):
    pool, codec = make_pool(slab_size=SMALL_SLAB, max_bytes=SMALL_SLAB), Waiting()
    buf = pool.from_bytes(b"rest")
    held = exhaust(pool)
    codec.feed(buf)
    buf.release()
    assert pool.statistics().unpooled_bytes == 4
    assert content_of(codec.chain) == b"rest"
    held.clear()
