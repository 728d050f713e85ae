"""StreamWriter and FrameBuilder: what is sent, when drain() waits, and how a stream ends. Where asyncio promises it
too, asyncio's own writer runs the same test.
"""

import asyncio
import contextlib
import gc
import socket
import subprocess
import sys
import warnings

import pytest
from kit.faults import reset_at_close
from kit.pairs import collect_errors, on, on_ends, pair, turns
from kit.wires import BLOCK, LOOPS, OURS, eventually, run

import poolio

pytestmark = pytest.mark.usefixtures("default_pool_is_left_as_it_was")
HEADER = 4
IN_BLOCK = 4096 - HEADER        # what the first block of a FrameBuilder holds behind the header
BOTH = ("asyncio", *OURS[:1])   # a transport that is not poolio's, and one that is


async def fill(writer):
    """More than the kernel takes; returns how much."""
    writer.write(BLOCK)
    await turns()
    return len(BLOCK)


# --- writing --------------------------------------------------------------------------------------------------

@on(*LOOPS)
async def test_write_takes_whatever_has_bytes_as_it_is_now(make_pool):
    pool = make_pool()
    changing = bytearray(b"bytearray")
    async with pair() as ((_, writer), (reader, _)):
        buf = pool.from_bytes(b"Buffer")
        for data in (b"bytes", changing, memoryview(b"-view-")[1:5], buf, b""):
            writer.write(data)
        changing[:] = b"?" * 9
        buf.release()
        assert await reader.readexactly(24) == b"bytesbytearrayviewBuffer"


@on_ends
async def test_writelines_sends_in_order(streams):
    async with pair(streams) as ((_, writer), (reader, _)):
        writer.writelines([b"one", b"", bytearray(b"two")])
        writer.writelines([])
        writer.writelines(piece for piece in (b"three", memoryview(b"four")))
        assert await reader.readexactly(15) == b"onetwothreefour"


@on(*LOOPS)
async def test_large_buffer_goes_out_unchanged_and_ends(make_pool):
    pool = make_pool()
    async with pair(limit=1 << 20) as ((_, writer), (reader, _)):
        writer.write(pool.from_bytes(BLOCK[:1_000_000]))
        writer.writelines([pool.from_bytes(BLOCK[1_000_000:1_500_000]), pool.from_bytes(BLOCK[1_500_000:2_000_000])])
        assert await reader.readexactly(2_000_000) == BLOCK[:2_000_000]
        await eventually(lambda: pool.statistics().live_bytes == 0)


@on(*LOOPS)
async def test_write_of_something_else_raises():
    async with pair() as ((_, writer), _):
        for wrong in ("text", 5, None):
            with pytest.raises(TypeError):
                writer.write(wrong)


# --- drain ----------------------------------------------------------------------------------------------------

@on_ends
async def test_drain_nothing_to_wait_for_no_switch_of_tasks(streams):
    async with pair(streams) as ((_, writer), _):
        switched = []
        asyncio.get_running_loop().call_soon(switched.append, True)
        writer.write(b"abc")
        assert await writer.drain() is None
        assert switched == []
        await turns()


@on_ends
async def test_drain_above_high_water_waits_until_it_is_sent(streams):
    async with pair(streams) as ((_, writer), (reader, _)):
        size = await fill(writer)
        tasks = [asyncio.create_task(writer.drain()) for _ in range(10)]
        await asyncio.sleep(0.005)
        assert not any(task.done() for task in tasks)
        assert await reader.readexactly(size) == BLOCK[:size]
        assert await asyncio.gather(*tasks) == [None] * 10
        await writer.drain()


@on_ends
async def test_drain_cancelled_the_others_wait_on(streams):
    async with pair(streams) as ((_, writer), (reader, _)):
        size = await fill(writer)
        first, second = (asyncio.create_task(writer.drain()) for _ in range(2))
        await turns()
        first.cancel()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.drain(), 0.005)
        assert first.cancelled()
        assert not second.done()
        await reader.readexactly(size)
        await second


async def await_in_another_loop(call):
    """A task can't wait for a future of another loop: it gets a RuntimeError, and whoever waits there waits on."""
    async def misuse():
        await call()

    def run_it():
        with pytest.raises(RuntimeError):
            asyncio.run(misuse())

    await asyncio.get_running_loop().run_in_executor(None, run_it)


@on_ends
async def test_drain_in_another_loop_is_refused_and_the_others_wait_on(streams):
    async with pair(streams) as ((_, writer), (reader, _)):
        size = await fill(writer)
        tasks = [asyncio.create_task(writer.drain()) for _ in range(2)]
        await turns()
        await await_in_another_loop(writer.drain)
        assert not any(task.done() for task in tasks)
        assert await reader.readexactly(size) == BLOCK[:size]
        assert await asyncio.gather(*tasks, writer.drain()) == [None] * 3


@on(*LOOPS)
async def test_wait_closed_in_another_loop_is_refused_and_the_others_wait_on():
    async with pair() as ((_, writer), _):
        waiting = asyncio.create_task(writer.wait_closed())
        await turns()
        await await_in_another_loop(writer.wait_closed)
        assert not waiting.done()
        writer.close()
        await waiting


@on_ends
async def test_read_in_another_loop_is_refused_and_the_stream_can_be_read(streams):
    async with pair(streams) as ((_, writer), (reader, _)):
        await await_in_another_loop(lambda: reader.readexactly(5))
        writer.write(b"12345")
        assert await reader.readexactly(5) == b"12345"


CANCELLED_DRAIN = """
import asyncio, poolio
async def main():
    accepted = asyncio.get_running_loop().create_future()
    server = await poolio.start_server(lambda *streams: accepted.set_result(streams), "127.0.0.1", 0)
    _, writer = await poolio.open_connection(*server.sockets[0].getsockname())
    _, other = await accepted
    task = asyncio.{kind}(writer.drain(), loop=asyncio.get_running_loop())
    task.cancel()
    await asyncio.wait([task])
    await other.drain()
    await asyncio.{kind}(other.drain(), loop=asyncio.get_running_loop())
    writer.drain().close()
    await other.drain()
    writer.close(), other.close()
    await asyncio.gather(writer.wait_closed(), other.wait_closed())
asyncio.run(main())
"""


@pytest.mark.skipif(not OURS, reason="open_connection() is poolio's here")
@pytest.mark.parametrize("kind", ("Task", "tasks._PyTask"))
def test_drain_cancelled_before_it_has_begun_every_other_one_works(kind):
    """What drain() returns when there is nothing to wait for is one object for all streams: hence a process."""
    code = CANCELLED_DRAIN.replace("{kind}", kind)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert done.stderr == ""


@on(*LOOPS)
async def test_drain_is_taken_by_what_takes_a_coroutine():
    async with pair() as ((_, writer), (_, other)):
        await asyncio.gather(writer.drain(), other.drain(), writer.drain())
        await asyncio.wait_for(writer.drain(), 5)
        await asyncio.create_task(writer.drain())
        async with asyncio.TaskGroup() as group:
            group.create_task(writer.drain())
            group.create_task(other.drain())


def test_drain_of_a_stream_is_traced_it_works_as_well():
    """With a trace function the interpreter awaits in another way: __next__() instead of am_send."""
    async def main():
        async with pair() as ((_, writer), (reader, _)):
            for _ in range(2):
                writer.write(b"abc")
                await writer.drain()
                assert await reader.readexactly(3) == b"abc"

    before = sys.gettrace()
    sys.settrace(lambda *arguments: None)
    try:
        run("asyncio", main)
    finally:
        sys.settrace(before)


@on_ends
async def test_drain_after_close_raises_connection_reset(streams):
    errors = collect_errors()
    async with pair(streams) as ((_, writer), _):
        writer.close()
        assert writer.is_closing()
        writer.write(b"nobody gets this")
        with pytest.raises(ConnectionResetError):
            await writer.drain()
    assert errors == []


@on_ends
async def test_drain_connection_is_lost_raises_its_error(streams):
    async with pair(streams) as ((_, writer), (_, other)):
        reset_at_close(other.get_extra_info("socket"))
        await fill(writer)
        tasks = [asyncio.create_task(writer.drain()) for _ in range(3)]
        await turns()
        other.transport.abort()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert {isinstance(error, ConnectionError) for error in ended} == {True}
        with pytest.raises(ConnectionError):
            await writer.drain()


@on_ends
async def test_drain_readers_error_is_raised(streams):
    async with pair(streams) as ((reader, writer), _):
        reader.set_exception(BrokenPipeError())
        with pytest.raises(BrokenPipeError):
            await writer.drain()


@pytest.mark.parametrize("streams", (asyncio, poolio), ids=("asyncio", "poolio"))
@on(*LOOPS)
async def test_drain_in_an_endless_loop_ends_when_the_peer_has_gone(streams):
    """The peer is no asyncio program; nothing but drain() gives the loop a turn."""
    errors = collect_errors()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = asyncio.get_running_loop().run_in_executor(None, listener.accept)
        _, writer = await streams.open_connection(*listener.getsockname())
        (await accepting)[0].close()
        with pytest.raises(ConnectionError):
            while True:
                writer.write(b"line\n")
                await writer.drain()
                await asyncio.sleep(0)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    assert errors == []


# --- the end --------------------------------------------------------------------------------------------------

@on_ends
async def test_write_eof_ends_one_direction_only(streams):
    async with pair(streams) as ((client, client_writer), (reader, writer)):
        assert client_writer.can_write_eof()
        client_writer.write(b"question")
        client_writer.write_eof()
        assert await reader.read() == b"question"
        assert reader.at_eof()
        await asyncio.sleep(0.005)
        writer.write(b"answer")
        assert await client.readexactly(6) == b"answer"
        writer.close()
        assert await client.read() == b""


@on_ends
async def test_close_with_unsent_data_sends_all_of_it(streams):
    async with pair(streams) as ((_, writer), (reader, _)):
        size = await fill(writer)
        writer.close()
        assert writer.is_closing()
        closing = asyncio.create_task(writer.wait_closed())
        await turns()
        assert not closing.done()
        assert await reader.read() == BLOCK[:size]
        await closing


@on_ends
async def test_wait_closed_any_number_of_times(streams):
    async with pair(streams) as ((_, writer), _):
        writer.close()
        await asyncio.gather(writer.wait_closed(), writer.wait_closed())
        await writer.wait_closed()
        writer.close()


@on_ends
async def test_wait_closed_raises_the_error_of_the_connection_each_time(streams):
    async with pair(streams) as ((_, writer), (_, other)):
        waiting = asyncio.create_task(writer.wait_closed())
        reset_at_close(other.get_extra_info("socket"))
        other.transport.abort()
        for closing in (waiting, writer.wait_closed(), writer.wait_closed()):
            with pytest.raises(ConnectionResetError):
                await closing


@on(*LOOPS)
async def test_wait_closed_cancelled_the_others_wait_on():
    async with pair() as ((_, writer), _):
        first, second = (asyncio.create_task(writer.wait_closed()) for _ in range(2))
        await turns()
        first.cancel()
        await turns()
        assert first.cancelled()
        assert not second.done()
        writer.close()
        await second


@on_ends
async def test_closed_by_this_side_the_reader_is_at_its_end(streams):
    errors = collect_errors()
    async with pair(streams) as ((reader, writer), _):
        waiting = asyncio.create_task(reader.read(10))
        await turns()
        writer.close()
        await writer.wait_closed()
        assert await waiting == b""
        assert reader.at_eof()
        assert await reader.read() == b""
    assert errors == []


@on_ends
async def test_closed_with_unread_data_it_can_still_be_read(streams):
    async with pair(streams) as ((reader, writer), (_, other)):
        other.write(b"line\nunread")
        assert await reader.readline() == b"line\n"
        writer.close()
        await writer.wait_closed()
        assert await reader.read() == b"unread"


@pytest.mark.parametrize("streams", (asyncio, poolio), ids=("asyncio", "poolio"))
@on(*LOOPS)
async def test_dropped_open_warns_once_and_closes(streams):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = asyncio.get_running_loop().run_in_executor(None, listener.accept)
        reader, writer = await streams.open_connection(*listener.getsockname())
        peer, _ = await accepting
        with peer, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del writer
            gc.collect()
            assert len([one for one in caught if str(one.message).startswith("unclosed")]) == 1
            assert issubclass(caught[0].category, ResourceWarning)
            assert await reader.read() == b""
            peer.settimeout(5)
            assert await asyncio.get_running_loop().run_in_executor(None, peer.recv, 1) == b""


@pytest.mark.parametrize("loop_name", OURS)
def test_dropped_open_after_the_loop_was_closed_only_warns(loop_name):
    kept = []

    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            accepting = asyncio.get_running_loop().run_in_executor(None, listener.accept)
            kept.extend(await poolio.open_connection(*listener.getsockname()))
            kept.extend(await accepting)

    run(loop_name, main)
    with kept[2], warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del kept[:2]
        gc.collect()
        assert any("unclosed" in str(one.message) for one in caught)
        assert {one.category for one in caught} == {ResourceWarning}
        caught.clear()      # each has what it warns of
        gc.collect()


@on_ends
async def test_get_extra_info_names_both_ends(streams):
    async with pair(streams) as ((_, writer), (_, other)):
        assert writer.get_extra_info("sockname") == other.get_extra_info("peername")
        assert writer.get_extra_info("peername") == other.get_extra_info("sockname")
        assert writer.get_extra_info("socket").getsockname() == writer.get_extra_info("sockname")
        assert writer.get_extra_info("nothing", 5) == 5
        assert writer.get_extra_info("sslcontext") is None


@on(*OURS)
async def test_woken_tasks_writes_go_out_when_it_waits_or_ends():
    async def answers(reader, writer):
        for _ in range(2):
            writer.write(await reader.readexactly(1))
            writer.write(b"!")
            assert writer.transport.get_write_buffer_size() == 0

    async with pair() as ((client, client_writer), (reader, writer)):
        task = asyncio.create_task(answers(reader, writer))
        await turns()
        for letter in (b"a", b"b"):
            client_writer.write(letter)
            assert await client.readexactly(2) == letter + b"!"
        await task


# --- frames ---------------------------------------------------------------------------------------------------

CODECS = (
    poolio.LengthPrefixed(2), poolio.LengthPrefixed(4, byteorder="little"), poolio.LengthPrefixed(8, counts="frame"),
    poolio.Varint(), poolio.Delimited(b"\r\n"),
)
every_builder_codec = pytest.mark.parametrize("codec", CODECS[:4], ids=repr)


@pytest.mark.parametrize("codec", CODECS, ids=repr)
@on(*BOTH)
async def test_write_frame_is_what_frames_reads(codec):
    text = bytes(range(32, 127)) * 400
    async with pair(limit=1 << 20) as ((_, writer), (reader, _)):
        sent = [(b"",), (b"one",), (b"two ", bytearray(b"pieces")), (text[:5000], poolio.from_bytes(b"tail")), (text,)]
        for pieces in sent:
            writer.write_frame(codec, *pieces)
        frames = reader.frames(codec)
        for pieces in sent:
            assert await anext(frames) == b"".join(bytes(piece) for piece in pieces)
        with pytest.raises(TypeError, match=r"poolio\.Codec, not 'bytes'"):
            writer.write_frame(b"no codec", b"x")


@on(*BOTH)
async def test_write_frame_too_large_raises_and_sends_nothing():
    async with pair() as ((_, writer), (reader, _)):
        codec = poolio.LengthPrefixed(1)
        for size in (256, 5000):
            with pytest.raises(poolio.FrameTooLarge):
                writer.write_frame(codec, bytes(size))
        writer.write_frame(codec, b"fits")
        assert await reader.readexactly(5) == b"\4fits"


@pytest.mark.parametrize("size", (0, 1, 127, 128, 2048, 2049, IN_BLOCK - 1, IN_BLOCK, IN_BLOCK + 1, 4096, 4097, 16_384,
                                  100_000))
@pytest.mark.parametrize("step", (1000, 3000, 1 << 20))
@pytest.mark.parametrize("form", (bytes, bytearray, poolio.from_bytes), ids=("bytes", "bytearray", "Buffer"))
@on(*BOTH)
async def test_frame_of_any_size_in_any_pieces(size, step, form):
    async with pair(limit=1 << 20) as ((_, writer), (reader, _)):
        for codec in (poolio.LengthPrefixed(HEADER), poolio.Varint()):
            with writer.frame(codec) as frame:
                for start in range(0, size, step):
                    frame.write(form(BLOCK[start:min(start + step, size)]))
                assert len(frame) == size
            assert await anext(reader.frames(codec)) == BLOCK[:size]


@on(*BOTH)
async def test_frame_byte_by_byte_fills_blocks_exactly():
    codec = poolio.LengthPrefixed(HEADER)
    async with pair() as ((_, writer), (reader, _)):
        for size in (IN_BLOCK, IN_BLOCK + 1, IN_BLOCK + 4096, IN_BLOCK + 4097):
            with writer.frame(codec) as frame:
                for index in range(size):
                    frame.write(BLOCK[index:index + 1])
            assert await anext(reader.frames(codec)) == BLOCK[:size]


@every_builder_codec
@on(*BOTH)
async def test_frames_small_and_large_pieces_mixed(codec):
    async with pair(limit=1 << 20) as ((_, writer), (reader, _)):
        with writer.frame(codec) as frame:
            at = 0
            for size in (1, 3000, 2, 5000, 4000, 90, 4096, 0, 2048, 2049):
                frame.write(BLOCK[at:at + size])
                at += size
        assert await anext(reader.frames(codec)) == BLOCK[:at]


@on(*BOTH)
async def test_frame_large_buffer_is_frozen_not_copied_and_may_be_released(make_pool):
    pool = make_pool()
    async with pair(limit=1 << 20) as ((_, writer), (reader, _)):
        buf = pool.from_bytes(BLOCK[:50_000])
        codec = poolio.LengthPrefixed(4)
        with writer.frame(codec) as frame:
            frame.write(buf)
            assert buf.readonly
            buf.release()
        assert await anext(reader.frames(codec)) == BLOCK[:50_000]
        assert pool.statistics().copied_bytes == 0


@pytest.mark.parametrize("size", (10, 3000, 50_000))
@on(*BOTH)
async def test_frame_what_changes_later_is_sent_as_it_was(size):
    codec = poolio.LengthPrefixed(4)
    async with pair(limit=1 << 20) as ((_, writer), (reader, _)):
        changing, viewed = bytearray(BLOCK[:size]), poolio.from_bytes(BLOCK[:size])
        view = memoryview(viewed)
        with writer.frame(codec) as frame:
            frame.write(changing)
            frame.write(memoryview(changing))
            frame.write(viewed)
            changing[:] = view[:] = bytes(size)
        assert await anext(reader.frames(codec)) == BLOCK[:size] * 3
        view.release()


@on(*BOTH)
async def test_frame_block_raises_nothing_is_sent():
    codec = poolio.LengthPrefixed(4)
    async with pair() as ((_, writer), (reader, _)):
        with pytest.raises(ZeroDivisionError), writer.frame(codec) as frame:
            frame.write(bytes(10_000))
            raise ZeroDivisionError
        with pytest.raises(ValueError, match="sent or given up"):
            frame.write(b"x")
        with writer.frame(codec) as frame:
            frame.write(b"next")
        assert await reader.readexactly(8) == b"\0\0\0\4next"


@on(*BOTH)
async def test_frame_reserved_room_is_filled_later():
    codec = poolio.Varint()
    async with pair() as ((_, writer), (reader, _)):
        with writer.frame(codec) as frame:
            count = frame.reserve(4)
            empty = frame.reserve(0)
            frame.write(b"abc")
            large = frame.reserve(5000)
            frame.write(b"end")
            large.fill(b"L")
            count.write_u32be(3, 0)
            assert (len(frame), len(empty)) == (5010, 0)
            with pytest.raises(ValueError, match="at least 0"):
                frame.reserve(-1)
        assert await anext(reader.frames(codec)) == b"\0\0\0\3abc" + b"L" * 5000 + b"end"
        assert count.readonly


@on(*BOTH)
async def test_frame_too_large_raises_at_its_end_and_sends_nothing():
    async with pair() as ((_, writer), (reader, _)):
        for codec, size in ((poolio.LengthPrefixed(1), 256), (poolio.Varint(max_frame=9), 10)):
            with pytest.raises(poolio.FrameTooLarge), writer.frame(codec) as frame:
                frame.write(bytes(size))
            with pytest.raises(ValueError, match="sent or given up"):
                frame.write(b"x")
            with writer.frame(codec) as frame:
                frame.write(bytes(size - 1))
            assert await anext(reader.frames(codec)) == bytes(size - 1)


@on(*BOTH)
async def test_frame_used_again_after_its_end_raises_and_sends_nothing():
    async with pair() as ((_, writer), (reader, _)):
        builder = writer.frame(poolio.LengthPrefixed(1))
        with builder:
            builder.write(b"once")
        for use in (builder.write, builder.reserve):
            with pytest.raises(ValueError, match="sent or given up"):
                use(b"x" if use == builder.write else 1)
        with pytest.raises(ValueError, match="sent or given up"), builder:
            pass
        writer.write(b"end")
        assert await reader.readexactly(8) == b"\4onceend"


@on(*BOTH)
async def test_frames_built_at_the_same_time_are_sent_as_they_end():
    codec = poolio.LengthPrefixed(1)
    async with pair() as ((_, writer), (reader, _)):
        with writer.frame(codec) as outer:
            outer.write(b"out")
            with writer.frame(codec) as inner:
                inner.write(b"in")
            outer.write(b"er")
        assert await reader.readexactly(9) == b"\2in\5outer"


@on(*BOTH)
async def test_frame_of_what_has_no_bytes_raises_and_appends_nothing():
    released = poolio.from_bytes(b"gone")
    released.release()
    codec = poolio.LengthPrefixed(1)
    async with pair() as ((_, writer), (reader, _)):
        with writer.frame(codec) as frame:
            for wrong, error in ((released, poolio.BufferReleased), ("text", TypeError), (5, TypeError)):
                with pytest.raises(error):
                    frame.write(wrong)
            with contextlib.suppress(TypeError):
                frame.write(memoryview(b"a.b.")[::2])
            assert len(frame) in (0, 2)
            frame.write(b"")
        assert await reader.readexactly(1) == bytes([len(frame)])


@on(*BOTH)
async def test_frame_codec_without_a_header_raises():
    async with pair() as ((_, writer), _):
        for codec in (poolio.Delimited(b"\n"), poolio.FixedSize(4), poolio.LengthPrefixed(2, offset=2), b"none"):
            with pytest.raises(TypeError, match="LengthPrefixed without offset or a Varint"):
                writer.frame(codec)


@on(*OURS[:1])
async def test_frame_given_up_leaves_no_memory():
    async with pair() as ((_, writer), _):
        before = poolio.default_pool().statistics().live_allocations
        frame = writer.frame(poolio.Varint())
        frame.write(bytes(10_000))
        frame.__exit__(ValueError, ValueError(), None)
        assert poolio.default_pool().statistics().live_allocations == before
