"""The crowd: the client process, all of its links and flows on one epoll.

Owns who is in it: a session for each one that has ended, their numbers, the size of the crowd, its timers, and the
quarter: so many seconds, then the end of all of them, a part at once and by resets. Who does not end in time is
reported and reset.

Refuses to know poolio, what a link or a flow sends or compares, and the state of the server. `__main__` calls
be_clients() in a process of its own: a line on stdin is the length of a quarter in seconds and how many sessions it has
at least, after which it tells its figures.
"""

import collections
import heapq
import itertools
import select
import socket
import sys
import time

from flow import Flow
from link import Link
from plan import GROUPS, End, Kind, Planner
from terms import Faults, tell
from wire import context_of

LASTS = (Kind.SOURCE, Kind.SINK)    # not reset by the end of the quarter: a sink ends as its source did
OPEN_AT_ONCE = 100                  # connections begun between two looks at the sockets
GRACE_SECONDS = 60                  # for all to end after the quarter's end
RESET_AT_THE_END = 0.3
DOORS = {Kind.GREETED: "greeters", Kind.STREAM: "streams", Kind.DATAGRAMS: "datagrams"}


class Crowd:
    """All connections of the client process, on one epoll."""

    def __init__(self, options):
        self.options = options
        self.planner = Planner(options.seed)
        self.context = context_of(options.folder)
        self.faults = Faults()
        self.poll = select.epoll()
        self.links = {}
        self.gone = set()                               # openings of flows that have left before their answers
        self.timers = []
        self.followers = collections.deque()            # to be opened
        self.tickets = itertools.count()
        self.openings = itertools.count(1)
        # each loop has its own sessions: these are the numbers of one of `step` loops
        self.numbers = itertools.count(options.first, options.step) if options.only is None else itertools.repeat(
            options.only)
        self.kinds = {kind for group in options.kinds for kind in GROUPS[group]}
        self.is_planted = not options.plant
        self.counts = collections.Counter()
        self.bytes = self.opened = 0

    # --- what links and flows ask for -------------------------------------------------------------------

    def address_for(self, plan):
        door = DOORS.get(plan.kind, "sessions")
        wire = "tcp4" if plan.wire == "start_tls" else plan.wire
        addresses = self.options.addresses
        family, address = addresses.get(f"{door}/{wire}/{plan.pool}") or addresses[      # there may be no IPv6
            f"{door}/{wire.replace('6', '4')}/{plan.pool}"]
        return socket.AddressFamily(family), address

    def enter(self, link):
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
        heapq.heappush(self.timers, (time.monotonic() + seconds, next(self.tickets), action))

    def open_followers(self, leader):
        """A leader that lives has some from now on."""
        if leader.plan.followers and not leader.has_followers:
            leader.has_followers = True
            parts = self.planner.parts(leader.plan.number)
            for part in range(1, leader.plan.followers + 1):
                self.followers.append(Link(self, parts[part], leader.opening, leader))

    # --- a quarter --------------------------------------------------------------------------------------

    def run(self, seconds, least):
        end, enough = time.monotonic() + seconds, self.opened + least
        self.is_ending = False
        while not self.is_ending or self.links or self.followers:
            if not self.is_ending and time.monotonic() >= end and self.opened >= enough:
                self.begin_end()
                end = time.monotonic()
            if self.is_ending and time.monotonic() >= end + GRACE_SECONDS:
                self.give_up()
                break
            self.open_some()
            self.turn()
        self.timers.clear()
        self.gone.clear()
        tell(faults=self.faults.take(), bytes=self.bytes, opened=self.opened, counts=self.counts)

    def open_some(self):
        while self.followers:
            self.opened += 1
            self.followers.popleft().open()
        if not self.is_ending:
            for _ in range(min(OPEN_AT_ONCE, self.options.connections - len(self.links))):
                self.open_one()

    def open_one(self):
        plan = self.planner.plan(next(self.numbers), 0)
        if plan.kind not in self.kinds:
            return
        if not self.is_planted and plan.is_complete:
            self.is_planted = plan.is_planted = True
        self.opened += 1
        self.counts[plan.kind.name] += 1
        self.counts[plan.wire] += 1
        (Flow if plan.kind is Kind.DATAGRAMS else Link)(self, plan, next(self.openings)).open()

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
            if self.may_be_reset(link) and link.dice.random() < RESET_AT_THE_END:
                link.leave(End.RESET)
            else:
                link.hurry()

    def may_be_reset(self, link):
        return self.options.only is None and link.plan.kind not in LASTS

    def give_up(self):
        for link in list(self.links.values()):
            link.fault(f"not at its end {GRACE_SECONDS} s after the quarter's")
            link.leave(End.RESET)


def be_clients(options):
    crowd = Crowd(options)
    for line in sys.stdin:
        seconds, least = line.split()
        crowd.run(float(seconds), int(least))
