"""Which servers that receive are compared? One for each row and kind: -m benchmarks.receivers KIND ROW.

It ends with its standard input. KIND is bulkN, prefixedN or linesN, as blast.c sends it. Every server, the C one too,
counts the messages, adds up their first bytes and keeps the last message; of bulk data it counts the bytes and
compares the first one of each read with the one that belongs there. At the end of a connection it says so, and blast.c
compares. So each message and each read is looked into, at the price of one item (about 22 ns in Python, of `bytes` and
of a Buffer alike). What is compared is how a message comes to that loop.

Rows "counting" have the handler that people write: counting.py says what it does.

"by hand" is the best that was found for asyncio.Protocol, whatever the sizes of messages: one struct call and one
slice a message, its end found by struct's own check, the tail joined by hand; for lines split(), which is C. (A parser
that bets on the length before, with one struct for header and body, takes 100 ns for 135: right for one size of
message.) "C epoll, static buffer" (sink.c) is what nobody can undercut. rloop is not among the rows: its servers
(0.5.0) have read all and then do not see that the connection has ended, in most runs, so they never say what they have
received.
"""

import argparse
import asyncio
import contextlib
import importlib
import os
import resource
import struct
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

import poolio
from benchmarks.counting import LOGGED_EVERY, Counted, log
from benchmarks.servers import WARMING_BLOCK_BYTES, FastNet, pin_to_first_core

READ_BYTES = 262144
TAIL = 16
PERIOD = 251  # of bulk data: byte i of the stream is i % 251
UNPACK = struct.Struct(">I").unpack_from
PREFIXED = poolio.LengthPrefixed(4)
LINES = poolio.Delimited(b"\n")


def answer(count: int, total: int, last: Any) -> bytes:
    return b"%d %d %s\n" % (count, total, bytes(last[-TAIL:]).hex().encode())


class Counting(asyncio.Protocol):
    count = total = 0
    last: Any = b""
    tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def eof_received(self) -> None:
        self.transport.write(answer(self.count, self.total, self.last))


class PrefixedByHand(Counting):
    def data_received(self, data: bytes) -> None:
        if self.tail:
            data = self.tail + data
        count, total, at, end = self.count, self.total, 0, len(data)
        unpack, body = UNPACK, self.last
        try:
            while True:
                size, = unpack(data, at)
                start = at + 4
                stop = start + size
                if stop > end:
                    break
                body = data[start:stop]
                at = stop
                count += 1
                total += body[0]
        except struct.error:  # not even a length is left
            pass
        self.count, self.total, self.last, self.tail = count, total, body, data[at:]


class LinesByHand(Counting):
    def data_received(self, data: bytes) -> None:
        if self.tail:
            data = self.tail + data
        lines = data.split(b"\n")
        self.tail = lines.pop()
        count, total, line = self.count, self.total, self.last
        for line in lines:
            count += 1
            total += line[0]
        self.count, self.total, self.last = count, total, line


class Frames(poolio.FramedProtocol):
    count = total = 0
    last: Any = b""

    def frames_received(self, frames: list[Any]) -> None:
        count, total = self.count, self.total
        for frame in frames:
            count += 1
            total += frame[0]
        self.count, self.total, self.last = count, total, frame

    def eof_received(self) -> None:
        self.write(answer(self.count, self.total, self.last))


class CountingPrefixedByHand(Counting):
    """Attributes are counted in for each message, as in the others below: as people write it, and no faster."""

    def data_received(self, data: bytes) -> None:
        if self.tail:
            data = self.tail + data
        at, end, unpack = 0, len(data), UNPACK
        try:
            while True:
                size, = unpack(data, at)
                start = at + 4
                stop = start + size
                if stop > end:
                    break
                self.last = body = data[start:stop]
                at = stop
                self.count += 1
                self.total += body[0]
                if self.count % LOGGED_EVERY == 0:
                    log(self.count, self.total)
        except struct.error:
            pass
        self.tail = data[at:]


class CountingLinesByHand(Counting):
    def data_received(self, data: bytes) -> None:
        if self.tail:
            data = self.tail + data
        lines = data.split(b"\n")
        self.tail = lines.pop()
        for line in lines:
            self.count += 1
            self.total += line[0]
            self.last = line
            if self.count % LOGGED_EVERY == 0:
                log(self.count, self.total)


class CountingFrames(Frames):
    def frames_received(self, frames: list[Any]) -> None:
        for frame in frames:
            self.count += 1
            self.total += frame[0]
            self.last = frame
            if self.count % LOGGED_EVERY == 0:
                log(self.count, self.total)


Handler = Callable[[Any, Any], Awaitable[None]]


def handler(receive: Callable[[Any], Awaitable[tuple[int, int, Any]]]) -> Handler:
    async def handle(reader: Any, writer: Any) -> None:
        writer.write(answer(*await receive(reader)))
        writer.close()

    return handle


async def read(reader: Any) -> tuple[int, int, Any]:
    """Drops what it has read before it waits for more, as the static buffer of the limit is used again."""
    count, wrong, last = 0, 0, b""
    while data := await reader.read(READ_BYTES):
        wrong += data[0] != count % PERIOD
        count += len(data)
        last = bytes(data[-TAIL:])
        del data
    return count, wrong, last


async def read_and_hold(reader: Any) -> tuple[int, int, Any]:
    """The same, but its variable still holds what it has read while it waits for more."""
    count, wrong, last = 0, 0, b""
    while data := await reader.read(READ_BYTES):
        wrong += data[0] != count % PERIOD
        count += len(data)
        last = bytes(data[-TAIL:])
    return count, wrong, last


async def read_exactly_twice(reader: Any) -> tuple[int, int, Any]:
    count, total, body = 0, 0, b""
    with contextlib.suppress(asyncio.IncompleteReadError):
        while True:
            body = await reader.readexactly(UNPACK(await reader.readexactly(4))[0])
            count += 1
            total += body[0]
    return count, total, body


async def read_lines(reader: Any) -> tuple[int, int, Any]:
    count, total, last = 0, 0, b""
    while line := await reader.readline():
        last = line[:-1]
        count += 1
        total += last[0]
    return count, total, last


async def iterate(frames: Any) -> tuple[int, int, Any]:
    count, total, frame = 0, 0, b""
    async for frame in frames:
        count += 1
        total += frame[0]
    return count, total, frame


async def iterate_counting(frames: Any) -> tuple[int, int, Any]:
    session = Counted()
    async for frame in frames:
        session.count += 1
        session.total += frame[0]
        session.last = frame
        if session.count % LOGGED_EVERY == 0:
            log(session.count, session.total)
    return session.count, session.total, session.last


@dataclass(frozen=True)
class Row:
    kinds: tuple[str, ...]
    serve: Callable[[str], Any]
    loop: str = "asyncio"
    library: str = ""

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.loop, self.library)))


def protocol(factory: Callable[[], Any], net: Any = None) -> Callable[[str], Any]:
    """On the loop's transports, or those of `net`."""

    async def serve(kind: str) -> Any:
        return await (net or asyncio.get_running_loop()).create_server(factory, "127.0.0.1", 0, backlog=2048)

    return serve


def framed(codec: poolio.Codec, kind: type[Frames] = Frames) -> Callable[[str], Any]:
    return protocol(lambda: kind(codec), poolio)


def streams(net: Any, receive: Callable[[Any], Awaitable[tuple[int, int, Any]]]) -> Callable[[str], Any]:
    async def serve(kind: str) -> Any:
        return await net.start_server(handler(receive), "127.0.0.1", 0, backlog=2048)

    return serve


async def become_the_limit(kind: str) -> Any:
    """Run sink.c instead of this interpreter, on the core that it was pinned to; the harness has compiled it."""
    from benchmarks import places  # here, as no other row's process needs it

    program = places.programs() / "sink"
    os.execv(program, [str(program), kind])


LIMIT = "C epoll, static buffer"
BULK, PREFIXES, LINE_KINDS = ("bulk",), ("prefixed",), ("lines",)
ROWS = {
    LIMIT: Row(BULK + PREFIXES + LINE_KINDS, become_the_limit),
    "asyncio Streams": Row(BULK, streams(asyncio, read)),
    "uvloop Streams": Row(BULK, streams(asyncio, read), "uvloop"),
    "aiofastnet Streams, uvloop": Row(BULK, streams(FastNet(), read), "uvloop", "aiofastnet"),
    "poolio streams, asyncio": Row(BULK, streams(poolio, read)),
    "poolio streams, EventLoop": Row(BULK, streams(poolio, read), "poolio"),
    "asyncio Streams, holding": Row(BULK, streams(asyncio, read_and_hold)),
    "poolio streams, EventLoop, holding": Row(BULK, streams(poolio, read_and_hold), "poolio"),
    "by hand, asyncio": Row(PREFIXES, protocol(PrefixedByHand)),
    "by hand, uvloop": Row(PREFIXES, protocol(PrefixedByHand), "uvloop"),
    "by hand, aiofastnet on uvloop": Row(PREFIXES, protocol(PrefixedByHand, FastNet()), "uvloop", "aiofastnet"),
    "by hand, EventLoop": Row(PREFIXES, protocol(PrefixedByHand), "poolio"),
    "readexactly twice, asyncio": Row(PREFIXES, streams(asyncio, read_exactly_twice)),
    "poolio readexactly twice, EventLoop": Row(PREFIXES, streams(poolio, read_exactly_twice), "poolio"),
    "poolio FramedProtocol, asyncio": Row(PREFIXES, framed(PREFIXED)),
    "poolio FramedProtocol, EventLoop": Row(PREFIXES, framed(PREFIXED), "poolio"),
    "poolio frames(), asyncio": Row(PREFIXES, streams(poolio, lambda reader: iterate(reader.frames(PREFIXED)))),
    "poolio frames(), EventLoop": Row(
        PREFIXES, streams(poolio, lambda reader: iterate(reader.frames(PREFIXED))), "poolio"),
    "split by hand, asyncio": Row(LINE_KINDS, protocol(LinesByHand)),
    "split by hand, EventLoop": Row(LINE_KINDS, protocol(LinesByHand), "poolio"),
    "readline, asyncio": Row(LINE_KINDS, streams(asyncio, read_lines)),
    "poolio FramedProtocol lines, asyncio": Row(LINE_KINDS, framed(LINES)),
    "poolio FramedProtocol lines, EventLoop": Row(LINE_KINDS, framed(LINES), "poolio"),
    "poolio lines(), asyncio": Row(LINE_KINDS, streams(poolio, lambda reader: iterate(reader.lines()))),
    "poolio lines(), EventLoop": Row(LINE_KINDS, streams(poolio, lambda reader: iterate(reader.lines())), "poolio"),
    "by hand, asyncio, counting": Row(PREFIXES, protocol(CountingPrefixedByHand)),
    "by hand, uvloop, counting": Row(PREFIXES, protocol(CountingPrefixedByHand), "uvloop"),
    "by hand, aiofastnet on uvloop, counting": Row(
        PREFIXES, protocol(CountingPrefixedByHand, FastNet()), "uvloop", "aiofastnet"),
    "by hand, EventLoop, counting": Row(PREFIXES, protocol(CountingPrefixedByHand), "poolio"),
    "poolio FramedProtocol, asyncio, counting": Row(PREFIXES, framed(PREFIXED, CountingFrames)),
    "poolio FramedProtocol, EventLoop, counting": Row(PREFIXES, framed(PREFIXED, CountingFrames), "poolio"),
    "poolio frames(), EventLoop, counting": Row(
        PREFIXES, streams(poolio, lambda reader: iterate_counting(reader.frames(PREFIXED))), "poolio"),
    "split by hand, asyncio, counting": Row(LINE_KINDS, protocol(CountingLinesByHand)),
    "split by hand, uvloop, counting": Row(LINE_KINDS, protocol(CountingLinesByHand), "uvloop"),
    "split by hand, EventLoop, counting": Row(LINE_KINDS, protocol(CountingLinesByHand), "poolio"),
    "poolio FramedProtocol lines, asyncio, counting": Row(LINE_KINDS, framed(LINES, CountingFrames)),
    "poolio FramedProtocol lines, EventLoop, counting": Row(LINE_KINDS, framed(LINES, CountingFrames), "poolio"),
    "poolio lines(), EventLoop, counting": Row(
        LINE_KINDS, streams(poolio, lambda reader: iterate_counting(reader.lines())), "poolio"),
}


async def serve(row: Row, kind: str) -> None:
    ended = asyncio.Event()
    server = await row.serve(kind)
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind")
    parser.add_argument("row", choices=ROWS)
    args = parser.parse_args()
    row = ROWS[args.row]
    pin_to_first_core()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    bytearray(WARMING_BLOCK_BYTES)  # asyncio's transports receive cheaply only after a block of that size was freed
    with asyncio.Runner(loop_factory=importlib.import_module(row.loop).new_event_loop) as runner:
        runner.run(serve(row, args.kind))


if __name__ == "__main__":
    main()
