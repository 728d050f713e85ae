"""A link: one connection of the clients, on a plain nonblocking socket.

Owns how it follows its plan: how it sends its messages and ends, the comparison of each byte that comes back, and the
judgement of an end that the server makes: may it, and is this all?

Refuses to know poolio, the clock, other links (but for a follower its leader), TLS, and why its plan is as it is. The
crowd opens the link, and tells it of events and of the quarter's end; the link asks it for addresses, events
and timers.
"""

import contextlib
import errno
import math
import os
import select
import socket
import struct

from plan import MAY_BE_RESET, End, Kind
from terms import HEADER, POSITION, WAITS
from wire import PlainWire, TLSWire


class Link:
    """A connection of the clients."""

    sock = wire = None
    watched = 0                     # events asked for
    received = 0
    connected = shut = at_end = is_waiting = is_gated = is_broken = has_followers = False

    def __init__(self, crowd, plan, opening, leader=None):
        self.crowd, self.plan, self.opening, self.leader = crowd, plan, opening, leader
        self.dice = plan.dice("client")
        header = b"" if plan.kind is Kind.GREETED else HEADER.pack(plan.number, opening, plan.part)
        self.sent = -len(header)                        # of the text
        self.out = memoryview(header)
        self.sizes = iter(plan.sizes)
        self.gates = plan.script.gates if plan.script else {}
        self.expected = plan.expected
        self.wanted = self.expected.size
        self.first = None if plan.kind in (Kind.SINK, Kind.GREETED) else 0      # where its stream begins
        self.prelude = b""
        self.waits_for_tls = plan.wire == "start_tls"

    def describe(self):
        plan = self.plan
        return (
            f"session {plan.number}.{plan.part} {plan.kind.name}/{plan.end.name}/{plan.how.name} flags={plan.flags:#x} "
            f"limit={plan.limit} cut={plan.cut} {plan.wire} interval={plan.interval:.3f}: "
            f"sent {self.sent} of {plan.size}, received {self.received} of {self.wanted}"
        )

    def fault(self, text):
        self.crowd.faults.add(f"{text}: {self.describe()}", self.plan.number)

    def fault_of_reset(self, text):
        if self.plan.kind not in MAY_BE_RESET:
            self.fault(text)

    # --- the beginning ----------------------------------------------------------------------------------

    def open(self):
        dice, plan = self.dice, self.plan
        if self.crowd.is_ending:                        # it comes late, so it will not be told to hurry
            plan.think = plan.interval = 0
        family, address = self.crowd.address_for(plan)
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
        self.wire = TLSWire(sock, self.crowd.context) if plan.wire == "tls" else PlainWire(sock)
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
                self.sock.send(self.out[:self.dice.randrange(HEADER.size)])
            self.leave()
            return False
        if self.plan.interval:
            self.crowd.later(self.plan.interval, self.tick)
        self.send()
        return self.sock is not None

    def watch(self):
        if self.sock is not None:
            has_to_send = (self.out and self.wire.is_ready) or self.wire.wants_to_send
            events = select.EPOLLOUT if has_to_send or not self.connected else 0
            if self.connected and self.reads_at_once():
                events |= select.EPOLLIN
            self.crowd.set_events(self, events)

    def on_events(self, events):
        if not self.connected and not self.is_connected():
            return
        if events & select.EPOLLOUT:
            self.send()
        if self.reads_at_once() and events & ~select.EPOLLOUT:
            self.read()
        self.watch()

    def reads_at_once(self):
        return self.sock is not None and not self.plan.interval and not self.at_end

    # --- sending ----------------------------------------------------------------------------------------

    def send(self):
        if not self.out and not self.wire.wants_to_send and self.wire.is_ready:
            return
        try:
            count = self.wire.send(self.out or b"")
        except BlockingIOError:
            return
        except OSError as exc:
            self.is_broken = True
            self.out = b""                              # reading will tell more
            self.fault_of_reset(f"cannot send: {exc}")
            return
        if count:
            self.out = self.out[count:]
            self.sent += count
            if not self.out:
                self.end_message()
            self.perhaps_leave()

    def end_message(self):
        if self.waits_for_tls:
            return
        delay = self.plan.think * self.dice.expovariate(1) if self.sent > 0 else 0
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
        was_slow = self.plan.interval
        if was_slow:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.plan.think = self.plan.interval = 0
        self.wake()
        if was_slow and self.connected and self.reads_at_once():
            self.read()                                 # the wire may have it, and the socket nothing
        self.watch()

    def next_message(self):
        self.is_gated = self.received < self.gates.get(self.sent, 0)
        if self.is_gated:
            return
        size = next(self.sizes, None)
        if size is not None and not self.is_broken:
            self.out = memoryview(self.plan.text.at(self.sent, size))
        elif size is None and self.plan.end is End.HALF and not self.shut:
            self.shut = True
            self.wire.shut()

    # --- receiving --------------------------------------------------------------------------------------

    def tick(self):
        """A slow reader reads."""
        if self.sock is not None and self.plan.interval and not self.at_end:
            self.crowd.later(self.plan.interval, self.tick)
            self.read()
            self.watch()

    def read(self):
        """What there is; a slow reader only so much."""
        self.read_once()
        while self.reads_at_once() and self.wire.has_more:
            self.read_once()

    def read_once(self):
        try:
            data = self.wire.receive(self.plan.grain)
        except BlockingIOError:
            return
        except OSError as exc:
            self.fault_of_reset(str(exc))
            self.leave()
            return
        if data and self.waits_for_tls:
            self.begin_tls(data)
        elif data:
            self.compare(data)
        else:
            self.judge_end()
            self.at_end = True
            if self.plan.kind is Kind.MUTE:
                self.perhaps_leave()                    # it may have something to send
            else:
                self.leave()

    def begin_tls(self, data):
        if data != WAITS:
            self.fault(f"{data[:20]!r} came before TLS")
        self.waits_for_tls = False
        self.wire = TLSWire(self.sock, self.crowd.context)
        self.next_message()
        self.send()

    def compare(self, data):
        if self.first is None:
            data = self.read_prelude(data)
        position = (self.first or 0) + self.received
        if data != self.expected.at(position, len(data)):
            self.fault(f"wrong bytes at {position}, or more than were sent")
            self.leave()
            return
        self.received += len(data)
        self.crowd.bytes += len(data)
        if self.received > self.wanted:
            self.fault("more bytes than were sent")
            self.leave()
        self.crowd.open_followers(self)
        if self.is_gated:
            self.next_message()
        self.perhaps_leave()

    def read_prelude(self, data):
        missing = POSITION.size - len(self.prelude)
        self.prelude += data[:missing]
        if len(self.prelude) == POSITION.size:
            number, = POSITION.unpack(self.prelude)
            if self.plan.kind is Kind.SINK:
                self.first, self.wanted = number, self.expected.size - number
            else:
                self.first, self.wanted, self.is_exact = 0, number >> 1, number & 1
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
            must = self.leader.plan.end is End.HALF
            self.judge(not must or self.leader.shut, complete or not must or self.first is None)
        elif plan.kind is Kind.GREETED:
            self.judge(True, self.first is None or complete or not self.is_exact)
        elif plan.kind not in MAY_BE_RESET:
            self.judge(plan.kind in (Kind.CLOSE, Kind.MUTE) or plan.end is End.SERVER or self.shut, complete)

    def judge(self, may_end, is_all):
        if not may_end:
            self.fault("closed by the server")
        elif not is_all:
            self.fault("the end came before all bytes")

    def leave(self, end=None):
        if self.sock is not None:
            if (end or self.plan.end) is End.RESET:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                self.wire.say_goodbye()
            self.crowd.drop(self)
            self.sock.close()
            self.sock = None
