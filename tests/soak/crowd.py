"""The crowd: the client process, all of its links on one epoll.

Owns who is in it: the draw of each plan (the seed decides it; what happens at the same time it can't decide), the size
of the crowd, its timers, and the quarter: a new link for each one that has ended, then the end of all of them, a part
at once and by resets. A link that does not end in time is reported and reset.

Refuses to know poolio, what a link sends or compares, and the state of the server. `__main__` calls be_clients() in a
process of its own: a line on stdin is the length of a quarter, after which it tells its figures.
"""

import collections
import heapq
import itertools
import math
import random
import select
import sys
import time

from link import End, Link, Plan
from terms import BYTES, IGNORES, KEEPS, LARGEST, PAUSES, PERIOD, ROOM, SMALL, STAYS, Contents, Faults, How, Kind, tell

SHARED = (How.PLAIN, How.DIRECT, How.LINES, How.PIECES, How.OWN)        # others read the Buffer afterwards
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
LASTS = (Kind.SOURCE, Kind.SINK)    # not reset by the end of the quarter: a sink ends as its source did
OPEN_AT_ONCE = 100                  # connections begun between two looks at the sockets
GRACE_SECONDS = 30                  # for all to end after the quarter's end


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
        tell(faults=self.faults.take(), messages=self.messages, bytes=self.bytes, opened=self.opened)

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
