"""A link: one connection of the clients, on a plain nonblocking socket.

Owns its Plan, how it sends its messages and ends, the comparison of each byte that comes back, and the judgement of an
end that the server makes: may it, and is this all?

Refuses to know poolio, the clock, other links (but for a sink its source), and why its plan is as it is. The crowd
draws the plan, opens the link, and tells it of events and of the quarter's end; the link asks it for events, timers and
dice.
"""

import contextlib
import enum
import errno
import math
import os
import select
import socket
import struct
from dataclasses import dataclass, field

from terms import HEADER, START, How, Kind


class End(enum.IntEnum):
    """How the client ends a connection."""

    FINISH = enum.auto()        # everything came back, then close()
    HALF = enum.auto()          # shutdown(SHUT_WR), then read to the end
    RESET = enum.auto()         # at a random point, SO_LINGER 0
    DROP = enum.auto()          # at a random point, close()
    SERVER = enum.auto()        # the server is to end it


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


MAY_BE_RESET = (Kind.ABORT, Kind.RAISE, Kind.VICTIM)


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

    def fault_of_reset(self, text):
        if self.plan.kind not in MAY_BE_RESET:
            self.fault(text)

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
            if self.connected and self.reads_at_once():
                events |= select.EPOLLIN
            self.crowd.set_events(self, events)

    def on_events(self, events):
        if not self.connected and not self.is_connected():
            return
        if self.out:
            self.send()
        if self.reads_at_once() and events & ~select.EPOLLOUT:
            self.read()
        self.watch()

    def reads_at_once(self):
        return self.sock is not None and not self.plan.interval and not self.at_end

    # --- sending ----------------------------------------------------------------------------------------

    def send(self):
        try:
            count = self.sock.send(self.out)
        except BlockingIOError:
            return
        except ConnectionError as exc:
            self.is_broken = True
            self.out = None                             # reading will tell more
            self.fault_of_reset(f"cannot send: {exc}")
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
            self.fault_of_reset(str(exc))
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
