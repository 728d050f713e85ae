"""StreamReader: readline(), readuntil() and lines(), with the limit on the length of a line.

Where asyncio promises the same, asyncio's own reader runs the same test: then the test is right about asyncio.
"""

import asyncio

import pytest
from kit.pairs import bounded, turns
from kit.readers import LINES, every_reader, fed, feed_soon, several_separators, unread

import poolio

pytestmark = pytest.mark.usefixtures("default_pool_is_left_as_it_was")


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
async def test_async_for_goes_over_lines(kind):
    reader = fed(kind, LINES, b"last")
    reader.feed_eof()
    assert [bytes(line) async for line in reader] == [b"first\n", b"second\n", b"third\n", b"last"]


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
