"""An audited connection of the server: the order of its callbacks, and who holds up its reading.

Owns the checks under all protocols of the soak: connection_made() and connection_lost() once each, no data while
reading is paused, after the end of the stream or after close() and abort(); pausing and resuming by turns.

Refuses to know what the connection is for. Sessions and the protocols of frames are audited.
"""

from plan import IGNORES, PAUSES

from poolio.wire.stream import StreamTransport


class SoakError(Exception):
    """Raised on purpose inside data_received()."""


def stream_of(transport):
    """poolio's transport under it: itself, or the one that carries TLS."""
    return transport.carrier if is_tls(transport) else transport


def is_tls(transport):
    return hasattr(transport, "carrier")


class Audited:
    """A connection of the server: the order of its callbacks, and who holds up its reading.

    Its feeder is whose data it writes: pause_writing() holds that one's reading up.
    """

    errors = (OSError,)             # that a connection may end with; OpenSSL's are some, too
    made = lost = at_end = blocked = is_done = ignores_pressure = False
    transport = None

    plan = dice = None
    opening = 0

    def __init__(self, house):
        self.house = house
        self.holds = set()
        self.feeder = self

    def adopt(self, plan, opening=0):
        self.plan, self.opening, self.dice = plan, opening, plan.dice("server")
        self.ignores_pressure = bool(plan.flags & IGNORES)

    def connection_made(self, transport):
        super().connection_made(transport)
        self.transport = transport
        self.expect(not self.made and not self.lost, "connection_made()")
        self.expect(type(stream_of(transport)) is StreamTransport, f"a transport of {type(transport)}")
        self.made = True
        if is_tls(transport):
            self.house.counts[f"TLS by {transport.get_extra_info('tls_engine')}"] += 1
        self.house.connections.add(self)
        self.house.counts["made"] += 1

    def connection_lost(self, exc):
        self.expect(self.made and not self.lost, "connection_lost()")
        self.expect(exc is None or isinstance(exc, self.errors), f"connection_lost({exc!r})")
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
        if is_tls(self.transport):                      # whose close_notify also counts after close(), as on asyncio
            self.expect(self.made and not self.lost and not self.at_end, "eof_received()")
        else:
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

    def perhaps_pause(self):
        if self.plan.flags & PAUSES and not self.is_done and self.dice.random() < 0.3:
            self.house.counts["pause_reading"] += 1
            self.hold("pause")
            self.house.later(0.03 * self.dice.random(), lambda: self.go_on("pause"))

    def end(self, how):
        """By `abort` or `close`: no data may come any more."""
        self.is_done = True
        getattr(self.transport, how)()

    def expect(self, holds, what):
        if not holds:
            self.fault(f"unexpected: {what}")

    def fault(self, text):
        self.house.faults.add(f"{text}: {self.describe()}", self.plan and self.plan.number)

    def describe(self):
        state = [name for name in ("made", "lost", "at_end", "blocked", "is_done") if getattr(self, name)]
        plan = f"session {self.plan.number}.{self.plan.part} {self.plan.kind.name}" if self.plan else "no header"
        return f"{plan}, {type(self).__name__} {' '.join(state)}, holds {len(self.holds)}, {self.transport!r}"
