"""Owns stream readers that are fed by hand, and every call that can wait. Called by the tests of streams/."""

import asyncio
import sys

import pytest

import poolio

every_reader = pytest.mark.parametrize("kind", (asyncio.StreamReader, poolio.StreamReader), ids=("asyncio", "poolio"))
several_separators = pytest.mark.parametrize("kind", (
    pytest.param(asyncio.StreamReader, id="asyncio", marks=pytest.mark.skipif(
        sys.version_info < (3, 13), reason="asyncio's readuntil() takes a tuple since 3.13")),
    pytest.param(poolio.StreamReader, id="poolio")))
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
