"""What a peer, a log or a pickle is shown: the bytes that are meant, and none that lie beside or were there before."""

import asyncio
import pickle

import pytest
from kit.chains import chain_of
from kit.pairs import PooledRecorder, linked, on, received_by
from kit.wires import OURS, eventually

import poolio
from poolio.streams.protocol import StreamCore

SECRET = b"correct horse battery staple"


def soil(pool=None):
    """Leave secrets all over the memory that comes next."""
    pool = pool or poolio.default_pool()
    dropped = [pool.from_bytes(SECRET * (size // len(SECRET))) for size in (100, 1000, 4096, 16_384, 65_536) * 4]
    del dropped


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_of_a_slice_has_none_of_its_neighbours(pool, protocol):
    buf = pool.from_bytes(SECRET + b"mine" + SECRET)
    piece = buf[len(SECRET):-len(SECRET)]
    pickled = pickle.dumps(piece, protocol)
    assert (pickle.loads(pickled), SECRET in pickled) == (b"mine", False)


def test_pickle_out_of_band_shows_the_slice_alone(pool):
    buf = pool.from_bytes(SECRET + b"mine" + SECRET)
    shown = []
    pickled = pickle.dumps(buf[len(SECRET):-len(SECRET)], 5, buffer_callback=shown.append)
    assert SECRET not in pickled
    assert [bytes(one.raw()) for one in shown] == [b"mine"]
    for one in shown:
        one.release()


def errors():
    """Name -> what raises the error that a peer's bytes lead to."""
    def fed(codec, data):
        return lambda: codec.feed(poolio.from_bytes(data))

    released = poolio.from_bytes(SECRET)
    released.release()
    small = poolio.Pool(slab_size=4096, max_bytes=4096)
    return {
        "frame too large": fed(poolio.LengthPrefixed(1, max_frame=4), b"\x1c" + SECRET),
        "line too long": fed(poolio.Delimited(b"\n", max_frame=4), SECRET),
        "length below": fed(poolio.LengthPrefixed(1, counts="frame"), b"\0" + SECRET),
        "no mark": fed(poolio.Marked(), SECRET),
        "string without an end": fed(poolio.Marked(), b"$2\r\n" + SECRET),
        "no count": fed(poolio.Marked(), b"*" + SECRET),
        "no length": fed(poolio.LineAndBody(0), SECRET + b"\r\n"),
        "body without an end": fed(poolio.LineAndBody(0), b"2\r\n" + SECRET),
        "varint": fed(poolio.Varint(), b"\xff" * 10 + SECRET),
        "released": released.tobytes,
        "exhausted": lambda: small.from_bytes(SECRET * 300),
        "index": lambda: poolio.from_bytes(SECRET).read_u64be(25),
        "no integer": lambda: int(poolio.from_bytes(SECRET)),
        "no integer in a chain": lambda: chain_of(poolio.default_pool(), SECRET, b"\n").take_int(b"\n"),
        "no integer, and no end": lambda: chain_of(poolio.default_pool(), SECRET).take_int(b"\n"),
        "no separator in a chain": lambda: chain_of(poolio.default_pool(), SECRET).take_until(b"\n", 4),
        "index of a chain": lambda: chain_of(poolio.default_pool(), SECRET)[100],
        "not found": lambda: poolio.from_bytes(SECRET).index(b"Tr0ub4dor"),
    }


@pytest.mark.parametrize("raises", errors().values(), ids=errors())
def test_errors_name_sizes_and_show_no_memory(raises):
    with pytest.raises((poolio.PoolError, ValueError, IndexError)) as caught:
        raises()
    said = f"{caught.value} {caught.value!r}"
    assert not any(word in said for word in SECRET.decode().split())


@on(*OURS)
async def test_reprs_and_reports_show_no_memory(make_pool):
    pool = make_pool()
    protocol, peer = await linked(lambda: poolio.StreamProtocol(pool=pool))
    with peer:
        peer.sendall(SECRET)
        await eventually(lambda: len(protocol.reader.chain))
        assert isinstance(protocol, StreamCore)
        protocol.writer.write(pool.from_bytes(SECRET * 100_000))        # some of it waits
        buf = pool.from_bytes(SECRET)
        shown = [repr(one) for one in (
            buf, buf[:3], buf.freeze(), pool, protocol.reader, protocol.reader.chain, protocol.writer,
            protocol.transport)]
        shown += [pool.report(), str(pool.statistics()), repr(buf.slab)]
        assert not any(word in one for one in shown for word in SECRET.decode().split())
        del buf
        protocol.transport.abort()
        await asyncio.sleep(0)
        await protocol.wait_closed()
        protocol.reader.chain.clear()


CODECS = [
    poolio.LengthPrefixed(1), poolio.LengthPrefixed(2), poolio.LengthPrefixed(4, byteorder="little"),
    poolio.LengthPrefixed(8, counts="frame"), poolio.LengthPrefixed(3, adjustment=-7), poolio.Varint(),
    poolio.Delimited(b"\r\n"),
]


SIZES = (0, 1, 127, 128, 200, 4096, 4097, 70_000)


@pytest.mark.parametrize("codec, size", [
    (codec, size) for codec in CODECS for size in SIZES if size < 256 ** getattr(codec, "width", 8)])
def test_frames_written_over_soiled_memory_send_no_byte_of_it(codec, size):
    body = b"." * size
    soil()
    encoded = bytes(codec.encode(body))
    soil()
    gathered = b"".join(map(bytes, codec.gather([body[:size // 3], body[size // 3:]])))
    assert encoded == gathered
    assert codec.feed(encoded) == [body]
    assert len(encoded) - size <= 10
    assert not any(encoded[start:start + 4] in SECRET for start in range(len(encoded) - 3))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("codec, frame_of, most", [
    (poolio.Marked(), lambda body: [[body, 5, None, ValueError("x"), "ok"]], 50),
    (poolio.LineAndBody(0), lambda body: [(None,), body], 10),
], ids=["Marked", "LineAndBody"])
def test_values_and_lines_written_over_soiled_memory_send_no_byte_of_it(codec, frame_of, most, size):
    body = b"." * size
    soil()
    encoded = bytes(codec.encode(*frame_of(body)))
    soil()
    assert b"".join(map(bytes, codec.gather(frame_of(body)))) == encoded
    assert body in encoded
    assert len(encoded) - size <= most
    assert not any(encoded[start:start + 4] in SECRET for start in range(len(encoded) - 3))


@on(*OURS)
async def test_frame_built_in_soiled_memory_sends_what_was_written_alone():
    protocol, peer = await linked(poolio.StreamProtocol)
    codec = poolio.Varint()
    with peer:
        for size in (0, 1, 200, 3000, 9000):
            soil()
            with protocol.writer.frame(codec) as frame:
                for start in range(0, size, 100):
                    frame.write(bytearray(b"." * min(100, size - start)))
            expected = bytes(codec.encode(b"." * size))
            assert await received_by(peer, len(expected)) == expected
        protocol.transport.abort()


@on(*OURS)
async def test_received_over_soiled_memory_is_exactly_what_was_sent(make_pool):
    """Also as slices, views and the memory of an unfinished frame that is put together from bytes."""
    pool = make_pool()
    protocol, peer = await linked(lambda: poolio.StreamProtocol(pool=pool))
    with peer:
        for size in (1, 7, 8, 1000):
            soil(pool)
            peer.sendall(bytes([size % 256]) * size)
            await eventually(lambda size=size: len(protocol.reader.chain) == size)
            buf = await protocol.reader.read(1 << 20)
            assert bytes(buf) == bytes([size % 256]) * size
            assert (len(memoryview(buf)), len(buf[:1 << 20])) == (size, size)
            with pytest.raises(IndexError):
                buf[size]
            with pytest.raises(IndexError):
                buf.read_u8(size)
            del buf
        for _ in range(50):
            soil(pool)
            peer.sendall(b"z")
            await eventually(lambda: len(protocol.reader.chain))
            await asyncio.sleep(0)
        peer.sendall(b"z" * 50)
        assert bytes(await protocol.reader.readexactly(100)) == b"z" * 100
        protocol.transport.abort()


@on(*OURS)
async def test_pieces_that_wait_in_blocks_send_nothing_of_what_lay_there():
    """Blocks of the write queue are not zeroed: only what was written into them goes out."""
    protocol, peer = await linked(PooledRecorder)
    with peer:
        rests = [SECRET * 150 for _ in range(200)]
        del rests
        protocol.transport.write(bytes(8 << 20))
        for _ in range(3000):
            protocol.transport.write(bytearray(b"..."))
        assert protocol.transport.get_write_buffer_size() > 9000
        assert await received_by(peer, (8 << 20) + 9000) == bytes(8 << 20) + b"..." * 3000
        protocol.transport.abort()
        await protocol.ended
