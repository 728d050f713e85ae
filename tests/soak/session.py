"""A session: one connection of the server, from connection_made() to connection_lost().

Owns what the server does with a connection: Session does what the header says, Upstream is the other half of a proxied
one, Greeter speaks first; WRITE is each How. Audited, under all of them, checks the order of the callbacks, and that
none comes while reading is paused or after an end. A fault is told to the house, and the connection goes on.

Refuses to know which loop it is, the listeners, the process, and what the client intends: dice, pools, tasks and timers
are the house's, and are asked for. The house makes sessions and looks after them; nobody else imports this file.
"""

import asyncio
import itertools
import socket

from terms import BYTES, HEADER, IGNORES, KEEPS, LARGEST, PAUSES, ROOM, SMALL, START, STAYS, How, Kind

import poolio
from poolio.transport import StreamTransport

GARBAGE = b"this was written after abort() and must not arrive"


class SoakError(Exception):
    """Raised on purpose inside data_received()."""


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

    def reach_end(self):
        self.may_receive("eof_received()")
        self.at_end = True

    def write_if_open(self, data):
        if not self.lost and not self.transport.is_closing():       # it may fail meanwhile
            self.write(data)

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
        self.reach_end()
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
        else:
            self.peer.write_if_open(data)


class BufferSession(Session, poolio.Protocol):
    def __init__(self, house):
        super().__init__(house)
        self.pool = house.any_pool()


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
        self.pool = house.any_pool()

    def data_received(self, data):
        self.may_receive("data_received()")
        self.session.write_if_open(data)

    def eof_received(self):
        self.reach_end()
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
        session.write_if_open(data[part])


def write_own(session, data):
    own = session.house.any_pool().alloc_unsafe(len(data))
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
        session.write_if_open(data)

    session.waiting += 1
    session.house.loop.call_soon(write)


WRITE = {
    How.PLAIN: lambda session, data: session.write(data),
    How.DIRECT: lambda session, data: session.transport.write(data),
    How.LINES: write_lines, How.PIECES: write_pieces, How.OWN: write_own, How.COPY: write_copy,
    How.RELEASE: write_release, How.VIEW: lambda session, data: session.write(memoryview(data)),
    How.SCRIBBLE: write_scribble, How.LATER: write_later,
}
