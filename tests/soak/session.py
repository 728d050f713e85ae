"""A session: one connection of the server, from connection_made() to connection_lost().

Owns what the server does with a connection: Session does what its plan says, Upstream is the other half of a proxied
one, Greeter speaks first. A fault is told to the house, and the connection goes on.

Refuses to know which loop it is, the listeners, the process, and what the client intends: plans, tasks and timers are
the house's, and are asked for. The house makes sessions and looks after them; streams hand connections over to them.
"""

import asyncio
import socket

from audited import Audited, SoakError, is_tls
from framed import FramedSession, Framing
from plan import BYTES, KEEPS, ROOM, SMALL, STAYS, UPSTREAM, Kind
from terms import HEADER, LARGEST, POSITION, Window
from writing import WRITE

import poolio

GARBAGE = b"this was written after abort() and must not arrive"


class Session(Framing, Audited):
    """An accepted connection: reads the header, then does what its plan says."""

    kind = None
    position = 0                                        # bytes received
    waiting = 0                                         # writes of How.LATER

    def __init__(self, house):
        super().__init__(house)
        self.head = b""

    def describe(self):
        return f"{super().describe()}, {self.position} received"

    # --- the callbacks ----------------------------------------------------------------------------------

    def connection_made(self, transport):
        super().connection_made(transport)
        if self.plan is not None:                       # handed over
            self.begin()

    def data_received(self, data):
        self.may_receive("data_received()")
        if self.plan is None:
            self.read_header(data)
        else:
            self.receive(data)

    def eof_received(self):
        self.reach_end()
        if is_tls(self.transport):                      # it closes when what is written here is sent
            if self.kind is Kind.GATHER:
                self.put_gathered()
            self.house.counts["close_notify"] += 1
            return None
        if self.kind is Kind.GATHER:
            self.send_gathered()
        elif self.kind is Kind.PROXY:
            self.peer.transport.write_eof()
        elif self.waiting or (self.plan and self.plan.flags & STAYS):
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
            self.house.leave(self.house.victims, self)
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
        if self.kind is Kind.ABORT and not self.is_done and self.dice.random() < 0.3:
            self.house.counts[where] += 1
            self.end("abort")

    # --- the header -------------------------------------------------------------------------------------

    def read_header(self, data):
        self.head += bytes(data)
        if len(self.head) < HEADER.size:
            return
        rest = data[len(data) - (len(self.head) - HEADER.size):]
        number, opening, part = HEADER.unpack_from(self.head)
        self.adopt(self.house.planner.plan(number, part), opening)
        self.house.counts[self.plan.kind.name] += 1
        session = self.in_its_form()
        if session is self:
            self.begin()
        else:
            self.give_to(session)
        if len(rest):
            session.receive(rest)

    def adopt(self, plan, opening=0):
        super().adopt(plan, opening)
        self.kind = plan.kind

    def in_its_form(self):
        """Some go on as an asyncio.Protocol, an asyncio.BufferedProtocol or a FramedProtocol."""
        if self.plan.flags & (BYTES | ROOM):
            return (BytesSession if self.plan.flags & BYTES else RoomSession)(self.house)
        if self.plan.rules is not None and self.dice.random() < 0.6:
            return FramedSession(self.house, self.plan, self.pool)
        return self

    def give_to(self, other):
        other.adopt(self.plan, self.opening)
        self.house.connections.discard(self)
        self.house.counts["set_protocol"] += 1
        self.house.counts["made"] -= 1
        self.made = False               # no callback may come here any more
        self.transport.set_protocol(other)
        other.connection_made(self.transport)

    def begin(self):
        self.act = getattr(self, f"do_{self.kind.name.lower()}", self.put)
        if self.plan.flags & SMALL:
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            self.transport.set_write_buffer_limits(high=self.dice.choice((0, 1, 1000, 20_000, 65_536)))
        if self.kind is Kind.GATHER:
            self.parts = []
        elif self.kind is Kind.SOURCE:
            self.sinks = set()
            self.house.sources[self.opening] = self
        elif self.kind is Kind.SINK:
            self.join()
        elif self.kind is Kind.VICTIM:
            self.house.victims.setdefault(self.opening, set()).add(self)
        elif self.kind is Kind.PROXY:
            self.peer, self.parts = None, []
            self.hold("connecting")
            self.connecting = self.house.spawn(self.connect(), self.plan)
        elif self.plan.rules is not None:
            self.start_frames()

    # --- what comes -------------------------------------------------------------------------------------

    def receive(self, data):
        if data != self.plan.text.at(self.position, len(data)):
            self.fault(f"wrong bytes received at {self.position}")
        if self.plan.flags & KEEPS:
            self.house.keep(data, self.plan, self.plan.text, self.position, self.dice)
        self.position += len(data)
        self.house.counts["bytes"] += len(data)
        self.act(data)
        self.perhaps_pause()

    def put(self, data):
        if len(data):
            WRITE[self.plan.how](self, data)

    def do_frames(self, data):
        self.feed(data)

    do_refused = do_frames

    def do_gather(self, data):
        self.parts.append(data)

    def send_gathered(self):
        self.put_gathered()
        self.end_after_eof()

    def put_gathered(self):
        for part in self.parts:
            if not self.transport.is_closing():         # it may fail meanwhile
                self.put(part)
        self.parts.clear()

    def end_after_eof(self):
        if self.waiting and not self.lost:
            self.house.later(0.01, self.end_after_eof)
            return
        if self.dice.random() < 0.5:
            self.transport.write_eof()
        if self.dice.random() < 0.5:
            self.transport.close()
        else:
            self.house.later(0.02, self.transport.close)

    def do_mute(self, data):
        before = self.position - len(data)
        if before < self.plan.limit:
            self.put(data[:self.plan.limit - before])
            if self.position >= self.plan.limit:
                self.transport.write_eof()

    def do_abort(self, data):
        self.put(data)
        if self.position >= self.plan.limit:
            self.end("abort")
            self.write(GARBAGE)

    def do_close(self, data):
        self.put(data)
        if self.position >= self.plan.size:
            self.put(self.plan.text.at(self.position, self.plan.limit))
            self.end("close")

    def do_raise(self, data):
        self.put(data)
        if self.position >= self.plan.limit:
            self.is_done = True
            self.house.counts["raised"] += 1
            raise SoakError

    def do_killer(self, data):
        self.put(data)
        victims = self.house.victims.get(self.opening)
        if victims:
            self.house.counts["killed"] += 1
            victim = min(victims, key=lambda session: session.plan.part)
            self.house.leave(self.house.victims, victim)
            victim.end(self.dice.choice(("abort", "close")))

    # --- a source and its sinks -------------------------------------------------------------------------

    def do_source(self, data):
        self.put(data)
        for sink in sorted(self.sinks, key=lambda session: session.plan.part):
            if not sink.transport.is_closing():
                self.house.counts["broadcast"] += 1
                sink.put(data)

    def do_sink(self, data):
        self.fault(f"{len(data)} bytes came to a sink, which is sent none")

    def join(self):
        source = self.house.sources.get(self.opening)
        if source is None:
            self.end("close")
            return
        self.write(POSITION.pack(source.position))
        self.feeder = source
        source.sinks.add(self)

    def end_group(self, how):
        self.house.sources.pop(self.opening, None)
        sinks, self.sinks = self.sinks, set()
        for sink in sinks:
            sink.end(how)

    # --- the proxy --------------------------------------------------------------------------------------

    async def connect(self):
        self.peer = await self.house.connect(lambda: Upstream(self), self.plan)
        self.peer.write(HEADER.pack(self.plan.number, self.opening, UPSTREAM))
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
    def __init__(self, house, pool):
        super().__init__(house)
        self.pool = pool


class BytesSession(Session, asyncio.Protocol):
    def write(self, data):
        self.transport.write(data)

    def writelines(self, lines):
        self.transport.writelines(lines)


class RoomSession(Session, asyncio.BufferedProtocol):
    write, writelines = BytesSession.write, BytesSession.writelines

    def get_buffer(self, sizehint):
        self.room = bytearray(self.dice.choice((100, 5000, 65_536)))
        return self.room

    def buffer_updated(self, count):
        self.data_received(bytes(self.room[:count]))


class Upstream(Audited, poolio.Protocol):
    """The proxy's other half: a connection that the server itself has made, to itself."""

    def __init__(self, session):
        super().__init__(session.house)
        self.adopt(session.plan, session.opening)
        self.session = self.feeder = session
        self.pool = session.dice.choice(self.house.pools)

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
    """Says something inside connection_made(), and ends it there: drawn anew, as it can't know its session."""

    def __init__(self, house, pool):
        super().__init__(house)
        self.pool = pool

    def connection_made(self, transport):
        super().connection_made(transport)
        dice, how = self.house.dice, self.house.dice.choice(("close", "abort", "write_eof"))
        size = dice.choice((0, 1, 1000, 65_536, LARGEST))
        self.house.counts[f"{how} in connection_made"] += 1
        if dice.random() < 0.5:
            transport.set_write_buffer_limits(0)
        self.write(POSITION.pack(2 * size + (how != "abort")))
        self.write(Window(self.house.planner.seed, 0, size).at(0, size))
        self.end(how)
