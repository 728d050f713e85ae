"""A flow: the datagrams of one client, and the answers to them, on a plain socket of its own.

Owns how many are on their way at once, what is in each, the comparison of each answer, and what has not been answered.
A datagram says which it is, so answers may come in any order; one that is lost is not said again, and the flow goes on.

Refuses to know how the server answers, but for what the answers are, and why one is lost: the judge compares what is
missing here with what the kernel has dropped.
"""

import errno
import select
import socket
import struct

from plan import End, How
from terms import DATAGRAM

GIVES_UP = 2            # seconds after which the next ones go though answers are missing
QUIET = 5               # seconds after the quarter's end in which none came: those that are missing will not come
RECEIVE_QUEUE = 1 << 20
MEMORY_OF_SOCKET = 55   # SO_MEMINFO: nine numbers, of which the last counts what the full receive queue has dropped
DROPS = 8
SEGMENT = 1000


def answers_to(plan, index):
    """What the server answers to the datagram of this index, by which part of the answer it is."""
    size = plan.sizes[index]
    body = plan.text.at(sum(plan.sizes[:index]), size)
    if plan.how is How.LINES:
        return [body[:size // 2], body[size // 2:]]             # by sendmany()
    if plan.how is How.PIECES:
        step = SEGMENT - DATAGRAM.size
        return [body[start:start + step] for start in range(0, size, step)]         # by send_segmented()
    return [body]


class Flow:
    sock = None
    watched = 0
    sent = answered = 0
    is_over = is_hurried = is_thinking = False

    def __init__(self, crowd, plan, opening):
        self.crowd, self.plan, self.opening = crowd, plan, opening
        self.dice = plan.dice("client")
        self.missing = {}                   # answers that are to come: (index, part) -> bytes
        self.window = plan.limit
        self.progress = 0

    def describe(self):
        plan = self.plan
        return (f"session {plan.number} DATAGRAMS/{plan.end.name}/{plan.how.name} {plan.wire} at {plan.pool}, sent "
                f"{self.sent} of {len(plan.sizes)}, answered {self.answered}, missing {sorted(self.missing)[:5]}")

    def fault(self, text):
        self.crowd.faults.add(f"{text}: {self.describe()}", self.plan.number)

    def open(self):
        family, address = self.crowd.address_for(self.plan)
        sock = self.sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_QUEUE)
        if family == socket.AF_UNIX:
            sock.bind("")                                   # a name of the kernel's
        sock.connect(address if isinstance(address, str) else tuple(address))
        self.crowd.enter(self)
        self.crowd.counts["flows"] += 1
        self.send()
        self.watch()

    def watch(self):
        if self.sock is not None:
            self.crowd.set_events(self, select.EPOLLIN | (select.EPOLLOUT if self.may_send() else 0))

    def may_send(self):
        return (not self.is_over and self.sent < len(self.plan.sizes) and not self.is_thinking
                and self.sent - self.answered_datagrams() < self.window)

    def answered_datagrams(self):
        return self.sent - len({index for index, _ in self.missing})

    def on_events(self, events):
        if events & ~select.EPOLLOUT:
            self.receive()
        if self.sock is not None and events & select.EPOLLOUT:
            self.send()
        self.perhaps_leave()
        self.watch()

    def send(self):
        while self.may_send():
            index = self.sent
            body = self.plan.text.at(sum(self.plan.sizes[:index]), self.plan.sizes[index])
            try:
                self.sock.send(DATAGRAM.pack(self.plan.number, self.opening, index, 0) + body)
            except BlockingIOError:
                return
            except OSError as exc:
                if exc.errno != errno.ENOBUFS:
                    self.fault(f"cannot send: {exc}")
                    self.leave()
                return
            self.sent += 1
            self.crowd.counts["datagrams sent"] += 1
            for part, answer in enumerate(answers_to(self.plan, index)):
                self.missing[index, part] = answer
            if self.plan.end is End.DROP and self.sent >= self.plan.cut:
                self.leave()
                return
        if self.sent < len(self.plan.sizes):
            self.crowd.later(GIVES_UP, lambda seen=self.progress: self.go_on_without(seen))

    def receive(self):
        for _ in range(20):
            try:
                data = self.sock.recv(1 << 20)
            except BlockingIOError:
                return
            except OSError as exc:
                self.fault(f"cannot receive: {exc}")
                self.leave()
                return
            self.progress += 1
            self.compare(data)

    def compare(self, data):
        number, opening, index, part = DATAGRAM.unpack_from(data)
        if (number, opening) != (self.plan.number, self.opening):
            if opening not in self.crowd.gone:              # whose address this flow has got
                self.fault(f"an answer to session {number}, opening {opening} instead of {self.opening}")
            return
        answer = self.missing.pop((index, part), None)
        if answer is None:
            self.fault(f"an answer to {index}, {part} that was not asked for, or a second one")
        elif data[DATAGRAM.size:] != answer:
            self.fault(f"wrong bytes in the answer to {index}, {part}")
        else:
            self.answered += 1
            self.crowd.bytes += len(data)
            self.crowd.counts["answers"] += 1
            if self.plan.think and not self.is_hurried:
                self.is_thinking = True
                self.crowd.later(self.plan.think * self.dice.random(), self.wake)

    def wake(self):
        self.is_thinking = False
        if self.sock is not None:
            self.send()
            self.watch()

    def go_on_without(self, seen):
        """Some answers are late or lost: do not wait for them with what is still to be sent."""
        if self.sock is not None and self.progress == seen and not self.may_send() and not self.is_thinking:
            self.window = self.sent - self.answered_datagrams() + self.plan.limit
            self.wake()

    def hurry(self):
        """The quarter is over: no more is sent."""
        self.is_over = self.is_hurried = True
        self.perhaps_leave()
        if self.sock is not None:
            self.watch()
            self.crowd.later(QUIET, lambda seen=self.progress: self.give_up(seen))

    def give_up(self, seen):
        if self.sock is None:
            return
        if self.progress != seen:
            self.crowd.later(QUIET, lambda seen=self.progress: self.give_up(seen))
            return
        self.crowd.counts["unanswered"] += len(self.missing)
        drops = struct.unpack("9I", self.sock.getsockopt(socket.SOL_SOCKET, MEMORY_OF_SOCKET, 36))[DROPS]
        self.crowd.counts["answers dropped"] += drops
        self.leave()

    def perhaps_leave(self):
        is_all = self.is_over or self.sent == len(self.plan.sizes)
        if self.sock is not None and is_all and not self.missing:
            self.leave()

    def leave(self, end=None):
        if self.sock is not None:
            if self.missing:
                self.crowd.gone.add(self.opening)
            self.crowd.drop(self)
            self.sock.close()
            self.sock = None
