"""A stream of the server: a task that plays a script with a StreamReader and a StreamWriter.

Owns how each method is called and what it must return; the ways to write an answer; what follows the script: the rest
at once, a relay, the connection handed over to a protocol.

Refuses to know the listeners, the loop, and what the client intends: that it was right to go is the client's judgement,
so an end that comes early is no fault here. The house calls serve() for each connection of a stream's door.
"""

import asyncio
import contextlib

from audited import SoakError, stream_of
from plan import BYTES, KEEPS, REST, ROOM, UPSTREAM, End
from session import BufferSession, BytesSession, RoomSession
from terms import HEADER, SHUTDOWN_SECONDS, WAITS, Literal
from writing import cuts

import poolio
from poolio.wire.stream import StreamTransport

ENDS = (OSError, asyncio.IncompleteReadError)           # of a connection whose client has gone
HANDSHAKE_SECONDS = 10          # one that has gone before the handshake is told by nothing else
NEVER = 1 << 28                                         # bytes that will not come


class Stream:
    plan = None
    is_given_away = False           # nobody will tell this stream of its end

    def __init__(self, house, reader, writer, pool):
        self.house, self.reader, self.writer, self.pool = house, reader, writer, pool
        self.transport = writer.transport

    def describe(self):
        who = f"session {self.plan.number} STREAM, {self.plan.wire}" if self.plan else "a stream without header"
        return f"{who}, {self.transport!r}"

    def fault(self, text):
        self.house.faults.add(f"{text}: {self.describe()}", self.plan and self.plan.number)

    async def serve(self):
        self.house.connections.add(self)
        self.house.counts["made"] += 1
        if type(stream_of(self.transport)) is not StreamTransport:
            self.fault("not poolio's transport")
        try:
            await self.play()
        except* ENDS:
            self.house.counts["streams cut off"] += 1
        except* SoakError as group:
            self.fault(str(group.exceptions[0]))
        finally:
            if not self.is_given_away:
                self.writer.close()
                with contextlib.suppress(*ENDS):
                    await self.writer.wait_closed()
            self.house.connections.discard(self)
            self.house.counts["lost"] += 1

    async def play(self):
        number, opening, part = HEADER.unpack(bytes(await self.reader.readexactly(HEADER.size)))
        self.plan, self.opening = self.house.planner.plan(number, part), opening
        self.dice = self.plan.dice("server")
        self.house.counts[self.plan.kind.name] += 1
        if self.plan.wire == "start_tls":
            self.writer.write(WAITS)
            await self.start_tls()
            self.transport = self.writer.transport
            self.house.counts["start_tls"] += 1
        for step in self.plan.script.steps:
            self.house.counts[f"stream {step.method}"] += 1
            await self.play_step(step)
        rest = self.plan.script.rest.name
        self.house.counts[f"then {rest}"] += 1
        await getattr(self, f"go_on_{rest.lower()}")()

    async def start_tls(self):
        try:
            await self.writer.start_tls(self.house.context, ssl_handshake_timeout=HANDSHAKE_SECONDS,
                                        ssl_shutdown_timeout=SHUTDOWN_SECONDS)
        except ENDS:
            self.is_given_away = True                   # asyncio's TLS tells nobody that the connection is lost
            self.transport.abort()
            raise

    async def play_step(self, step):
        """Each piece that is read is what the script says, and is answered."""
        count = at = 0
        async for piece in READ[step.method](self.reader, step, self.dice):
            whole = step.results[0] if step.is_cut else step.results[count]
            if not step.is_cut and self.reader.at_eof() and len(piece) < len(whole):
                raise asyncio.IncompleteReadError(bytes(piece), len(whole))         # the last line of one who has gone
            if piece != (whole[at:at + len(piece)] if step.is_cut else whole):
                self.fault(f"{step.method}() has returned wrong bytes, {len(piece)} at {at}, result {count}")
            if self.plan.flags & KEEPS and len(piece):
                self.house.keep(piece, self.plan, Literal(whole), at * step.is_cut, self.dice)
            at += len(piece)
            count += 1
            self.house.counts["bytes"] += len(piece)
            if self.writer.is_closing():
                raise ConnectionResetError("lost meanwhile")
            self.answer(step, piece)
            await self.writer.drain()

    def answer(self, step, piece):
        if step.answer_rules is not None:
            self.dice.choice(FRAME_WAYS)(self, step.answer_rules, piece)
        elif len(piece):
            self.dice.choice(WAYS)(self.writer, piece, self.dice)

    # --- after the script -------------------------------------------------------------------------------

    async def go_on_nothing(self):
        if self.plan.end is not End.SERVER:
            rest = await self.reader.read(1)
            if len(rest):
                self.fault("more came than was sent")

    async def go_on_all(self):
        rest = await self.reader.read()
        if rest != self.plan.script.rest_wire[:len(rest)]:      # fewer of one who has gone
            self.fault(f"read() has returned {len(rest)} wrong bytes of {len(self.plan.script.rest_wire)}")
        self.writer.write(rest)
        if self.dice.random() < 0.5:
            self.writer.write_eof()

    async def go_on_relay(self):
        reader, writer = await self.house.open_stream(self.plan)
        try:
            writer.write(HEADER.pack(self.plan.number, self.opening, UPSTREAM))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(poolio.relay(self.reader, writer))
                tasks.create_task(poolio.relay(reader, self.writer))
        finally:
            writer.close()
            with contextlib.suppress(*ENDS):
                await writer.wait_closed()

    async def go_on_hand_over(self):
        if self.writer.is_closing():                    # asyncio's TLS tells the end to whom it had before
            raise ConnectionResetError("lost meanwhile")
        form = BytesSession if self.plan.flags & BYTES else RoomSession if self.plan.flags & ROOM else BufferSession
        session = form(self.house, self.pool) if form is BufferSession else form(self.house)
        session.adopt(self.house.planner.plan(self.plan.number, REST), self.opening)
        self.is_given_away = True
        try:
            self.writer.hand_over(session)
        except ENDS:
            self.is_given_away = session.made
            raise


# --- reading: one generator a method --------------------------------------------------------------------


async def read(reader, step, dice):
    left = len(step.wire)
    while left:
        piece = await reader.read(min(step.size, left))
        check_progress(piece)
        left -= len(piece)
        yield piece


def check_progress(piece):
    if not len(piece):
        raise asyncio.IncompleteReadError(b"", None)


async def exactly(reader, step, dice):
    yield await reader.readexactly(step.size)


async def at_least(reader, step, dice):
    left = len(step.wire)
    while left:
        wanted = min(step.size, left)
        piece = await reader.read_at_least(wanted)
        if not wanted <= len(piece) <= left:
            raise SoakError(f"read_at_least({wanted}) has returned {len(piece)} bytes of {left}")
        left -= len(piece)
        yield piece


async def peek(reader, step, dice):
    ahead = await reader.peek(step.size)
    whole = await reader.readexactly(len(step.wire))
    if whole[:step.size] != ahead:
        raise SoakError(f"peek({step.size}) has returned {len(ahead)} other bytes than what was read next")
    yield whole


async def readinto(reader, step, dice):
    left = len(step.wire)
    while left:
        size = min(step.size, left)
        target = dice.choice((bytearray, poolio.alloc))(size)
        count = await reader.readinto(target)
        piece = target[:count]
        check_progress(piece)
        left -= count
        yield piece


async def until(reader, step, dice):
    for result in step.results:
        yield await reader.readuntil(step.separator, limit=len(result) + 1000)


async def line(reader, step, dice):
    for result in step.results:
        yield await reader.readline(limit=len(result) + 1000)


async def iterate(reader, step, dice):
    async for piece in first(len(step.results), reader):
        yield piece


async def lines(reader, step, dice):
    async for piece in first(len(step.results), reader.lines(limit=1 << 20)):
        yield piece


async def frames(reader, step, dice):
    async for piece in first(len(step.results), reader.frames(step.rules.codec())):
        yield piece


async def first(count, iterator):
    """So many of it, and no more is asked for."""
    if count:
        async for piece in iterator:
            yield piece
            count -= 1
            if not count:
                return
        raise asyncio.IncompleteReadError(b"", None)


async def cancel(reader, step, dice):
    """A call that is cancelled has taken nothing: what comes next shows it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.002 * dice.random()):
            call = dice.choice((reader.readexactly, reader.peek, reader.read_at_least))
            await (call if step.size else reader.peek)(NEVER)
    return
    yield


READ = {method.__name__: method for method in (
    read, exactly, at_least, peek, readinto, until, line, iterate, lines, frames, cancel)}

# --- writing --------------------------------------------------------------------------------------------


def write_plain(writer, piece, dice):
    writer.write(piece)


def write_lines(writer, piece, dice):
    writer.writelines([piece[part] for part in cuts(dice, len(piece), 5)])


def write_copy(writer, piece, dice):
    copy = bytearray(piece)
    writer.write(copy)
    copy[:] = bytes(len(copy))


def write_view(writer, piece, dice):
    with memoryview(piece) as view:
        writer.write(view[:len(view) // 2])
        writer.write(view[len(view) // 2:])


def write_release(writer, piece, dice):
    writer.write(piece)
    if isinstance(piece, poolio.Buffer):
        piece.release()


WAYS = write_plain, write_lines, write_copy, write_view, write_release


def write_frame(stream, rules, piece):
    stream.writer.write_frame(rules.codec(), *(piece[part] for part in cuts(stream.dice, len(piece), 3)))


def write_encoded(stream, rules, piece):
    stream.writer.write(rules.codec().encode(piece))


def build(stream, rules, piece):
    """A frame whose size is not known before."""
    if not hasattr(rules, "width") and type(rules).__name__ != "Variable":
        write_frame(stream, rules, piece)
        return
    with stream.writer.frame(rules.codec()) as frame:
        for part in cuts(stream.dice, len(piece), 3):
            if stream.dice.random() < 0.5:
                frame.write(piece[part])
            else:
                frame.reserve(len(piece[part]))[:] = piece[part]


FRAME_WAYS = write_frame, write_encoded, build
