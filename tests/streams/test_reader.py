"""StreamReader: what the calls that read bytes return, and what they raise at the end or after an error.

Where asyncio promises the same, asyncio's own reader runs the same test: then the test is right about asyncio.
"""

import asyncio

import pytest
from kit.pairs import bounded, turns
from kit.readers import LINES, every_reader, fed, feed_soon, unread
from kit.wires import run

import poolio

pytestmark = pytest.mark.usefixtures("default_pool_is_left_as_it_was")


# --- calls that asyncio has too -------------------------------------------------------------------------------

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


@bounded
async def test_repr_tells_what_is_unread_and_the_end():
    reader = fed(poolio.StreamReader, b"data")
    assert repr(reader) == "<poolio.StreamReader with 4 bytes unread>"
    reader.feed_eof()
    assert repr(reader) == "<poolio.StreamReader at its end with 4 bytes unread>"


# --- calls that asyncio does not have -------------------------------------------------------------------------

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
