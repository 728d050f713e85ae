"""Thousands of connections, opened, used and dropped at random: is every byte right, and is nothing left behind?

    soak.py [--seconds 60] [--connections 2000] [--loop poolio|asyncio|uvloop] [--seed N]

Status 1 and the reasons if anything is wrong. Three processes: this one, which only asks and judges; the server, which
is measured; the clients, which drive plain nonblocking sockets, TCP and unix. On `poolio` the loop is poolio.EventLoop,
and its own methods serve and connect; on the others poolio.create_server() and the like do, on that loop. The seed
decides what each connection does; what happens at the same time it can't decide.

A connection begins with a header that says what the server is to do with it (Kind, How, flags). Its contents are a
window of one pseudo-random block, which repeats with a prime period: each byte is known by its position, so server and
clients compare all that they receive.

The run has four quarters. In each the crowd is kept at its size by opening a connection for each one that has ended;
then all of them end, a part at once and by resets, and the server comes to rest. Checked then:

    contents      every byte received, on both sides; what a kept slice shows a while later; nothing after abort()
    ends          whoever the server closes gets all that was written before; half-closes are answered in full; no
                  connection is reset or closed that should not be
    callbacks     connection_made and connection_lost once each, all in order, none while paused or after an end
    memory        every pool empty and sound, no slab left after trim(), no transport alive; memory at rest
    descriptors   as many as before the first connection; in the end as many as before there was a loop
    silence       nothing on stderr (ResourceWarnings are shown) or from asyncio's logger, no call of the loop's
                  exception handler but for the SoakErrors raised on purpose
    coverage      each behaviour has happened

Each wait is bounded: a connection that does not end is reported, and a process that hangs shows its traceback.
"""

import argparse
import asyncio
import collections
import contextlib
import ctypes
import enum
import errno
import faulthandler
import functools
import gc
import heapq
import itertools
import json
import logging
import math
import os
import random
import resource
import select
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from dataclasses import dataclass, field

import poolio
from poolio.transport import StreamTransport

QUARTERS = 4
LARGEST = 300_000               # of one message; more than a read slab (256 KiB), so it never comes at once
PERIOD = 1_048_573              # a prime: a mix-up of pages, slabs or messages never shows the same bytes
SETTLE_SECONDS = 15             # the server's time to see that all connections have ended
GRACE_SECONDS = 30              # the clients' time to end them
EXTRA_SECONDS = QUARTERS * (SETTLE_SECONDS + GRACE_SECONDS) + 30
BACKLOG = 4096
REPORTED = 12                   # faults of a process that are told; the others are counted

# Memory at rest, when all connections are gone and pools and malloc are trimmed. Resident memory is what a peak has
# left in malloc's and Python's heaps, by chance 1 to 5 MB more than after the first quarter; a leak of 250 bytes a
# connection would be above 16 MB within a minute. Python's own blocks are no chance: from the second quarter to the
# last they grow by one for some hundred connections, and an object lost with each tenth connection is too much.
RESIDENT_GROWTH = 16 << 20
BLOCKS_A_CONNECTION = 0.1


class Kind(enum.IntEnum):
    """What the server does with a connection."""

    ECHO = enum.auto()
    GATHER = enum.auto()        # send all of it back after eof_received()
    MUTE = enum.auto()          # echo `limit` bytes, write_eof() inside data_received(), read on
    ABORT = enum.auto()         # echo; abort() inside data_received() after `limit` bytes, or in pause_writing() etc.
    CLOSE = enum.auto()         # echo; after `size` bytes send `limit` more and close() inside data_received()
    RAISE = enum.auto()         # echo; an exception inside data_received() after `limit` bytes
    SOURCE = enum.auto()        # echo, and to each SINK of its group
    SINK = enum.auto()          # first says in 8 bytes at which position it begins
    KILLER = enum.auto()        # echo; each time a VICTIM is aborted or closed
    VICTIM = enum.auto()        # echo
    PROXY = enum.auto()         # to another connection of the server to itself, and back
    # without a header:
    GREETED = enum.auto()       # at a port of its own: connection_made() writes, and closes or aborts
    NOTHING = enum.auto()       # the client goes before the header is complete


class How(enum.IntEnum):
    """How the server writes what it has received."""

    PLAIN = enum.auto()
    DIRECT = enum.auto()        # by transport.write()
    LINES = enum.auto()         # writelines() of slices
    PIECES = enum.auto()        # many small slices
    OWN = enum.auto()           # a Buffer of its own, allocated and filled
    COPY = enum.auto()          # a bytearray that changes afterwards
    RELEASE = enum.auto()       # released afterwards
    VIEW = enum.auto()          # a memoryview of it
    SCRIBBLE = enum.auto()      # a writable view is alive, and is written through afterwards
    LATER = enum.auto()         # not inside the callback


class End(enum.IntEnum):
    """How the client ends a connection."""

    FINISH = enum.auto()        # everything came back, then close()
    HALF = enum.auto()          # shutdown(SHUT_WR), then read to the end
    RESET = enum.auto()         # at a random point, SO_LINGER 0
    DROP = enum.auto()          # at a random point, close()
    SERVER = enum.auto()        # the server is to end it


PAUSES, KEEPS, SMALL, IGNORES, STAYS, BYTES, ROOM = (1 << bit for bit in range(7))
HEADER = struct.Struct("<BBHIIII")      # kind, how, flags, start, size, limit, group
START = struct.Struct("<Q")             # to a SINK: a position; to a GREETED one: 2 * size, and 1 if all of it comes
SHARED = (How.PLAIN, How.DIRECT, How.LINES, How.PIECES, How.OWN)        # others read the Buffer afterwards
GARBAGE = b"this was written after abort() and must not arrive"


class SoakError(Exception):
    """Raised on purpose inside data_received()."""


@functools.cache
def block(seed):
    once = random.Random(seed).randbytes(PERIOD)
    return once + once[:LARGEST]


class Contents:
    """The bytes at each position of the stream that begins at `start`."""

    def __init__(self, seed):
        self.block = block(seed)

    def at(self, start, position, length):
        offset = (start + position) % PERIOD
        return self.block[offset:offset + length]


class Faults:
    """What is wrong, in words: the first ones, and how many."""

    def __init__(self):
        self.texts, self.more = [], 0

    def add(self, text):
        if len(self.texts) < REPORTED:
            self.texts.append(text)
        else:
            self.more += 1

    def take(self):
        texts = self.texts + [f"and {self.more} more"] * bool(self.more)
        self.texts, self.more = [], 0
        return texts


def answer(**report):
    print(json.dumps(report), flush=True)


# --- the server: its protocols ------------------------------------------------------------------------------------

class Audited:
    """A connection of the server: the order of its callbacks, and who holds up its reading.

    Its feeder is whose data it writes: pause_writing() holds that one's reading up.
    """

    made = lost = at_end = blocked = is_done = ignores_pressure = False
    transport = None

    def __init__(self, house):
        self.house = house
        self.holds = set()
        self.feeder = self

    def connection_made(self, transport):
        super().connection_made(transport)
        self.transport = transport
        self.expect(not self.made and not self.lost, "connection_made()")
        self.expect(type(transport) is StreamTransport, f"a transport of {type(transport)}")
        self.made = True
        self.house.connections.add(self)
        self.house.counts["made"] += 1

    def connection_lost(self, exc):
        self.expect(self.made and not self.lost, "connection_lost()")
        self.expect(exc is None or isinstance(exc, ConnectionError | SoakError), f"connection_lost({exc!r})")
        self.lost = True
        if self.blocked:
            self.feeder.go_on(self)
        self.house.connections.discard(self)
        self.house.counts["lost"] += 1

    def pause_writing(self):
        self.expect(self.made and not self.lost and not self.blocked, "pause_writing()")
        self.blocked = True
        self.house.counts["pause_writing"] += 1
        if not self.ignores_pressure:
            self.feeder.hold(self)

    def resume_writing(self):
        self.expect(self.made and not self.lost and self.blocked, "resume_writing()")
        self.blocked = False
        self.feeder.go_on(self)

    def may_receive(self, what):
        self.expect(self.made and not self.lost and not self.at_end, what)
        self.expect(not self.holds, f"{what} while reading is paused")
        self.expect(not self.is_done, f"{what} after close() or abort()")

    def hold(self, reason):
        if not self.holds:
            self.transport.pause_reading()
        self.holds.add(reason)

    def go_on(self, reason):
        self.holds.discard(reason)
        if not self.holds and not self.lost:
            self.transport.resume_reading()

    def end(self, how):
        """By `abort` or `close`: no data may come any more."""
        self.is_done = True
        getattr(self.transport, how)()

    def expect(self, holds, what):
        if not holds:
            self.house.faults.add(f"unexpected: {what} on {self.describe()}")

    def describe(self):
        state = [name for name in ("made", "lost", "at_end", "blocked", "is_done") if getattr(self, name)]
        return f"{type(self).__name__} {' '.join(state)}, holds {len(self.holds)}, {self.transport!r}"


class Session(Audited):
    """An accepted connection: reads the header, then does what it says."""

    kind = None
    how = flags = start = size = limit = group = 0      # the header
    position = 0                                        # bytes received
    waiting = 0                                         # writes of How.LATER

    def __init__(self, house):
        super().__init__(house)
        self.head = b""

    def describe(self):
        kind = self.kind.name if self.kind else "no header"
        return f"{kind} {self.position}/{self.size} flags={self.flags:#x} {super().describe()}"

    # --- the callbacks ----------------------------------------------------------------------------------

    def data_received(self, data):
        self.may_receive("data_received()")
        if self.kind is None:
            self.read_header(data)
        else:
            self.receive(data)

    def eof_received(self):
        self.may_receive("eof_received()")
        self.at_end = True
        if self.kind is Kind.GATHER:
            self.send_gathered()
        elif self.kind is Kind.PROXY:
            self.peer.transport.write_eof()
        elif self.waiting or self.flags & STAYS:
            self.house.later(0.02, self.end_after_eof)
        else:
            if self.kind is Kind.SOURCE:
                self.end_group("close")
            return None
        self.house.counts["half-closed"] += 1
        return True

    def connection_lost(self, exc):
        super().connection_lost(exc)
        if self.kind is Kind.SOURCE:
            self.end_group("abort")
        elif self.kind is Kind.SINK and self.feeder is not self:
            self.feeder.sinks.discard(self)
        elif self.kind is Kind.VICTIM:
            self.house.victims.discard(self)
        elif self.kind is Kind.PROXY:
            self.connecting.cancel()
            if self.peer is not None:
                self.peer.transport.abort()

    def pause_writing(self):
        super().pause_writing()
        self.perhaps_abort("abort in pause_writing")

    def resume_writing(self):
        super().resume_writing()
        self.perhaps_abort("abort in resume_writing")

    def perhaps_abort(self, where):
        if self.kind is Kind.ABORT and not self.is_done and self.house.dice.random() < 0.3:
            self.house.counts[where] += 1
            self.end("abort")

    # --- the header -------------------------------------------------------------------------------------

    def read_header(self, data):
        self.head += bytes(data)
        if len(self.head) < HEADER.size:
            return
        rest = data[len(data) - (len(self.head) - HEADER.size):]
        kind, self.how, self.flags, self.start, self.size, self.limit, self.group = HEADER.unpack_from(self.head)
        self.kind = Kind(kind)
        self.ignores_pressure = bool(self.flags & IGNORES)
        self.house.counts[self.kind.name] += 1
        session = self.in_its_form()
        session.begin()
        if len(rest):
            session.receive(rest)

    def in_its_form(self):
        """Some go on as an asyncio.Protocol or an asyncio.BufferedProtocol, by set_protocol()."""
        if not self.flags & (BYTES | ROOM):
            return self
        other = (BytesSession if self.flags & BYTES else RoomSession)(self.house)
        names = "transport", "made", "kind", "how", "flags", "start", "size", "limit", "group", "ignores_pressure"
        for name in names:
            setattr(other, name, getattr(self, name))
        self.house.connections.discard(self)
        self.house.connections.add(other)
        self.house.counts["set_protocol"] += 1
        self.made = False               # no callback may come here any more
        self.transport.set_protocol(other)
        return other

    def begin(self):
        self.act = getattr(self, f"do_{self.kind.name.lower()}", self.put)
        if self.flags & SMALL:
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            self.transport.set_write_buffer_limits(high=self.house.dice.choice((0, 1, 1000, 20_000, 65_536)))
        if self.kind is Kind.GATHER:
            self.parts = []
        elif self.kind is Kind.SOURCE:
            self.sinks = set()
            self.house.groups[self.group] = self
        elif self.kind is Kind.SINK:
            self.join()
        elif self.kind is Kind.VICTIM:
            self.house.victims.add(self)
        elif self.kind is Kind.PROXY:
            self.peer, self.parts = None, []
            self.hold("connecting")
            self.connecting = self.house.spawn(self.connect())

    # --- what comes -------------------------------------------------------------------------------------

    def receive(self, data):
        if data != self.house.contents.at(self.start, self.position, len(data)):
            self.house.faults.add(f"wrong bytes received by {self.describe()}")
        if self.flags & KEEPS:
            self.house.keep(data, self.start, self.position)
        self.position += len(data)
        self.house.counts["bytes"] += len(data)
        self.act(data)
        if self.flags & PAUSES and not self.is_done and self.house.dice.random() < 0.3:
            self.house.counts["pause_reading"] += 1
            self.hold("pause")
            self.house.later(0.03, lambda: self.go_on("pause"))

    def put(self, data):
        if len(data):
            WRITE[self.how](self, data)

    def do_gather(self, data):
        self.parts.append(data)

    def send_gathered(self):
        for part in self.parts:
            if not self.transport.is_closing():         # it may fail meanwhile
                self.put(part)
        self.parts.clear()
        self.end_after_eof()

    def end_after_eof(self):
        if self.waiting and not self.lost:
            self.house.later(0.01, self.end_after_eof)
            return
        if self.house.dice.random() < 0.5:
            self.transport.write_eof()
        if self.house.dice.random() < 0.5:
            self.transport.close()
        else:
            self.house.later(0.02, self.transport.close)

    def do_mute(self, data):
        before = self.position - len(data)
        if before < self.limit:
            self.put(data[:self.limit - before])
            if self.position >= self.limit:
                self.transport.write_eof()

    def do_abort(self, data):
        self.put(data)
        if self.position >= self.limit:
            self.end("abort")
            self.write(GARBAGE)

    def do_close(self, data):
        self.put(data)
        if self.position >= self.size:
            self.put(self.house.contents.at(self.start, self.size, self.limit))
            self.end("close")

    def do_raise(self, data):
        self.put(data)
        if self.position >= self.limit:
            self.is_done = True
            self.house.counts["raised"] += 1
            raise SoakError

    def do_killer(self, data):
        self.put(data)
        if self.house.victims:
            self.house.counts["killed"] += 1
            self.house.victims.pop().end(self.house.dice.choice(("abort", "close")))

    # --- groups -----------------------------------------------------------------------------------------

    def do_source(self, data):
        self.put(data)
        for sink in tuple(self.sinks):
            if not sink.transport.is_closing():
                self.house.counts["broadcast"] += 1
                sink.put(data)

    def do_sink(self, data):
        self.house.faults.add(f"{len(data)} bytes more than were sent came to {self.describe()}")

    def join(self):
        source = self.house.groups.get(self.group)
        if source is None:
            self.end("close")
            return
        self.write(START.pack(source.position))
        self.feeder = source
        source.sinks.add(self)

    def end_group(self, how):
        self.house.groups.pop(self.group, None)
        sinks, self.sinks = self.sinks, set()
        for sink in sinks:
            sink.end(how)

    # --- the proxy --------------------------------------------------------------------------------------

    async def connect(self):
        self.peer = await self.house.connect(lambda: Upstream(self.house, self))
        self.peer.write(HEADER.pack(Kind.ECHO, How.PLAIN, self.flags & KEEPS, self.start, self.size, 0, 0))
        self.peer.writelines(self.parts)                # what came with the header
        self.parts.clear()
        self.feeder = self.peer
        self.go_on("connecting")

    def do_proxy(self, data):
        self.house.counts["proxied"] += 1
        if self.peer is None:
            self.parts.append(data)
        elif not self.peer.transport.is_closing():
            self.peer.write(data)


class BufferSession(Session, poolio.Protocol):
    def __init__(self, house):
        super().__init__(house)
        self.pool = house.dice.choice(house.pools)


class BytesSession(Session, asyncio.Protocol):
    def write(self, data):
        self.transport.write(data)

    def writelines(self, lines):
        self.transport.writelines(lines)


class RoomSession(Session, asyncio.BufferedProtocol):
    write, writelines = BytesSession.write, BytesSession.writelines

    def get_buffer(self, sizehint):
        self.room = bytearray(self.house.dice.choice((100, 5000, 65_536)))
        return self.room

    def buffer_updated(self, count):
        self.data_received(bytes(self.room[:count]))


class Upstream(Audited, poolio.Protocol):
    """The proxy's other half: a connection that the server itself has made, to itself."""

    def __init__(self, house, session):
        super().__init__(house)
        self.session = self.feeder = session
        self.pool = house.dice.choice(house.pools)

    def data_received(self, data):
        self.may_receive("data_received()")
        if not self.session.transport.is_closing():
            self.session.write(data)

    def eof_received(self):
        self.may_receive("eof_received()")
        self.at_end = True
        self.session.transport.close()

    def connection_lost(self, exc):
        super().connection_lost(exc)
        self.session.transport.close()


class Greeter(Audited, poolio.Protocol):
    """Says something inside connection_made(), and ends it there."""

    def connection_made(self, transport):
        super().connection_made(transport)
        dice, how = self.house.dice, self.house.dice.choice(("close", "abort", "write_eof"))
        size = dice.choice((0, 1, 1000, 65_536, LARGEST))
        self.house.counts[f"{how} in connection_made"] += 1
        if dice.random() < 0.5:
            transport.set_write_buffer_limits(0)
        self.write(START.pack(2 * size + (how != "abort")))
        self.write(self.house.contents.at(0, 0, size))
        self.end(how)


def cuts(session, length, most):
    """Random slices that make up a whole."""
    edges = sorted({0, length, *(session.house.dice.randrange(length) for _ in range(most))})
    return itertools.starmap(slice, itertools.pairwise(edges))


def write_lines(session, data):
    lines = [data[part] for part in cuts(session, len(data), 7)]
    session.house.dice.choice((session, session.transport)).writelines(lines)


def write_pieces(session, data):
    for part in cuts(session, len(data), 50):
        if not session.transport.is_closing():          # it may fail meanwhile
            session.write(data[part])


def write_own(session, data):
    own = session.house.dice.choice(session.house.pools).alloc_unsafe(len(data))
    own[:] = data
    session.write(own)


def write_copy(session, data):
    copy = bytearray(data)
    session.write(copy)
    copy[:] = bytes(len(copy))


def write_release(session, data):
    session.write(data)
    if not isinstance(data, bytes):
        data.release()


def write_scribble(session, data):
    with memoryview(data) as view:
        session.write(data)
        if not view.readonly:
            view[:] = bytes(len(view))


def write_later(session, data):
    def write():
        session.waiting -= 1
        if not session.lost and not session.transport.is_closing():
            session.write(data)

    session.waiting += 1
    session.house.loop.call_soon(write)


WRITE = {
    How.PLAIN: lambda session, data: session.write(data),
    How.DIRECT: lambda session, data: session.transport.write(data),
    How.LINES: write_lines, How.PIECES: write_pieces, How.OWN: write_own, How.COPY: write_copy,
    How.RELEASE: write_release, How.VIEW: lambda session, data: session.write(memoryview(data)),
    How.SCRIBBLE: write_scribble, How.LATER: write_later,
}


# --- the server: its process --------------------------------------------------------------------------------------

class Complaints(logging.Handler):
    """What asyncio logs is a fault; with the lines of this file that it came from, the innermost first."""

    def __init__(self, faults):
        super().__init__(logging.WARNING)
        self.faults = faults

    def emit(self, record):
        stack = traceback.walk_stack(sys._getframe(1))  # numbers only: to look the lines up would cost 5,000 blocks
        lines = [str(number) for frame, number in stack if frame.f_code.co_filename == __file__]
        self.faults.add(f"{record.name} logged {record.getMessage()!r}, from lines {' < '.join(lines[:4])}")


class House:
    """The server process: its loop, listeners, pools and figures."""

    def __init__(self, options):
        self.options = options
        self.contents = Contents(options.seed)
        self.dice = random.Random(options.seed + 1)
        self.faults = Faults()
        self.counts = collections.Counter()
        modes = ("never", "on_alloc", "on_release")
        self.pools = [poolio.default_pool(), *(poolio.Pool(zeroing=mode) for mode in modes)]
        self.connections, self.victims, self.tasks, self.groups = set(), set(), set(), {}
        self.kept = collections.deque()
        self.under_load = []            # resident memory

    def new_loop(self):
        if self.options.loop == "uvloop":
            import uvloop

            return uvloop.new_event_loop()
        return asyncio.new_event_loop() if self.options.loop == "asyncio" else poolio.new_event_loop()

    # --- what sessions ask for --------------------------------------------------------------------------

    def later(self, at_most, action):
        self.loop.call_later(self.dice.uniform(0, at_most), action)

    def spawn(self, work):
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.end_task)
        return task

    def end_task(self, task):
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.faults.add(f"a task has failed: {task.exception()!r}")

    async def connect(self, factory):
        family, address = self.dice.choice(self.addresses)
        if family == socket.AF_UNIX:
            return (await self.net.create_unix_connection(factory, address))[1]
        return (await self.net.create_connection(factory, *address))[1]

    def keep(self, data, start, position):
        """Some of it for a while, as a slice, or moved to memory of its own."""
        if len(self.kept) < 200:
            first = self.dice.randrange(len(data))
            piece = data[first:][:self.dice.randint(1, len(data))]
            if self.dice.random() < 0.2 and not isinstance(piece, bytes):
                piece = piece.detach()
            self.kept.append((self.loop.time() + self.dice.uniform(0.1, 2), piece, start, position + first))

    def look_at_kept(self, now):
        for _ in range(len(self.kept)):
            due, piece, start, position = self.kept.popleft()
            if due > now:
                self.kept.append((due, piece, start, position))
            else:
                self.counts["kept"] += 1
                if piece != self.contents.at(start, position, len(piece)):
                    self.faults.add(f"a kept slice of {len(piece)} bytes at {position} has changed")

    # --- the life of the process ------------------------------------------------------------------------

    async def main(self):
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(self.on_exception)
        logging.getLogger().addHandler(Complaints(self.faults))
        self.net = self.loop if self.options.loop == "poolio" else poolio
        with tempfile.TemporaryDirectory() as folder:
            await self.listen(folder)
            self.descriptors = count_descriptors()
            commands = asyncio.Queue()
            self.loop.add_reader(0, lambda: commands.put_nowait(os.read(0, 100)))
            self.sampling = self.spawn(self.sample())
            answer(addresses=self.addresses, greeters=self.greeters)
            while await commands.get() == b"settle\n":
                await self.settle()
            self.sampling.cancel()
            await self.stop()
            self.loop.remove_reader(0)

    def on_exception(self, loop, context):
        if isinstance(context.get("exception"), SoakError) and "data_received" in context["message"]:
            self.counts["handled"] += 1
        else:
            self.faults.add(f"the loop's exception handler was called: {context!r}")

    async def listen(self, folder):
        self.servers = []
        self.addresses = await self.serve(BufferSession, os.path.join(folder, "sessions"))
        self.greeters = await self.serve(Greeter, os.path.join(folder, "greeters"))

    async def serve(self, protocol, path):
        factory = functools.partial(protocol, self)
        self.servers.append(await self.net.create_unix_server(factory, path, backlog=BACKLOG))
        addresses = [(socket.AF_UNIX, path)]
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with contextlib.suppress(OSError):          # there may be no IPv6
                self.servers.append(await self.net.create_server(factory, host, 0, backlog=BACKLOG))
                addresses.append((family, self.servers[-1].sockets[0].getsockname()[:2]))
        return addresses

    async def stop(self):
        for server in self.servers:
            server.close()
            await asyncio.wait_for(server.wait_closed(), SETTLE_SECONDS)

    async def sample(self):
        for turn in itertools.count():
            await asyncio.sleep(0.05)
            self.look_at_kept(self.loop.time())
            if turn % 10 == 0:
                self.under_load.append(resident_bytes())
                self.check_all(self.dice.sample(list(self.connections), min(200, len(self.connections))))

    def check_all(self, connections):
        try:
            for connection in connections:
                connection.transport.check()
                self.counts["checks"] += 1
            for pool in self.pools:
                pool.check()
        except AssertionError as exc:
            self.faults.add(f"check(): {exc}")

    async def settle(self):
        """All clients are gone: come to rest, then see what is left."""
        under_load, self.under_load = self.under_load, []
        deadline = self.loop.time() + SETTLE_SECONDS
        while (self.connections or self.tasks != {self.sampling} or self.kept) and self.loop.time() < deadline:
            await asyncio.sleep(0.02)
            self.look_at_kept(math.inf)
        await asyncio.sleep(0.2)                        # timers of sessions: 0.03 s at most
        gc.collect()
        self.check_rest()
        with contextlib.suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)            # what glibc keeps is not growth
        answer(
            faults=self.faults.take(), counts=self.counts, descriptors=count_descriptors(), resident=resident_bytes(),
            blocks=sys.getallocatedblocks(), under_load=statistics.median(under_load), peak=max(under_load),
        )

    def check_rest(self):
        counts, add = self.counts, self.faults.add
        for connection in self.connections:
            add(f"still open: {connection.describe()}")
        if counts["made"] != counts["lost"]:
            add(f"connection_made() was called {counts['made']} times, connection_lost() {counts['lost']}")
        if counts["raised"] != counts["handled"]:
            add(f"{counts['raised']} exceptions were raised, {counts['handled']} came to the loop's handler")
        if self.groups or self.victims:
            add(f"{len(self.groups)} groups and {len(self.victims)} victims are left")
        if count_descriptors() != self.descriptors:
            add(f"{count_descriptors()} descriptors at rest, {self.descriptors} before: {list_descriptors()}")
        alive = sum(type(thing) is StreamTransport for thing in gc.get_objects())
        if alive:
            add(f"{alive} transports are alive at rest")
        for pool in self.pools:
            pool.trim()
            figures = pool.statistics()
            if figures.live_bytes or figures.live_buffers or figures.slabs:
                add(f"a pool is not empty at rest: {figures}\n{pool.report()}")
        self.check_all(())


def count_descriptors():
    return len(os.listdir("/proc/self/fd")) - 1


def list_descriptors():
    names = []
    for fd in sorted(map(int, os.listdir("/proc/self/fd"))):
        with contextlib.suppress(OSError):
            names.append(f"{fd}={os.readlink(f'/proc/self/fd/{fd}')}")
    return " ".join(names[:40])


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def be_server(options):
    house = House(options)
    house.new_loop().close()            # libuv keeps a pipe of the first one for ever
    gc.collect()
    before = count_descriptors()
    with asyncio.Runner(loop_factory=house.new_loop) as runner:
        runner.run(house.main())
    del runner, house.loop, house.net, house.servers, house.sampling
    gc.collect()
    if count_descriptors() != before:
        house.faults.add(f"{count_descriptors()} descriptors after the loop, {before} before: {list_descriptors()}")
    answer(faults=house.faults.take())


# --- the clients --------------------------------------------------------------------------------------------------

@dataclass
class Plan:
    """What one connection is to do."""

    kind: Kind
    end: End = End.SERVER
    how: How = How.PLAIN
    flags: int = 0
    start: int = 0
    sizes: list[int] = field(default_factory=list)      # of the messages
    limit: int = 0
    group: int = 0
    think: float = 0                # seconds between messages, on average; infinite: until the quarter ends
    grain: int = 65_536             # most bytes of one read
    interval: float = 0             # of a slow reader: seconds between reads; 0: as they come
    cut: int = 0                    # RESET, DROP: after so many bytes sent and received
    source: "Link | None" = None    # of a SINK

    @property
    def size(self):
        return sum(self.sizes)

    @property
    def wanted(self):
        """Bytes that come back unless somebody ends it before."""
        return self.limit if self.kind is Kind.MUTE else self.size + self.limit * (self.kind is Kind.CLOSE)

    @property
    def header(self):
        if self.kind is Kind.GREETED:
            return b""
        return HEADER.pack(self.kind, self.how, self.flags, self.start, self.size, self.limit, self.group)


ANY_END = (End.FINISH, End.HALF, End.RESET, End.DROP)
# how many of a hundred or so, and how the client may end it
KINDS = {
    Kind.ECHO: (34, ANY_END), Kind.GATHER: (8, (End.HALF, End.HALF, End.RESET)),
    Kind.MUTE: (5, (End.FINISH, End.RESET)),
    Kind.ABORT: (8, (End.SERVER,)), Kind.CLOSE: (10, (End.SERVER,)), Kind.RAISE: (5, (End.SERVER,)),
    Kind.SOURCE: (4, (End.HALF, End.RESET)), Kind.KILLER: (4, (End.FINISH, End.HALF, End.RESET)),
    Kind.VICTIM: (8, (End.FINISH, End.HALF)), Kind.PROXY: (8, ANY_END), Kind.GREETED: (5, (End.SERVER, End.RESET)),
    Kind.NOTHING: (8, (End.RESET, End.DROP)),
}
MAY_BE_RESET = (Kind.ABORT, Kind.RAISE, Kind.VICTIM)
LASTS = (Kind.SOURCE, Kind.SINK)    # not reset by the end of the quarter: a sink ends as its source did
OPEN_AT_ONCE = 100                  # connections begun between two looks at the sockets


def random_plan(dice):
    kind = dice.choices(list(KINDS), [share for share, _ in KINDS.values()])[0]
    plan = Plan(kind, dice.choice(KINDS[kind][1]), random_how(dice, kind), start=dice.randrange(PERIOD))
    plan.flags = random_flags(dice, kind)
    if plan.how is How.SCRIBBLE:
        plan.flags &= ~KEEPS                            # what is kept would change
    if kind is not Kind.GREETED:
        plan.sizes = [int(math.exp(dice.uniform(0, math.log(LARGEST)))) for _ in range(dice.randint(1, 6))]
    plan.think = dice.choice((0, 0.5, 1, 2, math.inf))
    plan.grain = dice.choice((1000, 65_536, 262_144))
    if dice.random() < 0.15:
        make_slow(dice, plan)
    if kind is Kind.CLOSE:
        plan.limit = dice.choice((0, 1, 5000, LARGEST))
    elif kind in (Kind.ABORT, Kind.RAISE, Kind.MUTE):
        plan.limit = dice.randint(1, plan.size)
    plan.cut = dice.randint(0, plan.size if kind in (Kind.GATHER, Kind.MUTE, Kind.GREETED) else 2 * plan.size)
    return plan


def random_how(dice, kind):
    if kind is Kind.SOURCE:
        return dice.choice(SHARED)
    may_be_later = kind in (Kind.ECHO, Kind.VICTIM, Kind.KILLER)
    return dice.choice([how for how in How if how is not How.LATER or may_be_later])


def random_flags(dice, kind):
    chances = {PAUSES: 0.2, KEEPS: 0.2, SMALL: 0.1, IGNORES: 0.3, STAYS: 0.4}
    flags = sum(flag for flag, chance in chances.items() if dice.random() < chance)
    if kind not in (Kind.PROXY, Kind.SOURCE) and dice.random() < 0.15:
        flags |= dice.choice((BYTES, ROOM))
    return flags & ~STAYS if kind in LASTS else flags


def make_slow(dice, plan):
    plan.flags |= SMALL
    plan.grain = dice.choice((2000, 20_000))
    plan.interval = dice.uniform(0.01, 0.05)
    plan.think = 0
    most = int(2 / plan.interval * plan.grain)          # about 2 s of reading
    plan.sizes = [min(size, most // len(plan.sizes)) for size in plan.sizes]


class Link:
    """A connection of the clients."""

    sock = None
    watched = 0                     # events asked for
    received = 0
    connected = shut = at_end = is_waiting = is_broken = has_sinks = False

    def __init__(self, crowd, plan):
        self.crowd = crowd
        self.plan = plan
        self.sent = -len(plan.header)                   # of the stream
        self.out = memoryview(plan.header)
        self.sizes = iter(plan.sizes)
        self.first = None if plan.kind in (Kind.SINK, Kind.GREETED) else 0      # where its stream begins
        self.prelude = b""
        self.wanted = plan.wanted

    def describe(self):
        plan = self.plan
        return (
            f"{plan.kind.name}/{plan.end.name}/{plan.how.name} flags={plan.flags:#x} limit={plan.limit} cut={plan.cut} "
            f"{self.wire} interval={plan.interval:.3f}: sent {self.sent} of {plan.size}, received {self.received} of "
            f"{self.wanted}"
        )

    def fault(self, text):
        self.crowd.faults.add(f"{text}: {self.describe()}")

    # --- the beginning ----------------------------------------------------------------------------------

    def open(self):
        options, dice, plan = self.crowd.options, self.crowd.dice, self.plan
        family, address = dice.choice(options.greeters if plan.kind is Kind.GREETED else options.addresses)
        self.wire = socket.AddressFamily(family).name
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        if plan.interval:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
        if family == socket.AF_INET:                    # ports in TIME_WAIT would run out with one address
            sock.setsockopt(socket.IPPROTO_IP, 24, 1)   # IP_BIND_ADDRESS_NO_PORT
            sock.bind((f"127.0.0.{dice.randint(1, 50)}", 0))
        result = sock.connect_ex(address if isinstance(address, str) else tuple(address))
        if result == errno.EAGAIN:                      # a unix socket whose backlog is full
            sock.close()
            self.crowd.later(0.02, self.open)
            return
        self.sock = sock
        self.crowd.enter(self)
        if result not in (0, errno.EINPROGRESS):
            self.fault(f"connect: {os.strerror(result)}")
            self.leave()
        elif plan.kind is Kind.NOTHING and dice.random() < 0.5:
            self.leave()
        else:
            self.watch()

    def is_connected(self):
        error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self.fault(f"connect: {os.strerror(error)}")
        self.connected = not error
        if error or self.plan.kind is Kind.NOTHING:
            with contextlib.suppress(OSError):
                self.sock.send(self.out[:self.crowd.dice.randrange(HEADER.size)])
            self.leave()
            return False
        if self.plan.interval:
            self.crowd.later(self.plan.interval, self.tick)
        return True

    def watch(self):
        if self.sock is not None:
            events = select.EPOLLOUT if self.out or not self.connected else 0
            if self.connected and not self.plan.interval and not self.at_end:
                events |= select.EPOLLIN
            self.crowd.set_events(self, events)

    def on_events(self, events):
        if not self.connected and not self.is_connected():
            return
        if self.out:
            self.send()
        if self.sock is not None and not self.plan.interval and not self.at_end and events & ~select.EPOLLOUT:
            self.read()
        self.watch()

    # --- sending ----------------------------------------------------------------------------------------

    def send(self):
        try:
            count = self.sock.send(self.out)
        except BlockingIOError:
            return
        except ConnectionError as exc:
            self.is_broken = True
            self.out = None                             # reading will tell more
            if self.plan.kind not in MAY_BE_RESET:
                self.fault(f"cannot send: {exc}")
            return
        self.out = self.out[count:]
        self.sent += count
        if not self.out:
            self.end_message()
        self.perhaps_leave()

    def end_message(self):
        delay = self.plan.think * self.crowd.dice.expovariate(1) if self.sent > 0 else 0
        if delay == 0:
            self.next_message()
            return
        self.is_waiting = True
        if delay < math.inf:
            self.crowd.later(delay, self.wake)

    def wake(self):
        if self.is_waiting and self.sock is not None:
            self.is_waiting = False
            self.next_message()
            self.watch()

    def hurry(self):
        """The quarter is over."""
        if self.plan.interval:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.plan.think = self.plan.interval = 0
        self.wake()
        self.watch()

    def next_message(self):
        size = next(self.sizes, None)
        if size is not None and not self.is_broken:
            self.crowd.messages += 1
            self.out = memoryview(self.crowd.contents.at(self.plan.start, self.sent, size))
        elif size is None and self.plan.end is End.HALF and not self.shut:
            self.shut = True
            with contextlib.suppress(OSError):          # reset meanwhile: reading will tell
                self.sock.shutdown(socket.SHUT_WR)

    # --- receiving --------------------------------------------------------------------------------------

    def tick(self):
        """A slow reader reads."""
        if self.sock is not None and self.plan.interval and not self.at_end:
            self.crowd.later(self.plan.interval, self.tick)
            self.read()
            self.watch()

    def read(self):
        try:
            data = self.sock.recv(self.plan.grain)
        except BlockingIOError:
            return
        except ConnectionError as exc:
            if self.plan.kind not in MAY_BE_RESET:
                self.fault(str(exc))
            self.leave()
            return
        if data:
            self.compare(data)
            return
        self.judge_end()
        self.at_end = True
        if self.plan.kind is Kind.MUTE:
            self.perhaps_leave()                        # it may have something to send
        else:
            self.leave()

    def compare(self, data):
        if self.first is None:
            data = self.read_prelude(data)
        start = self.plan.source.plan.start if self.plan.source else self.plan.start
        position = (self.first or 0) + self.received
        if data != self.crowd.contents.at(start, position, len(data)):
            self.fault(f"wrong bytes at {position}")
            self.leave()
            return
        self.received += len(data)
        self.crowd.bytes += len(data)
        if self.received > self.wanted:
            self.fault("more bytes than were sent")
            self.leave()
        self.crowd.open_sinks(self)
        self.perhaps_leave()

    def read_prelude(self, data):
        missing = START.size - len(self.prelude)
        self.prelude += data[:missing]
        if len(self.prelude) == START.size:
            number, = START.unpack(self.prelude)
            if self.plan.kind is Kind.SINK:
                self.first, self.wanted = number, self.plan.source.plan.size - number
            else:
                self.first, self.plan.start = 0, 0
                self.wanted, self.is_exact = number >> 1, number & 1
        return data[missing:]

    # --- the end ----------------------------------------------------------------------------------------

    def perhaps_leave(self):
        end = self.plan.end
        if self.sock is None:
            return
        cut = end in (End.RESET, End.DROP) and self.sent >= 0 and self.sent + self.received >= self.plan.cut
        if cut or (end is End.FINISH and self.received == self.wanted and self.is_over()):
            self.leave()

    def is_over(self):
        return self.plan.kind is not Kind.MUTE or (self.at_end and self.sent == self.plan.size)

    def judge_end(self):
        """The server has closed. May it, and is this all?"""
        plan, complete = self.plan, self.received == self.wanted
        if plan.kind is Kind.SINK:
            must = plan.source.plan.end is End.HALF
            self.judge(not must or plan.source.shut, complete or not must or self.first is None)
        elif plan.kind is Kind.GREETED:
            self.judge(True, self.first is None or complete or not self.is_exact)
        elif plan.kind not in MAY_BE_RESET:
            self.judge(plan.kind in (Kind.CLOSE, Kind.MUTE) or self.shut, complete)

    def judge(self, may_end, is_all):
        if not may_end:
            self.fault("closed by the server")
        elif not is_all:
            self.fault("the end came before all bytes")

    def leave(self, end=None):
        if self.sock is not None:
            if (end or self.plan.end) is End.RESET:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.crowd.drop(self)
            self.sock.close()
            self.sock = None


class Crowd:
    """All connections of the client process, on one epoll."""

    def __init__(self, options):
        self.options = options
        self.contents = Contents(options.seed)
        self.dice = random.Random(options.seed + 2)
        self.faults = Faults()
        self.poll = select.epoll()
        self.links = {}
        self.timers = []
        self.sinks = collections.deque()                # to be opened
        self.numbers = itertools.count(1)
        self.messages = self.bytes = self.opened = 0

    def enter(self, link):
        self.opened += 1
        self.links[link.sock.fileno()] = link

    def drop(self, link):
        self.set_events(link, 0)
        del self.links[link.sock.fileno()]

    def set_events(self, link, events):
        if events == link.watched:
            return
        if events == 0:
            self.poll.unregister(link.sock)
        elif link.watched:
            self.poll.modify(link.sock, events)
        else:
            self.poll.register(link.sock, events)
        link.watched = events

    def later(self, seconds, action):
        heapq.heappush(self.timers, (time.monotonic() + seconds, next(self.numbers), action))

    def run(self, seconds):
        """A quarter."""
        end = time.monotonic() + seconds
        self.is_ending = False
        while not self.is_ending or self.links or self.sinks:
            if not self.is_ending and time.monotonic() >= end:
                self.begin_end()
            if time.monotonic() >= end + GRACE_SECONDS:
                self.give_up()
                break
            self.open_some()
            self.turn()
        answer(faults=self.faults.take(), messages=self.messages, bytes=self.bytes, opened=self.opened)

    def open_some(self):
        while self.sinks:
            self.sinks.popleft().open()
        if not self.is_ending:
            for _ in range(min(OPEN_AT_ONCE, self.options.connections - len(self.links))):
                plan = random_plan(self.dice)
                plan.group = next(self.numbers)
                Link(self, plan).open()

    def open_sinks(self, source):
        """A source that lives has some from now on."""
        if source.plan.kind is not Kind.SOURCE or source.has_sinks:
            return
        source.has_sinks = True
        for _ in range(self.dice.randint(1, 3)):
            plan = Plan(
                Kind.SINK, self.dice.choice((End.SERVER, End.SERVER, End.RESET)), self.dice.choice(SHARED),
                random_flags(self.dice, Kind.SINK), group=source.plan.group, source=source,
                cut=self.dice.randrange(source.plan.size),
            )
            if self.dice.random() < 0.3:
                make_slow(self.dice, plan)
            self.sinks.append(Link(self, plan))

    def turn(self):
        timeout = min(0.05, max(0, self.timers[0][0] - time.monotonic())) if self.timers else 0.05
        for fd, events in self.poll.poll(timeout):
            if fd in self.links:
                self.links[fd].on_events(events)
        now = time.monotonic()
        while self.timers and self.timers[0][0] <= now:
            heapq.heappop(self.timers)[2]()

    def begin_end(self):
        """A third is reset at once; the others say what they have to say, without thinking."""
        self.is_ending = True
        for link in list(self.links.values()):
            if link.plan.kind not in LASTS and self.dice.random() < 0.3:
                link.leave(End.RESET)
            else:
                link.hurry()

    def give_up(self):
        for link in list(self.links.values()):
            link.fault(f"not at its end {GRACE_SECONDS} s after the quarter's")
            link.leave(End.RESET)


def be_clients(options):
    crowd = Crowd(options)
    for line in sys.stdin:
        crowd.run(float(line))


# --- who asks and judges ------------------------------------------------------------------------------------------

class Child:
    """One of the two processes: a line asks, a line of JSON answers."""

    def __init__(self, role, options, **more):
        self.role = role
        self.errors = tempfile.TemporaryFile()      # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-W", "always::ResourceWarning", __file__, "--role", role,
             *(f"--{name}={getattr(options, name)}" for name in ("seconds", "connections", "loop", "seed")),
             *(f"--{name}={json.dumps(value)}" for name, value in more.items())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
        )

    def ask(self, line):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"{line}\n")
            self.process.stdin.flush()
        return self.hear()

    def hear(self):
        line = self.process.stdout.readline()
        if not line:
            raise ChildProcessError(f"the {self.role} process has ended or was stopped before it answered")
        return json.loads(line)

    def end(self):
        """Its status and what it wrote to stderr, as faults."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(SETTLE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
        status = self.process.wait()
        self.process.stdout.close()
        self.errors.seek(0)
        said = self.errors.read().decode(errors="replace")
        self.errors.close()
        if status:
            yield f"the {self.role} process ended with status {status}"
        if said:
            yield f"the {self.role} process wrote to stderr:\n{said[:8000]}"


BEHAVIOURS = (
    *(kind.name for kind in Kind if kind < Kind.GREETED), "raised", "killed", "broadcast", "proxied", "kept", "checks",
    "pause_reading", "pause_writing", "half-closed", "set_protocol",
    "abort in pause_writing", "abort in resume_writing",
    "close in connection_made", "abort in connection_made", "write_eof in connection_made",
)


class Judge:
    def __init__(self, options):
        self.options = options
        self.faults = []
        self.done = []              # what the clients say of each quarter
        self.rests = []             # what the server says after it

    def run(self):
        children = [Child("server", self.options)]
        watchdog = threading.Timer(
            self.options.seconds + EXTRA_SECONDS, lambda: [child.process.kill() for child in children])
        watchdog.start()
        try:
            children.append(Child("clients", self.options, **children[0].hear()))
            for quarter in range(1, QUARTERS + 1):
                self.run_quarter(quarter, *children)
            self.faults += children[0].ask("end")["faults"]
            self.judge_growth()
        except ChildProcessError as exc:
            self.faults.append(str(exc))
        finally:
            for child in reversed(children):
                self.faults += child.end()
            watchdog.cancel()
        return self.verdict()

    def run_quarter(self, quarter, server, clients):
        self.done.append(clients.ask(self.options.seconds / QUARTERS))
        self.rests.append(server.ask("settle"))
        done, rest = self.done[-1], self.rests[-1]
        self.faults += [f"quarter {quarter}, clients: {text}" for text in done["faults"]]
        self.faults += [f"quarter {quarter}, server: {text}" for text in rest["faults"]]
        print(
            f"quarter {quarter}, so far: {done['opened']:,} connections, {done['messages']:,} messages, "
            f"{done['bytes'] / 1e6:,.0f} MB compared by clients; server's resident MB under load "
            f"{rest['under_load'] / 1e6:.1f} (peak {rest['peak'] / 1e6:.1f}), at rest {rest['resident'] / 1e6:.1f}; "
            f"at rest {rest['blocks']:,} blocks, {rest['descriptors']} descriptors", flush=True,
        )

    def judge_growth(self):
        first, second, last = self.rests[0], self.rests[1], self.rests[-1]
        known = last["blocks"] > 0              # else PYTHONMALLOC=malloc: a debugging allocator keeps what it likes
        if known and last["resident"] > first["resident"] + RESIDENT_GROWTH:
            self.faults.append(f"resident memory at rest has grown from {first['resident']} to {last['resident']}")
        connections = self.done[-1]["opened"] - self.done[1]["opened"]
        if last["blocks"] > second["blocks"] + connections * BLOCKS_A_CONNECTION:
            self.faults.append(
                f"Python's blocks have grown from {second['blocks']} to {last['blocks']} by {connections} connections")
        missing = [name for name in BEHAVIOURS if not last["counts"].get(name)]
        if missing:
            self.faults.append(f"never happened, run longer or with more connections: {', '.join(missing)}")

    def verdict(self):
        if self.rests:
            print("server:", ", ".join(f"{name} {count:,}" for name, count in self.rests[-1]["counts"].items()))
        for fault in self.faults:
            print(f"FAULT {fault}")
        print(f"loop {self.options.loop}, seed {self.options.seed}: {'FAILED' if self.faults else 'passed'}")
        return 1 if self.faults else 0


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="of load; coming to rest is on top")
    parser.add_argument("--connections", type=int, default=2000, help="open at once")
    parser.add_argument("--loop", choices=("poolio", "asyncio", "uvloop"), default="poolio")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--role", choices=("server", "clients"), help=argparse.SUPPRESS)
    for name in ("addresses", "greeters"):
        parser.add_argument(f"--{name}", type=json.loads, help=argparse.SUPPRESS)
    return parser.parse_args()


def allow_descriptors(options):
    needed = 4 * options.connections + 100              # a proxied connection takes three
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SystemExit(f"{needed} descriptors are needed and the hard limit is {hard}")
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def main():
    options = parse()
    if options.role is None:
        return Judge(options).run()
    allow_descriptors(options)
    faulthandler.dump_traceback_later(options.seconds + EXTRA_SECONDS - 10, exit=True)
    {"server": be_server, "clients": be_clients}[options.role](options)
    faulthandler.cancel_dump_traceback_later()
    return 0


if __name__ == "__main__":
    sys.exit(main())
