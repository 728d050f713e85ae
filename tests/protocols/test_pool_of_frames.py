"""A frame that is written lies in the pool of its connection: the pool's promises hold for it, by every way to write.

A way takes (pool, codec, body), opens a connection on that pool, writes the body as one frame, and returns what the
peer has received.
"""

import contextlib
import os

import pytest
from kit.memory import SLAB, SMALL_SLAB, dirty
from kit.pairs import linked, on, received_by
from kit.wires import OURS

import poolio

BODY = 20
CODECS = {
    "length": poolio.LengthPrefixed, "varint": poolio.Varint, "lines": lambda: poolio.Delimited(b"\r\n"),
    "fixed": lambda: poolio.FixedSize(BODY), "mqtt": lambda: poolio.Varint(offset=0, header="keep", width=4),
    "marked": poolio.Marked, "line": lambda: poolio.LineAndBody(0),
}
every_loop = on("asyncio", *OURS)


class OwnCodec(poolio.Codec):
    """One of a user's own, in Python: its encode() takes the pool that it is given."""

    def encode(self, *pieces, pool=None):
        return (pool or poolio.default_pool()).concat(pieces)


def codec_length(codec, body):
    """Bytes of this frame."""
    extra = {poolio.LengthPrefixed: 4, poolio.Varint: 1, poolio.Delimited: 2, poolio.Marked: 7, poolio.LineAndBody: 6}
    return extra.get(type(codec), 0) + len(body)


def parts_of(codec, body):
    """What its write_frame() and encode() take for one frame."""
    if isinstance(codec, poolio.Marked):
        return [body]
    return [(None,), body] if isinstance(codec, poolio.LineAndBody) else [body[:7], body[7:]]


def framed(pool, codec):
    class Framed(poolio.FramedProtocol):
        pass

    Framed.pool, Framed.codec = pool, codec
    return Framed


@contextlib.asynccontextmanager
async def connection(factory):
    """(protocol, its peer's plain socket); lost at the end."""
    protocol, peer = await linked(factory)
    with peer:
        try:
            yield protocol, peer
        finally:
            protocol.transport.abort()
            await received_by(peer)


async def by_protocol(pool, codec, body):
    async with connection(framed(pool, codec)) as (protocol, peer):
        protocol.write_frame(*parts_of(codec, body))
        return await received_by(peer, codec_length(codec, body))


async def by_writer(pool, codec, body):
    async with connection(lambda: poolio.StreamProtocol(pool=pool)) as (protocol, peer):
        protocol.writer.write_frame(codec, *parts_of(codec, body))
        return await received_by(peer, codec_length(codec, body))


async def by_builder(pool, codec, body):
    async with connection(lambda: poolio.StreamProtocol(pool=pool)) as (protocol, peer):
        with protocol.writer.frame(codec) as frame:
            frame.write(body[:4])
            frame.reserve(len(body) - 4)[:] = body[4:]
        return await received_by(peer, codec_length(codec, body))


async def by_encode(pool, codec, body):
    async with connection(framed(pool, codec)) as (protocol, peer):
        protocol.write(codec.encode(*parts_of(codec, body), pool=pool))
        return await received_by(peer, codec_length(codec, body))


async def by_gather(pool, codec, body):
    async with connection(framed(pool, codec)) as (protocol, peer):
        protocol.writelines(codec.gather(parts_of(codec, body), pool=pool))
        return await received_by(peer, codec_length(codec, body))


WAYS = {way.__name__: way for way in (by_protocol, by_writer, by_builder, by_encode, by_gather)}
PAIRS = [(way, kind) for way in WAYS for kind in (*CODECS, "own")
         if way != "by_builder" or kind in ("length", "varint")]
every_way = pytest.mark.parametrize("way, kind", PAIRS)


def codec_of(kind):
    return CODECS.get(kind, OwnCodec)()


def random_body():
    """Without CR: a body with the delimiter of "lines" in it can't be a frame of theirs."""
    return os.urandom(BODY).replace(b"\r", b"x")


def shown_by(pool, size=SLAB):
    """What unsafe allocations of a whole slab show."""
    held = [pool.alloc_unsafe(SMALL_SLAB // 4) for _ in range(4 * size // SMALL_SLAB)]
    return b"".join(map(bytes, held))


@every_way
@every_loop
async def test_frame_of_on_release_pool_is_wiped_and_shown_to_nobody(way, kind, make_pool):
    pool, codec, secret = make_pool(zeroing="on_release"), codec_of(kind), random_body()
    assert secret in await WAYS[way](pool, codec, secret)
    assert pool.statistics().reserved_bytes > 0, "the frame did not lie in this pool"
    assert secret[4:] not in shown_by(pool)
    assert shown_by(pool) == bytes(SLAB)


@pytest.mark.parametrize("way, kind", [pair for pair in PAIRS if pair[0] in ("by_protocol", "by_writer", "by_builder")])
@every_loop
async def test_frame_leaves_nothing_in_the_default_pool(way, kind, make_pool):
    """Whose memory alloc_unsafe() shows to anybody."""
    secret = random_body()
    before = poolio.default_pool().statistics().reuses
    await WAYS[way](make_pool(zeroing="on_release"), codec_of(kind), secret)
    assert poolio.default_pool().statistics().reuses == before
    assert secret not in shown_by(poolio.default_pool(), 4 * SLAB)


@every_way
@every_loop
async def test_frame_of_on_alloc_pool_lies_there(way, kind, make_pool):
    pool, codec, body = make_pool(zeroing="on_alloc"), codec_of(kind), random_body()
    dirty(pool, SMALL_SLAB)
    dirty(poolio.default_pool(), SMALL_SLAB)
    before = pool.statistics().reuses
    assert body in await WAYS[way](pool, codec, body)
    assert pool.statistics().reuses > before, "the frame did not lie in this pool"


@pytest.mark.parametrize("kind", ("length", "varint"))
@every_loop
async def test_reserved_bytes_of_a_frame_in_on_alloc_pool_are_zeros(kind, make_pool):
    pool = make_pool(zeroing="on_alloc")
    dirty(pool, 3 * SMALL_SLAB)
    dirty(poolio.default_pool(), 3 * SMALL_SLAB)
    async with connection(lambda: poolio.StreamProtocol(pool=pool)) as (protocol, _):
        with contextlib.suppress(ZeroDivisionError), protocol.writer.frame(codec_of(kind)) as frame:
            for size in (100, 4000, 2 * SMALL_SLAB):
                assert frame.reserve(size) == bytes(size)
            raise ZeroDivisionError


@every_way
@every_loop
async def test_frame_counts_against_max_bytes(way, kind, make_pool):
    pool, codec, body = make_pool(slab_size=SMALL_SLAB, max_bytes=2 * SMALL_SLAB), codec_of(kind), random_body()
    held = [pool.alloc_unsafe(SMALL_SLAB // 4) for _ in range(8)]
    with pytest.raises(poolio.PoolExhausted):
        await WAYS[way](pool, codec, body)
    held.clear()
    assert body in await WAYS[way](pool, codec, body)


@every_loop
async def test_large_body_is_not_copied_only_its_header_lies_in_the_pool(make_pool):
    pool, codec, body = make_pool(), poolio.LengthPrefixed(), os.urandom(100_000)
    async with connection(framed(pool, codec)) as (protocol, peer):
        protocol.write_frame(body)
        assert await received_by(peer, 4 + len(body)) == len(body).to_bytes(4, "big") + body
    figures = pool.statistics()
    assert (figures.slabs, figures.copied_bytes) == (1, 0)


def test_pool_of_encode_is_a_pool():
    for codec in (poolio.LengthPrefixed(), poolio.Varint(), poolio.Delimited(b"\n"), poolio.FixedSize(1)):
        with pytest.raises(TypeError, match=r"must be a poolio\.Pool or None"):
            codec.encode(b"x", pool=7)
        with pytest.raises(TypeError):
            codec.gather([b"x"], pool=7)


def test_codec_of_ones_own_without_pool_is_called_without():
    class Plain(poolio.Codec):
        def encode(self, *pieces):
            return b"".join(pieces) + b"."

    assert Plain().gather([b"a", b"b"]) == [b"ab."]


def test_overridden_encode_is_what_gather_sends(make_pool):
    class Shouting(poolio.LengthPrefixed):
        def encode(self, *pieces, pool=None):
            return super().encode(*(bytes(piece).upper() for piece in pieces), pool=pool)

    pool = make_pool()
    assert Shouting().gather([b"a", b"b"], pool=pool) == [b"\0\0\0\2AB"]
    assert pool.statistics().reserved_bytes > 0
