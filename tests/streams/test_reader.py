"""StreamReader: what a fed reader returns, and how tasks wait for it. Where asyncio promises it too, asyncio's own
reader runs the same test, so the test is right about asyncio.
"""

import asyncio
import contextvars
import gc
import random
import sys
import warnings

import pytest
from kit.pairs import bounded, on, on_ends, pair, turns
from kit.wires import BLOCK, LOOPS, OURS, eventually, run

import poolio

pytestmark = pytest.mark.usefixtures("default_pool_is_left_as_it_was")
every_reader = pytest.mark.parametrize("kind", (asyncio.StreamReader, poolio.StreamReader), ids=("asyncio", "poolio"))
several_separators = pytest.mark.parametrize("kind", (
    pytest.param(asyncio.StreamReader, id="asyncio", marks=pytest.mark.skipif(
        sys.version_info < (3, 13), reason="asyncio's readuntil() takes a tuple since 3.13")),
    pytest.param(poolio.StreamReader, id="poolio")))
variable = contextvars.ContextVar("variable", default="unset")
LINES = b"first\nsecond\nthird\n"

# Every way to wait. With "abc" there, only the first three have something to return.
AT_ONCE = {
    "read": lambda reader: reader.read(100),
    "readinto": lambda reader: reader.readinto(bytearray(100)),
    "peek": lambda reader: reader.peek(3),
}
FOR_MORE = {
    "read_all": lambda reader: reader.read(),
    "readexactly": lambda reader: reader.readexactly(6),
    "read_at_least": lambda reader: reader.read_at_least(6),
    "peek_more": lambda reader: reader.peek(6),
    "readuntil": lambda reader: reader.readuntil(b"f\n"),
    "readline": lambda reader: reader.readline(),
    "next_line": lambda reader: anext(reader),
    "frames": lambda reader: anext(reader.frames(poolio.FixedSize(6))),
    "lines": lambda reader: anext(reader.lines()),
}
every_wait = pytest.mark.parametrize("call", {**AT_ONCE, **FOR_MORE}.values(), ids=[*AT_ONCE, *FOR_MORE])
every_long_wait = pytest.mark.parametrize("call", FOR_MORE.values(), ids=[*FOR_MORE])


def fed(kind, *pieces, **options):
    reader = kind(**options)
    for piece in pieces:
        reader.feed_data(piece)
    return reader


def feed_soon(reader, *pieces, end=False):
    """In the next turn of the loop, all in one."""
    def feed():
        for piece in pieces:
            reader.feed_data(piece)
        if end:
            reader.feed_eof()
    asyncio.get_running_loop().call_soon(feed)


async def unread(reader):
    """All that is left, without waiting for more."""
    reader.feed_eof()
    return await reader.read()


# --- asyncio's own behaviours -------------------------------------------------------------------------------

@every_reader
@bounded
async def test_fed_nothing_has_nothing(kind):
    reader = fed(kind, b"", b"")
    assert await unread(reader) == b""


@every_reader
@bounded
async def test_fed_data_is_read_in_order(kind):
    reader = fed(kind, b"one", b"", b"two")
    assert await unread(reader) == b"onetwo"


@every_reader
@bounded
async def test_read_of_no_bytes_is_empty_and_takes_nothing(kind):
    reader = fed(kind, LINES)
    assert await reader.read(0) == b""
    assert await kind().read(0) == b""
    assert await unread(reader) == LINES


@every_reader
@bounded
async def test_read_waits_for_data(kind):
    reader = kind()
    feed_soon(reader, LINES)
    assert await reader.read(100) == LINES
    assert await unread(reader) == b""


@every_reader
@bounded
async def test_read_takes_no_more_than_asked_for(kind):
    reader = fed(kind, b"first", b"second")
    assert await reader.read(5) == b"first"
    assert await reader.read(3) == b"sec"
    assert await unread(reader) == b"ond"


@every_reader
@bounded
async def test_read_at_the_end_is_empty(kind):
    reader = kind()
    feed_soon(reader, end=True)
    assert await reader.read(100) == b""
    assert await reader.read(100) == b""
    assert await reader.read() == b""


@every_reader
@pytest.mark.parametrize("count", (-1, -7, None))
@bounded
async def test_read_all_waits_for_the_end(kind, count):
    reader = kind()
    feed_soon(reader, b"one\n", b"two", end=True)
    assert await (reader.read() if count is None else reader.read(count)) == b"one\ntwo"
    assert reader.at_eof()


@every_reader
@pytest.mark.parametrize("name, arguments", (
    ("read", (2,)), ("read", ()), ("readexactly", (2,)), ("readline", ()), ("readuntil", ())))
@bounded
async def test_broken_connection_every_call_raises_its_error(kind, name, arguments):
    reader = fed(kind, b"line\nmore")
    assert await reader.readline() == b"line\n"
    error = ValueError("broken")
    reader.set_exception(error)
    with pytest.raises(ValueError) as caught:
        await getattr(reader, name)(*arguments)
    assert caught.value is error is reader.exception()


@pytest.mark.parametrize("kind", (asyncio.StreamReader, poolio.StreamReader), ids=("asyncio", "poolio"))
@pytest.mark.parametrize("limit", (0, -1))
@bounded
async def test_limit_below_one_raises(kind, limit):
    with pytest.raises(ValueError, match="imit"):
        kind(limit=limit)


@every_reader
@bounded
async def test_limit_does_not_bound_read_and_readexactly(kind):
    reader = fed(kind, b"chunk", b"chunk", limit=3)
    assert await reader.readexactly(7) == b"chunkch"
    assert await reader.read(5) == b"unk"


@every_reader
@bounded
async def test_readline_waits_for_the_end_of_the_line(kind):
    reader = fed(kind, b"a ")
    feed_soon(reader, b"b ", b"c ", b"\n d")
    assert await reader.readline() == b"a b c \n"
    assert await unread(reader) == b" d"


@every_reader
@pytest.mark.parametrize("pieces, left", (
    ((b"li", b"ne1\nline2\n"), b"line2\n"),         # the long line goes, the next one stays
    ((b"li", b"ne1", b"li"), b""),                  # no end of it is there: all goes
    ((b"chunk1", b"chunk2", b"chunk3\n"), b""),
    ((b"chunk1", b"chunk2\n", b"chunk3\n"), b"chunk3\n"),
    ((b"12345678\n",), b""),
))
@pytest.mark.parametrize("later", (False, True))
@bounded
async def test_readline_beyond_the_limit_raises_and_drops_the_line(kind, pieces, left, later):
    limit = 3 if pieces[0] == b"li" else 7
    reader = kind(limit=limit)
    if later:
        feed_soon(reader, *pieces)
    else:
        for piece in pieces:
            reader.feed_data(piece)
    with pytest.raises(ValueError, match="limit"):
        await reader.readline()
    assert await unread(reader) == left


@every_reader
@bounded
async def test_readline_as_long_as_the_limit_is_returned(kind):
    reader = fed(kind, b"1234567\n12345678\n", limit=7)
    assert await reader.readline() == b"1234567\n"
    with pytest.raises(ValueError, match="limit"):
        await reader.readline()
    reader.feed_data(b"12345678")
    with pytest.raises(ValueError, match="limit"):
        await reader.readline()
    assert await unread(reader) == b""


@every_reader
@bounded
async def test_at_eof_only_when_ended_and_all_is_read(kind):
    reader = kind()
    assert not reader.at_eof()
    reader.feed_data(b"one\n")
    await reader.readline()
    assert not reader.at_eof()
    reader.feed_data(b"two\n")
    reader.feed_eof()
    assert not reader.at_eof()
    await reader.readline()
    assert reader.at_eof()


@every_reader
@bounded
async def test_readline_takes_one_line_only(kind):
    reader = fed(kind, LINES[:8], LINES[8:])
    assert await reader.readline() == b"first\n"
    assert await reader.read(8) in (b"se", b"second\nt")    # ours returns what came together
    assert LINES.endswith(await unread(reader))


@every_reader
@bounded
async def test_readline_at_the_end_returns_what_is_left_then_nothing(kind):
    reader = fed(kind, b"no end of line")
    reader.feed_eof()
    assert await reader.readline() == b"no end of line"
    assert await reader.readline() == b""


@every_reader
@pytest.mark.parametrize("separator", (b"", bytearray()))
@bounded
async def test_readuntil_empty_separator_raises(kind, separator):
    with pytest.raises(ValueError):
        await kind().readuntil(separator)


@several_separators
@pytest.mark.parametrize("separators", ((), (b"",), (b"a", b"")))
@bounded
async def test_readuntil_empty_tuple_or_one_in_it_raises(kind, separators):
    with pytest.raises(ValueError):
        await kind().readuntil(separators)


@every_reader
@pytest.mark.parametrize("pieces, found, left", (
    ((b"lineAAA",), b"lineAAA", b""),
    ((b"lineAAAxxx",), b"lineAAA", b"xxx"),
    ((b"QWEAA", b"XYAA", b"A"), b"QWEAAXYAAA", b""),
    ((b"QWEAA", b"XYA", b"AA"), b"QWEAAXYAAA", b""),
    ((b"AAA",), b"AAA", b""),
    ((b"XAAA",), b"XAAA", b""),
    ((b"XXX", b"A", b"A", b"A"), b"XXXAAA", b""),
    ((b"AABAAAA",), b"AABAAA", b"A"),
))
@pytest.mark.parametrize("later", (False, True))
@bounded
async def test_readuntil_finds_the_first_separator(kind, pieces, found, left, later):
    reader = kind()
    if later:
        loop = asyncio.get_running_loop()
        for piece in pieces:
            loop.call_soon(lambda piece=piece: loop.call_soon(reader.feed_data, piece))
    else:
        reader = fed(kind, *pieces)
    assert await reader.readuntil(b"AAA") == found
    assert await unread(reader) == left


@every_reader
@bounded
async def test_readuntil_at_the_end_raises_with_what_is_left(kind):
    reader = fed(kind, b"some dataAA")
    reader.feed_eof()
    with pytest.raises(asyncio.IncompleteReadError, match="undefined expected bytes") as caught:
        await reader.readuntil(b"AAA")
    assert (caught.value.partial, caught.value.expected) == (b"some dataAA", None)
    assert type(caught.value.partial) is bytes
    assert reader.at_eof()


@every_reader
@bounded
async def test_readuntil_beyond_the_limit_raises_and_takes_nothing(kind):
    reader = fed(kind, b"some dataAA", limit=3)
    with pytest.raises(asyncio.LimitOverrunError, match="not found") as caught:
        await reader.readuntil(b"AAA")
    assert caught.value.consumed == 9
    reader.feed_data(b"A")
    with pytest.raises(asyncio.LimitOverrunError, match="is found") as caught:
        await reader.readuntil(b"AAA")
    assert caught.value.consumed == 9
    assert await unread(reader) == b"some dataAAA"


@several_separators
@bounded
async def test_readuntil_tuple_the_one_that_ends_first_counts(kind):
    reader = fed(kind, b"line 1\nline 2\r")
    assert await reader.readuntil((b"\r", b"\n")) == b"line 1\n"
    assert await reader.readuntil((b"\r", b"\n")) == b"line 2\r"
    reader.feed_data(b"ABCDEFG")
    assert await reader.readuntil((b"DEF", b"BCDE")) == b"ABCDE"
    assert await unread(reader) == b"FG"


@several_separators
@bounded
async def test_readuntil_tuple_beyond_the_limit_raises_and_takes_nothing(kind):
    reader = fed(kind, b"some dataA", limit=3)
    with pytest.raises(asyncio.LimitOverrunError, match="is found"):
        await reader.readuntil((b"A", b"ome dataA"))
    assert await unread(reader) == b"some dataA"


@several_separators
@bounded
async def test_readuntil_tuple_less_is_there_than_the_longest_separator(kind):
    reader = fed(kind, b"data")
    task = asyncio.create_task(reader.readuntil((b"A", b"longer than all")))
    await turns()
    reader.feed_data(b"Z")
    await turns()
    assert not task.done()
    reader.feed_data(b"Aaaa")
    assert await task == b"dataZA"
    assert await unread(reader) == b"aaa"


@every_reader
@bounded
async def test_readuntil_separator_may_be_a_bytearray(kind):
    reader = fed(kind, b"some data\r\nmore\r\n")
    separator = bytearray(b"\r\n")
    assert await reader.readuntil(separator) == b"some data\r\n"
    separator[:] = b"mo"
    assert await reader.readuntil(separator) == b"mo"
    assert await unread(reader) == b"re\r\n"


@every_reader
@bounded
async def test_readexactly_no_bytes_or_less(kind):
    reader = fed(kind, LINES)
    assert await reader.readexactly(0) == b""
    with pytest.raises(ValueError, match="less than zero"):
        await reader.readexactly(-1)
    assert await unread(reader) == LINES


@every_reader
@bounded
async def test_readexactly_waits_for_all_of_it(kind):
    reader = kind()
    feed_soon(reader, LINES, LINES, LINES)
    assert await reader.readexactly(2 * len(LINES)) == LINES + LINES
    assert await unread(reader) == LINES


@every_reader
@bounded
async def test_readexactly_at_the_end_raises_with_what_is_left(kind):
    reader = kind()
    feed_soon(reader, LINES, end=True)
    with pytest.raises(asyncio.IncompleteReadError, match="19 bytes read on a total of 38 expected") as caught:
        await reader.readexactly(38)
    assert (caught.value.partial, caught.value.expected) == (LINES, 38)
    assert await reader.read() == b""


@every_reader
@bounded
async def test_exception_is_none_or_the_error(kind):
    reader = kind()
    assert reader.exception() is None
    error = ValueError()
    reader.set_exception(error)
    assert reader.exception() is error


@every_reader
@bounded
async def test_error_comes_while_a_task_waits_it_raises(kind):
    reader = kind()
    task = asyncio.create_task(reader.readline())
    await turns()
    reader.set_exception(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await task


@every_reader
@bounded
async def test_error_comes_after_the_task_was_cancelled(kind):
    reader = kind()
    task = asyncio.create_task(reader.readline())
    await turns()
    task.cancel()
    await turns()
    reader.set_exception(ZeroDivisionError())
    await turns()
    assert task.cancelled()
    with pytest.raises(ZeroDivisionError):
        await reader.read()


@every_reader
@bounded
async def test_async_for_goes_over_lines(kind):
    reader = fed(kind, LINES, b"last")
    reader.feed_eof()
    assert [bytes(line) async for line in reader] == [b"first\n", b"second\n", b"third\n", b"last"]


@every_reader
@bounded
async def test_transport_is_set_once(kind):
    reader = kind()
    reader.set_transport(asyncio.Transport())
    with pytest.raises((RuntimeError, AssertionError)):
        reader.set_transport(asyncio.Transport())


def test_made_without_a_loop_asks_for_it_when_it_waits():
    reader = poolio.StreamReader()

    async def main():
        feed_soon(reader, b"abc")
        assert await reader.read(3) == b"abc"
    run("asyncio", main)


def test_protocol_made_without_a_running_loop_raises():
    with pytest.raises(RuntimeError, match="no running event loop"):
        poolio.StreamProtocol()


@bounded
async def test_repr_tells_what_is_unread_and_the_end():
    reader = fed(poolio.StreamReader, b"data")
    assert repr(reader) == "<poolio.StreamReader with 4 bytes unread>"
    reader.feed_eof()
    assert repr(reader) == "<poolio.StreamReader at its end with 4 bytes unread>"


# --- what is new: the calls -----------------------------------------------------------------------------------

@bounded
async def test_feed_after_the_end_raises():
    reader = fed(poolio.StreamReader, b"x")
    reader.feed_eof()
    with pytest.raises(RuntimeError, match="feed_data after feed_eof"):
        reader.feed_data(b"y")


@bounded
async def test_readinto_fills_what_fits():
    reader = fed(poolio.StreamReader, b"abc", b"defg")
    target = bytearray(b".....")
    assert await reader.readinto(target) == 5
    assert target == b"abcde"
    assert await reader.readinto(memoryview(target)[1:4]) == 2
    assert target == b"afgde"
    assert await reader.readinto(bytearray()) == 0
    reader.feed_eof()
    assert await reader.readinto(target) == 0


@bounded
async def test_readinto_waits_without_holding_the_target():
    reader = poolio.StreamReader()
    target = bytearray(2)
    task = asyncio.create_task(reader.readinto(target))
    await turns()
    target.extend(b"xyz")           # BufferError if a view were alive
    reader.feed_data(b"abc")
    assert await task == 3
    assert target == b"abcyz"


@bounded
async def test_readinto_of_something_read_only_raises_and_takes_nothing():
    reader = fed(poolio.StreamReader, b"abc")
    for wrong in (b"bytes", poolio.from_bytes(b"frozen").freeze()):
        with pytest.raises((BufferError, TypeError)):
            await reader.readinto(wrong)
    with pytest.raises(TypeError):
        await reader.readinto("text")
    assert await unread(reader) == b"abc"


@bounded
async def test_read_at_least_returns_more_of_the_same_read():
    reader = fed(poolio.StreamReader, b"abcdef", b"ghi")
    assert (await reader.read_at_least(2)).startswith(b"abcdef")
    await reader.read(3)
    assert await reader.read_at_least(0) == b""
    task = asyncio.create_task(reader.read_at_least(4))
    await turns()
    reader.feed_data(b"jkl")
    reader.feed_data(b"mno")
    assert (await task).startswith(b"jklm")
    await reader.read(2)
    reader.feed_data(b"mn")
    reader.feed_eof()
    with pytest.raises(asyncio.IncompleteReadError) as caught:
        await reader.read_at_least(3)
    assert (caught.value.partial, caught.value.expected) == (b"mn", 3)


@bounded
async def test_peek_leaves_everything():
    reader = fed(poolio.StreamReader, b"abc", b"def")
    assert await reader.peek(2) == b"ab"
    assert await reader.peek(5) == b"abcde"
    task = asyncio.create_task(reader.peek(8))
    await turns()
    reader.feed_data(b"ghi")
    assert await task == b"abcdefgh"
    reader.feed_eof()
    assert await reader.peek(100) == b"abcdefghi"
    assert await reader.read() == b"abcdefghi"
    assert await reader.peek(1) == b""


@pytest.mark.parametrize("name", ("readexactly", "read_at_least", "peek"))
@bounded
async def test_negative_count_raises(name):
    with pytest.raises(ValueError, match=f"{name} size can not be less than zero"):
        getattr(poolio.StreamReader(), name)(-1)


@bounded
async def test_limit_of_one_call_goes_before_the_readers():
    reader = fed(poolio.StreamReader, b"123456;12\n1234\n", limit=4)
    with pytest.raises(asyncio.LimitOverrunError):
        await reader.readuntil(b";")
    assert await reader.readuntil(b";", limit=6) == b"123456;"
    with pytest.raises(ValueError, match="limit"):
        await reader.readline(limit=1)
    assert await reader.readline(limit=4) == b"1234\n"
    reader.feed_data(b"12345")
    with pytest.raises(poolio.FrameTooLarge):
        await anext(reader.lines(limit=3))
    for method in (reader.readuntil, reader.readline, reader.lines):
        with pytest.raises(ValueError, match="limit must be at least 1 byte"):
            method(limit=0)


@bounded
async def test_lines_come_without_their_ends():
    reader = fed(poolio.StreamReader, b"one\n\ntwo", b" three\nlast")
    reader.feed_eof()
    assert [bytes(line) async for line in reader.lines()] == [b"one", b"", b"two three", b"last"]
    assert [line async for line in reader.lines()] == []


@pytest.mark.parametrize("codec, data, frames", (
    (poolio.LengthPrefixed(2), b"\0\3abc\0\0\0\1d", [b"abc", b"", b"d"]),
    (poolio.Varint(), b"\3abc\0\1d", [b"abc", b"", b"d"]),
    (poolio.FixedSize(3), b"abcdef", [b"abc", b"def"]),
    (poolio.Delimited(b"\r\n"), b"abc\r\n\r\nd\r\n", [b"abc", b"", b"d"]),
))
@pytest.mark.parametrize("step", (1, 2, 100))
@bounded
async def test_frames_come_whole_however_they_are_fed(codec, data, frames, step):
    reader = poolio.StreamReader()

    async def feed():
        for start in range(0, len(data), step):
            reader.feed_data(data[start:start + step])
            await asyncio.sleep(0)
        reader.feed_eof()

    feeding = asyncio.create_task(feed())
    assert [bytes(frame) async for frame in reader.frames(codec)] == frames
    await feeding
    assert reader.at_eof()


@bounded
async def test_frames_stream_ends_within_one_raises_with_what_is_left():
    reader = fed(poolio.StreamReader, b"\0\1a\0\5bc")
    reader.feed_eof()
    frames = reader.frames(poolio.LengthPrefixed(2))
    assert await anext(frames) == b"a"
    with pytest.raises(asyncio.IncompleteReadError) as caught:
        await anext(frames)
    assert caught.value.partial == b"\0\5bc"
    with pytest.raises(StopAsyncIteration):
        await anext(frames)


@bounded
async def test_frames_too_large_raises_after_those_before_it():
    reader = fed(poolio.StreamReader, b"\0\1a\1\0")
    frames = reader.frames(poolio.LengthPrefixed(2, max_frame=255))
    assert await anext(frames) == b"a"
    for _ in range(2):
        with pytest.raises(poolio.FrameTooLarge):
            await anext(frames)
    assert await unread(reader) == b"\1\0"


@bounded
async def test_frames_too_large_and_discarded_goes_on_behind_it():
    codec = poolio.LengthPrefixed(1, max_frame=3, too_large="discard")
    reader = fed(poolio.StreamReader, b"\1a\xc8", bytes(100))
    frames = reader.frames(codec)
    assert await anext(frames) == b"a"
    feed_soon(reader, bytes(60), bytes(40) + b"\1b")
    assert await anext(frames) == b"b"
    assert codec.discarded == 1


@bounded
async def test_frames_of_a_codec_of_ones_own():
    class Numbers(poolio.Codec):
        def decode(self, chain):
            return chain.take(2).read_u16be(0) if len(chain) >= 2 else None

    reader = fed(poolio.StreamReader, b"\0\1\0\2\0")
    feed_soon(reader, b"\3", end=True)
    assert [number async for number in reader.frames(Numbers())] == [1, 2, 3]
    with pytest.raises(TypeError, match=r"poolio\.Codec, not 'int'"):
        reader.frames(4)


@bounded
async def test_frames_left_in_the_middle_the_rest_is_read_otherwise():
    reader = fed(poolio.StreamReader, b"\1a\2bc\3def", b"and the rest\n")
    async for frame in reader.frames(poolio.Varint()):
        if frame == b"bc":
            break
    assert await reader.read(1) == b"\3"
    assert await reader.readline() == b"defand the rest\n"
    reader.feed_data(b"\5part")
    task = asyncio.create_task(anext(reader.frames(poolio.Varint())))
    await turns()
    task.cancel()
    await turns()
    assert await unread(reader) == b"\5part"


@bounded
async def test_anext_with_a_default_returns_it_at_the_end():
    reader = fed(poolio.StreamReader, b"\1a")
    reader.feed_eof()
    frames = reader.frames(poolio.Varint())
    assert await anext(frames, None) == b"a"
    assert await anext(frames, None) is None
    assert await anext(reader, None) is None


# --- slices ---------------------------------------------------------------------------------------------------

@bounded
async def test_results_are_slices_of_what_was_received(make_pool):
    pool = make_pool()
    received = pool.from_bytes(BLOCK[:100_000])
    reader = fed(poolio.StreamReader, received, pool=pool)
    at = received.offset
    for call, size in ((reader.read(10), 10), (reader.readexactly(7), 7), (reader.peek(5), 0),
                       (anext(reader.frames(poolio.FixedSize(100))), 100), (reader.read_at_least(3), 99_883)):
        result = await call
        assert isinstance(result, poolio.Buffer)
        assert (result.slab, result.offset) == (received.slab, at)
        at += size
    assert at == received.offset + 100_000
    assert pool.statistics().copied_bytes == 0


@on(*OURS)
async def test_received_while_waiting_is_returned_as_it_was_received(make_pool):
    pool = make_pool()
    async with pair(pool=pool) as ((_, writer), (reader, _)):
        task = asyncio.create_task(reader.read(100))
        await turns()
        writer.write(b"abcdef")
        whole = await task
        assert (whole, pool.statistics().copied_bytes) == (b"abcdef", 0)
        assert pool.statistics().live_allocations == 1
        del whole, task


@bounded
async def test_result_may_be_released_or_kept_while_the_rest_is_read(make_pool):
    pool = make_pool()
    reader = fed(poolio.StreamReader, BLOCK[:1000], pool=pool)
    kept = await reader.read(10)
    gone = await reader.read(10)
    gone.release()
    assert await reader.readexactly(980) == BLOCK[20:1000]
    assert kept == BLOCK[:10]


@bounded
async def test_pool_has_no_memory_for_a_copy_nothing_is_lost(make_pool):
    pool = make_pool(slab_size=4096, max_bytes=8192)
    reader = fed(poolio.StreamReader, pool.from_bytes(BLOCK[:3000]), pool.from_bytes(BLOCK[3000:6000]), pool=pool)
    with pytest.raises(poolio.PoolExhausted):
        await reader.readexactly(5000)
    assert await reader.readexactly(3000) == BLOCK[:3000]
    assert await reader.readexactly(3000) == BLOCK[3000:6000]


# --- awaiting -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("call", (
    *AT_ONCE.values(), lambda reader: reader.readexactly(3), lambda reader: reader.readuntil(b"c"),
    lambda reader: reader.readline(), lambda reader: anext(reader.frames(poolio.FixedSize(3))),
    lambda reader: anext(reader.lines()), lambda reader: anext(reader)))
@bounded
async def test_data_is_there_no_switch_of_tasks(call):
    reader = fed(poolio.StreamReader, b"abc\n")
    switched = []
    asyncio.get_running_loop().call_soon(switched.append, True)
    await call(reader)
    assert switched == []
    await turns()
    assert switched == [True]


@on_ends
async def test_second_task_that_waits_is_refused_and_the_first_goes_on(streams):
    async with pair(streams) as ((_, writer), (reader, _)):
        first = asyncio.create_task(reader.readexactly(4))
        await turns()
        with pytest.raises(RuntimeError, match="already waiting"):
            await reader.read(1)
        with pytest.raises(RuntimeError, match="already waiting"):
            await asyncio.wait_for(reader.readline(), 5)
        writer.write(b"abcd")
        assert await first == b"abcd"


@bounded
async def test_second_task_on_the_same_frames_is_refused_and_the_first_goes_on():
    reader = poolio.StreamReader()
    frames = reader.frames(poolio.FixedSize(2))
    first, second = (asyncio.create_task(anext(frames)) for _ in range(2))
    await turns()
    assert second.done()
    with pytest.raises(RuntimeError):
        await second
    reader.feed_data(b"ab")
    assert await first == b"ab"


@bounded
async def test_second_task_on_the_same_frames_is_cancelled_the_first_goes_on():
    reader = poolio.StreamReader()
    frames = reader.frames(poolio.FixedSize(2))
    first, second = (asyncio.create_task(anext(frames)) for _ in range(2))
    await turns()
    second.cancel()
    await turns()
    assert not first.done()
    reader.feed_data(b"ab")
    assert await first == b"ab"
    assert isinstance(second.exception() if not second.cancelled() else RuntimeError(), RuntimeError)


@bounded
async def test_second_task_on_the_same_call_is_refused_and_the_first_goes_on():
    reader = poolio.StreamReader()
    call = reader.read(10)
    first, second = (asyncio.create_task(call) for _ in range(2))
    await turns()
    reader.feed_data(b"ab")
    assert await first == b"ab"
    with pytest.raises(RuntimeError):
        await second


@every_wait
@bounded
async def test_awaited_twice_raises(call):
    reader = fed(poolio.StreamReader, b"abcdef\n")
    reader.feed_eof()
    waiting = call(reader)
    await waiting
    if type(waiting).__name__ == "Frames":      # what `async for` goes over is awaited again for each frame
        return
    with pytest.raises(RuntimeError, match="already awaited"):
        await waiting


@bounded
async def test_awaited_twice_raises_also_after_other_calls():
    """A call that its caller has kept is not used again for another one."""
    reader = fed(poolio.StreamReader, b"abcdef")
    kept = reader.read(1)
    assert await kept == b"a"
    second, third = reader.read(1), reader.read(2)
    assert await third == b"bc"
    assert await second == b"d"
    for ended in (kept, second, third):
        with pytest.raises(RuntimeError, match="already awaited"):
            await ended
    assert await unread(reader) == b"ef"


@bounded
async def test_call_does_nothing_before_it_is_awaited():
    reader = poolio.StreamReader()
    call = reader.read(100)
    reader.feed_data(b"abc")
    assert await reader.read(1) == b"a"
    assert await call == b"bc"


@every_wait
@bounded
async def test_never_awaited_warns_when_the_reader_is_called_again(call):
    reader = poolio.StreamReader()
    if type(waiting := call(reader)).__name__ == "Frames":      # which may be made and not gone over
        return
    with pytest.warns(RuntimeWarning, match=r"StreamReader\..*was never awaited"):
        del waiting
        await reader.read(0)


@bounded
async def test_closed_before_it_was_awaited_does_not_warn():
    reader = fed(poolio.StreamReader, b"abc")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call = reader.read(1)
        call.close()
        with pytest.raises(RuntimeError, match="already awaited"):
            await call
        del call
        gc.collect()
    assert await unread(reader) == b"abc"


@every_wait
@bounded
async def test_call_is_a_coroutine_for_asyncio(call):
    reader = fed(poolio.StreamReader, b"abcdef\n")
    reader.feed_eof()
    waiting = call(reader)
    assert asyncio.iscoroutine(waiting)
    task = asyncio.get_running_loop().create_task(waiting, name="reading")
    assert "reading" in repr(task)
    assert await asyncio.wait_for(task, 5)


@on(*LOOPS)
async def test_gather_wait_for_shield_and_task_group_take_a_call():
    async with pair() as ((client, client_writer), (reader, writer)):
        both = asyncio.gather(client.readexactly(2), reader.readexactly(2))
        await turns()
        writer.write(b"ab..")
        client_writer.write(b"cd..")
        assert await both == [b"ab", b"cd"]
        assert await asyncio.wait_for(reader.readexactly(1), 5) == b"."
        assert await asyncio.shield(reader.readexactly(1)) == b"."
        async with asyncio.TaskGroup() as group:
            task = group.create_task(client.read(2))
        assert task.result() == b".."
        done, _ = await asyncio.wait([asyncio.ensure_future(client.read(0))])
        assert [task.result() for task in done] == [b""]


@bounded
async def test_call_outside_of_a_task_is_stepped_by_hand():
    reader = poolio.StreamReader()
    call = reader.read(10)
    waiter = call.send(None)
    assert waiter._asyncio_future_blocking
    assert not waiter.done()
    reader.feed_data(b"abc")
    with pytest.raises(StopIteration) as caught:
        call.send(None)
    assert caught.value.value == b"abc"
    call = reader.read(10)
    call.send(None)
    with pytest.raises(ZeroDivisionError):
        call.throw(ZeroDivisionError())
    reader.feed_data(b"def")
    assert await reader.read(10) == b"def"


@bounded
async def test_types_of_calls_and_frames_are_not_made_by_hand():
    reader = poolio.StreamReader()
    call, frames = reader.read(0), reader.frames(poolio.Varint())
    await call
    for kind in (type(call), type(frames)):
        code = f"from poolio.streams.reader import {kind.__name__}; thing = {kind.__name__}(); thing.send(None)"
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stderr=asyncio.subprocess.DEVNULL)
        assert await process.wait() >= 0        # an exception, no crash


# --- cancelling -------------------------------------------------------------------------------------------------

@every_wait
@pytest.mark.parametrize("order", ("before", "after", "without"))
@bounded
async def test_cancelled_call_has_taken_nothing(call, order):
    """Data comes before or after the cancel, in the same turn of the loop."""
    reader = poolio.StreamReader()
    if call in FOR_MORE.values():
        reader.feed_data(b"abc")
    expected = b"abc" if call in FOR_MORE.values() else b""
    task = asyncio.create_task(call(reader))
    await turns()
    if order == "before":
        reader.feed_data(b"def\n")
    task.cancel()
    if order == "after":
        reader.feed_data(b"def\n")
    with pytest.raises(asyncio.CancelledError):
        await task
    expected += b"def\n" if order != "without" else b""
    assert await unread(reader) == expected


@every_wait
@bounded
async def test_cancelled_before_it_has_begun_has_taken_nothing(call):
    reader = fed(poolio.StreamReader, b"abcdef\n")
    task = asyncio.create_task(call(reader))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await reader.readline() == b"abcdef\n"


@every_wait
@pytest.mark.parametrize("how", ("timeout", "wait_for"))
@bounded
async def test_timed_out_call_has_taken_nothing_and_the_next_one_works(call, how):
    reader = poolio.StreamReader()
    if call in FOR_MORE.values():
        reader.feed_data(b"abc")
    expected = b"abc" if call in FOR_MORE.values() else b""
    with pytest.raises(TimeoutError):
        if how == "timeout":
            async with asyncio.timeout(0.005):
                await call(reader)
        else:
            await asyncio.wait_for(call(reader), 0.005)
    feed_soon(reader, b"def\n")
    assert await reader.readuntil() == expected + b"def\n"


@every_long_wait
@bounded
async def test_cancelled_and_the_next_call_waits_again(call):
    reader = fed(poolio.StreamReader, b"abc")
    for _ in range(3):
        task = asyncio.create_task(call(reader))
        await turns()
        task.cancel()
        await turns()
        assert task.cancelled()
    task = asyncio.create_task(call(reader))
    await turns()
    assert not task.done()
    reader.feed_data(b"def\n")
    reader.feed_eof()
    assert (await task).startswith(b"abcdef")


@pytest.mark.parametrize("how", ("cancel", "timeout", "wait_for"))
@bounded
async def test_same_frames_go_on_after_one_was_cancelled(how):
    reader = fed(poolio.StreamReader, b"ab")
    frames = reader.frames(poolio.FixedSize(4))
    for _ in range(2):
        with pytest.raises((TimeoutError, asyncio.CancelledError)):
            if how == "cancel":
                task = asyncio.create_task(anext(frames))
                await turns()
                task.cancel()
                await task
            elif how == "timeout":
                async with asyncio.timeout(0.005):
                    await anext(frames)
            else:
                await asyncio.wait_for(anext(frames), 0.005)
    feed_soon(reader, b"cdefgh")
    assert [await anext(frames), await anext(frames)] == [b"abcd", b"efgh"]


@bounded
async def test_woken_and_another_one_takes_it_first_waits_on():
    reader = poolio.StreamReader()
    task = asyncio.create_task(reader.readexactly(4))
    await turns()
    reader.feed_data(b"abcd")           # wakes the task in the next turn
    assert await reader.read(2) == b"ab"
    await turns()
    assert not task.done()
    reader.feed_data(b"ef")
    assert await task == b"cdef"


@bounded
async def test_woken_and_cancelled_another_one_waits_meanwhile_undisturbed():
    reader = poolio.StreamReader()
    task = asyncio.create_task(reader.readexactly(4))
    await turns()
    reader.feed_data(b"abcd")
    task.cancel()
    assert await reader.readexactly(4) == b"abcd"
    second = asyncio.create_task(reader.readexactly(2))
    await turns()
    assert task.cancelled()
    reader.feed_data(b"ef")
    assert await second == b"ef"


@on_ends
async def test_cancelling_a_read_is_told_as_asyncio_tells_it(streams):
    """The same script, step by step: messages, counts of cancel() and uncancel(), what timeouts say."""
    told = []

    async def reads(reader):
        task = asyncio.current_task()
        try:
            await reader.readexactly(10)
        except asyncio.CancelledError as exc:
            told.append((exc.args, task.cancelling(), task.uncancel()))
        async with asyncio.timeout(5) as timeout:
            told.append((await reader.readexactly(2), timeout.expired(), task.cancelling()))
        try:
            async with asyncio.timeout(0.01) as timeout:
                await reader.readexactly(10)
        except TimeoutError:
            told.append((timeout.expired(), task.cancelling()))
        try:
            await asyncio.wait_for(reader.readuntil(b"!"), 0.01)
        except TimeoutError:
            told.append(task.cancelling())
        async with asyncio.timeout(None) as timeout:
            told.append(await reader.readexactly(3))
            timeout.reschedule(asyncio.get_running_loop().time() + 5)
            told.append(await reader.read(1))

    async with pair(streams) as ((_, writer), (reader, _)):
        task = asyncio.create_task(reads(reader))
        await turns()
        writer.write(b"abc")
        await asyncio.sleep(0.01)
        task.cancel("why")
        await eventually(lambda: len(told) >= 4)
        writer.write(b"de")
        await turns(10)
        writer.write(b"f")
        await task
    assert told == [(("why",), 1, 0), (b"ab", False, 0), (True, 0), 0, b"cde", b"f"]


@on_ends
async def test_cancel_swallowed_the_task_reads_on(streams):
    async def reads(reader):
        while True:
            try:
                return await reader.readexactly(3)
            except asyncio.CancelledError:
                asyncio.current_task().uncancel()

    async with pair(streams) as ((_, writer), (reader, _)):
        task = asyncio.create_task(reads(reader))
        for piece in (b"a", b"b", b"c"):
            await turns()
            writer.write(piece)
            task.cancel()
            await asyncio.sleep(0.002)
        assert await task == b"abc"


@on_ends
async def test_reads_cancelled_at_random_nothing_is_lost_or_doubled(streams):
    chance = random.Random(7)
    got = bytearray()

    async def reads(reader):
        while len(got) < 20_000:
            size = chance.randrange(1, 60)
            try:
                match chance.randrange(4):
                    case 0:
                        got.extend(await reader.read(size))
                    case 1:
                        got.extend(await reader.readexactly(min(size, 20_000 - len(got))))
                    case 2:
                        async with asyncio.timeout(chance.random() * 0.001):
                            got.extend(await reader.readexactly(min(size, 20_000 - len(got))))
                    case 3:
                        got.extend(await reader.readuntil(BLOCK[len(got) + size:len(got) + size + 1]))
            except (asyncio.CancelledError, TimeoutError):
                while asyncio.current_task().cancelling():
                    asyncio.current_task().uncancel()

    async with pair(streams) as ((_, writer), (reader, _)):
        task = asyncio.create_task(reads(reader))
        await turns()
        sent = 0
        while sent < 20_300:
            size = chance.randrange(1, 200)
            writer.write(BLOCK[sent:sent + size])
            sent += size
            for _ in range(chance.randrange(3)):
                if chance.random() < 0.5:
                    task.cancel()
                await asyncio.sleep(0)
        await task
        assert got[:20_000] == BLOCK[:20_000]
        assert BLOCK.startswith(got)


# --- tasks that the reactor steps -------------------------------------------------------------------------------

@on_ends
async def test_woken_task_is_current_and_has_its_context(streams):
    seen = []

    async def reads(reader, name):
        variable.set(name)
        for _ in range(3):
            await reader.readexactly(1)
            seen.append((variable.get(), asyncio.current_task().get_name()))
            variable.set(variable.get() + "+")

    variable.set("outside")
    async with pair(streams) as ((client, client_writer), (reader, writer)):
        tasks = [asyncio.create_task(reads(client, "c"), name="client"),
                 asyncio.create_task(reads(reader, "s"), name="server")]
        for number in range(1, 4):
            client_writer.write(b"x")
            writer.write(b"x")
            await eventually(lambda number=number: len(seen) == 2 * number)
        await asyncio.gather(*tasks)
    assert variable.get() == "outside"
    assert sorted(seen) == [("c", "client"), ("c+", "client"), ("c++", "client"),
                            ("s", "server"), ("s+", "server"), ("s++", "server")]


@on_ends
async def test_tasks_that_share_a_context_see_what_the_other_sets(streams):
    context = contextvars.copy_context()
    seen = []

    async def reads(reader, name):
        while await reader.read(1):
            seen.append(variable.get())
            variable.set(name)

    async with pair(streams) as ((client, client_writer), (reader, writer)):
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(reads(client, "client"), context=context),
                 loop.create_task(reads(reader, "server"), context=context)]
        await turns()
        for number, sender in enumerate((client_writer, writer, client_writer, client_writer)):
            sender.write(b"x")
            await eventually(lambda number=number: len(seen) == number + 1)
        client_writer.close()
        writer.close()
        await asyncio.gather(*tasks)
    assert context[variable] == "server"
    assert seen == ["unset", "server", "client", "server"]


@on_ends
async def test_exception_in_a_woken_task_is_the_tasks(streams):
    async def fails(reader):
        await reader.read(1)
        raise ZeroDivisionError

    async with pair(streams) as ((_, writer), (reader, _)):
        task = asyncio.create_task(fails(reader))
        await turns()
        writer.write(b"ab")
        with pytest.raises(ZeroDivisionError):
            await task
        assert await reader.read(1) == b"b"


@on_ends
async def test_woken_task_ends_and_who_awaits_it_goes_on(streams):
    async def reads(reader):
        return await reader.readexactly(2)

    async with pair(streams) as ((_, writer), (reader, _)):
        done = []
        task = asyncio.create_task(reads(reader))
        task.add_done_callback(done.append)
        await turns()
        writer.write(b"a")
        await asyncio.sleep(0.01)
        writer.write(b"b")
        assert await asyncio.gather(task, asyncio.shield(task)) == [b"ab", b"ab"]
        assert done == [task]


@on_ends
async def test_woken_task_makes_awaits_and_cancels_others(streams):
    async def reads(reader):
        await reader.read(1)
        child = asyncio.create_task(asyncio.sleep(0, "child"))
        endless = asyncio.create_task(asyncio.sleep(100))
        first = await child
        endless.cancel()
        async with asyncio.timeout(5):
            second = await reader.read(1)
        await asyncio.wait([endless])
        return first, second, endless.cancelled()

    async with pair(streams) as ((_, writer), (reader, _)):
        task = asyncio.create_task(reads(reader))
        await turns()
        writer.write(b"a")
        await asyncio.sleep(0.01)
        writer.write(b"b")
        assert await task == ("child", b"b", True)


@on_ends
async def test_two_readers_answer_each_other(streams):
    """A woken task's writes go out when it waits again."""
    async def plays(reader, writer):
        for _ in range(100):
            writer.write(await reader.readexactly(3))
            await writer.drain()

    async with pair(streams) as ((client, client_writer), (reader, writer)):
        playing = [asyncio.create_task(plays(client, client_writer)), asyncio.create_task(plays(reader, writer))]
        writer.write(b"one")
        await asyncio.gather(*playing)
        assert await client.read(3) == b"one"


@pytest.mark.parametrize("kind", (KeyboardInterrupt, SystemExit))
@pytest.mark.parametrize("loop_name", OURS)
def test_keyboard_interrupt_and_system_exit_in_a_woken_task_pass_through(loop_name, kind):
    ended = []

    async def stops(reader):
        try:
            await reader.read(1)
            raise kind("stop")
        finally:
            ended.append(asyncio.current_task())

    async def main():
        async with pair() as ((_, writer), (reader, _)):
            task = asyncio.create_task(stops(reader))
            await turns()
            writer.write(b"x")
            await asyncio.wait([task, asyncio.create_task(asyncio.sleep(20))], return_when="FIRST_COMPLETED")

    with pytest.raises(kind, match="stop"):
        run(loop_name, main)
    assert isinstance(ended[0].exception(), kind)


@on(*OURS)
async def test_pure_python_tasks_are_woken_as_well():
    loop = asyncio.get_running_loop()
    loop.set_task_factory(lambda loop, coro, **options: asyncio.tasks._PyTask(coro, loop=loop, **options))

    async def reads(reader):
        variable.set("inside")
        first = await reader.readexactly(2)
        return first, await reader.readexactly(2), variable.get(), asyncio.current_task()

    async with pair() as ((_, writer), (reader, _)):
        task = asyncio.create_task(reads(reader))
        assert isinstance(task, asyncio.tasks._PyTask)
        await turns()
        for piece in (b"a", b"b", b"cd"):
            writer.write(piece)
            await asyncio.sleep(0.005)
        assert await task == (b"ab", b"cd", "inside", task)
        task = asyncio.create_task(reader.read(5))
        await turns()
        task.cancel("why")
        with pytest.raises(asyncio.CancelledError, match="why"):
            await task
        writer.write(b"e")
        assert await asyncio.create_task(reader.read(5)) == b"e"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with CPython 3.12")
@on(*(name for name in LOOPS if "uvloop" not in name))
async def test_eager_tasks_wait_and_are_woken():
    """Not on uvloop: on CPython 3.13 it gives a task factory an argument that asyncio's eager one does not take."""
    loop = asyncio.get_running_loop()

    async def reads(reader):
        variable.set("inside")
        return await reader.read(2), variable.get(), asyncio.current_task()

    async with pair() as ((_, writer), (reader, _)):
        loop.set_task_factory(asyncio.eager_task_factory)
        waiting = asyncio.create_task(reads(reader))
        assert not waiting.done()
        writer.write(b"abcd")
        assert await waiting == (b"ab", "inside", waiting)
        ready = asyncio.create_task(reads(reader))
        assert ready.done()
        assert ready.result()[0] == b"cd"
        direct = asyncio.create_task(reader.read(2))
        writer.write(b"ef")
        assert await direct == b"ef"
        loop.set_task_factory(None)


@pytest.mark.skipif(not OURS, reason="the reactor needs epoll")
@on("poolio")
async def test_reactor_runs_within_a_task_the_other_task_waits_for_its_turn():
    """Somebody nests a pass of the loop's selector in a task: a task is current, so no other one is stepped."""
    seen = []

    async def reads(reader):
        seen.append(await reader.read(10))
        seen.append(asyncio.current_task())

    async with pair() as ((_, writer), (reader, _)):
        task = asyncio.create_task(reads(reader))
        await turns()
        writer.write(b"abc")
        asyncio.get_running_loop()._selector.select(0)
        assert seen == []
        await task
        assert seen == [b"abc", task]


@on(*OURS)
async def test_debug_mode_wakes_tasks_as_well():
    asyncio.get_running_loop().set_debug(True)
    async with pair() as ((_, writer), (reader, _)):
        task = asyncio.create_task(reader.readexactly(4))
        await turns()
        writer.write(b"ab")
        await asyncio.sleep(0.005)
        assert "Task pending" in repr(task)
        task.get_stack()
        writer.write(b"cd")
        assert await task == b"abcd"


@on(*OURS)
async def test_handler_dropped_while_it_waits_leaves_nothing(make_pool):
    pool = make_pool()
    async with pair(pool=pool) as ((_, writer), (reader, server_writer)):
        task = asyncio.create_task(reader.readexactly(1000))
        await turns()
        writer.write(b"abc")
        await asyncio.sleep(0.005)
        server_writer.close()
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await task
        assert caught.value.partial == b"abc"


# --- backpressure -----------------------------------------------------------------------------------------------

@on_ends
async def test_more_than_twice_the_limit_unread_pauses_and_the_limit_lets_go_on(streams):
    async with pair(streams, limit=1000) as ((_, writer), (reader, server_writer)):
        transport = server_writer.transport
        writer.write(BLOCK[:2000])
        await asyncio.sleep(0.01)
        assert transport.is_reading()
        writer.write(BLOCK[2000:2001])
        await eventually(lambda: not transport.is_reading())
        assert await reader.readexactly(1000) == BLOCK[:1000]
        assert not transport.is_reading()
        assert await reader.readexactly(1) == BLOCK[1000:1001]
        assert transport.is_reading()
        writer.write(BLOCK[2001:5000])
        assert await reader.readexactly(3999) == BLOCK[1001:5000]


@pytest.mark.parametrize("streams, loop_name", [("poolio", name) for name in LOOPS])
@pytest.mark.parametrize("call", (
    lambda reader: reader.readexactly(300_000),
    lambda reader: reader.read_at_least(300_000),
    lambda reader: reader.peek(300_000),
    lambda reader: reader.readuntil(BLOCK[299_990:300_000], limit=300_000),
    lambda reader: anext(reader.frames(poolio.FixedSize(300_000))),
), ids=("readexactly", "read_at_least", "peek", "readuntil", "frames"))
def test_wanted_is_more_than_the_limit_no_deadlock(streams, loop_name, call):
    async def main():
        async with pair(streams, limit=1000) as ((_, writer), (reader, server_writer)):
            writer.write(BLOCK[:400_000])
            await eventually(lambda: not server_writer.transport.is_reading())
            assert (await call(reader))[:300_000] == BLOCK[:300_000]
            rest = asyncio.create_task(reader.read())
            writer.write_eof()
            assert BLOCK[:400_000].endswith(await rest)
    run(loop_name, main, timeout=30)


@on_ends
async def test_paused_and_lost_what_is_unread_can_be_read(streams):
    """The transport is gone, so nobody can resume it."""
    async with pair(streams, limit=1000) as ((_, writer), (reader, server_writer)):
        writer.write(BLOCK[:5000])
        await eventually(lambda: not server_writer.transport.is_reading())
        server_writer.transport.abort()
        await eventually(lambda: reader.exception() or reader.at_eof() or not server_writer.transport.is_reading())
        await server_writer.wait_closed()
        got = await reader.read()
        assert len(got) > 2000
        assert BLOCK.startswith(bytes(got))


@on(*OURS[:1])
async def test_limit_as_large_as_can_be_never_pauses():
    async with pair(limit=sys.maxsize) as ((_, writer), (reader, server_writer)):
        writer.write(b"abc")
        await asyncio.sleep(0.01)
        assert server_writer.transport.is_reading()
        assert await reader.read(3) == b"abc"


@bounded
async def test_transport_that_can_not_pause_is_not_asked_again():
    asked = []

    class Transport(asyncio.Transport):
        def pause_reading(self):
            asked.append("pause")
            raise NotImplementedError

    reader = poolio.StreamReader(limit=1)
    reader.set_transport(Transport())
    for _ in range(3):
        reader.feed_data(b"abc")
    assert asked == ["pause"]
    assert await unread(reader) == b"abcabcabc"


@on(*OURS)
async def test_peer_sends_byte_by_byte_a_large_frame_comes_whole(make_pool):
    pool = make_pool()
    async with pair(pool=pool) as ((_, writer), (reader, _)):
        task = asyncio.create_task(anext(reader.frames(poolio.LengthPrefixed(2))))
        for start in range(500):
            writer.write((b"\1\xf2" + BLOCK[:498])[start:start + 1])
            await asyncio.sleep(0)
        assert await task == BLOCK[:498]
        del task


@pytest.mark.parametrize("loop_name", OURS[:1])
def test_loop_is_closed_while_a_task_waits(loop_name, make_pool):
    pool = make_pool()

    async def main():
        async with pair(pool=pool) as ((_, writer), (reader, _)):
            main.task = asyncio.create_task(reader.readexactly(10))
            await turns()
            writer.write(b"abc")
            await asyncio.sleep(0.005)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(loop_name, main)
    assert main.task.done()
    del main.task
