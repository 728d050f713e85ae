"""A plan: all that one connection is to do, on both sides; and the planner, who draws the plans of a session.

A session is a number. Its random generator is made of the seed and this number and nothing else, so both processes know
its plans without telling each other, and a session can be had again alone. It is one connection, or several that have
to do with each other: a source and its sinks, a killer and its victims, a connection and the one it is forwarded to.
While it runs, each side takes what else it has to decide from a generator of its own, of the same origin (`dice()`).

Refuses to know sockets, loops and time. What is not drawn, and so not the same a second time: how the kernel cuts what
is sent, what runs meanwhile, and what a greeter does, which knows no number.
"""

import enum
import functools
import itertools
import math
import random
from dataclasses import dataclass, field

from frames import draw_frames, may_answer, refused_frames
from script import Rest, Script, draw_script
from terms import LARGEST, PERIOD, Literal, Planted, Window


class Kind(enum.IntEnum):
    """What the server does with a connection."""

    ECHO = enum.auto()
    GATHER = enum.auto()        # send all of it back after eof_received()
    MUTE = enum.auto()          # echo `limit` bytes, write_eof() inside data_received(), read on
    ABORT = enum.auto()         # echo; abort() inside data_received() after `limit` bytes, or in pause_writing() etc.
    CLOSE = enum.auto()         # echo; after `size` bytes send `limit` more and close() inside data_received()
    RAISE = enum.auto()         # echo; an exception inside data_received() after `limit` bytes
    SOURCE = enum.auto()        # echo, and to each SINK of its session
    SINK = enum.auto()          # first says in 8 bytes at which position it begins
    KILLER = enum.auto()        # echo; each time a VICTIM is aborted or closed
    VICTIM = enum.auto()        # echo
    PROXY = enum.auto()         # to another connection of the server to itself, and back
    FRAMES = enum.auto()        # decode by a codec, and answer each frame
    REFUSED = enum.auto()       # the same; the last frame is too large
    STREAM = enum.auto()        # play a script
    DATAGRAMS = enum.auto()     # answer each
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
SHARED = (How.PLAIN, How.DIRECT, How.LINES, How.PIECES, How.OWN)        # others read the Buffer afterwards
ANY_END = (End.FINISH, End.HALF, End.RESET, End.DROP)
MAY_BE_RESET = (Kind.ABORT, Kind.RAISE, Kind.REFUSED, Kind.VICTIM)
# how many of a hundred or so, and how the client may end it
PROTOCOL = {
    Kind.ECHO: (17, ANY_END), Kind.GATHER: (4, (End.HALF, End.HALF, End.RESET)),
    Kind.MUTE: (3, (End.FINISH, End.RESET)),
    Kind.ABORT: (4, (End.SERVER,)), Kind.CLOSE: (5, (End.SERVER,)), Kind.RAISE: (3, (End.SERVER,)),
    Kind.SOURCE: (3, (End.HALF, End.RESET)), Kind.KILLER: (3, (End.FINISH, End.HALF, End.RESET)),
    Kind.PROXY: (4, ANY_END), Kind.GREETED: (3, (End.SERVER, End.RESET)), Kind.NOTHING: (4, (End.RESET, End.DROP)),
}
KINDS = PROTOCOL | {
    Kind.FRAMES: (12, ANY_END), Kind.REFUSED: (2, (End.SERVER,)),
    Kind.STREAM: (24, (*ANY_END, End.FINISH, End.HALF, End.SERVER)),
    Kind.DATAGRAMS: (12, (End.FINISH, End.FINISH, End.FINISH, End.DROP)),
}
GROUPS = {
    "protocol": tuple(PROTOCOL), "frames": (Kind.FRAMES, Kind.REFUSED), "streams": (Kind.STREAM,),
    "datagrams": (Kind.DATAGRAMS,),
}
TLS = ("tls", "start_tls")
WITH_TLS = (Kind.ECHO, Kind.GATHER, Kind.ABORT, Kind.CLOSE, Kind.RAISE, Kind.KILLER, Kind.VICTIM)
WIRES = ("unix", "tcp4", "tcp6")
DATAGRAM_WIRES = ("udp4", "udp6", "unixgram")
POOLS = 4                               # the default pool, and one of each zeroing mode
FOLLOWERS = 3                           # at most, of a source or a killer
UPSTREAM, REST = 254, 255               # parts: who a connection is forwarded or handed over to
LONGEST_DATAGRAM = 60_000
MOST_DATAGRAMS = 60


@dataclass
class Plan:
    """What one connection is to do."""

    number: int
    part: int
    kind: Kind
    end: End = End.SERVER
    how: How = How.PLAIN
    wire: str = "unix"
    pool: int = 0
    flags: int = 0
    seed: int = 0
    start: int = 0
    sizes: list[int] = field(default_factory=list)      # of the messages
    limit: int = 0
    think: float = 0                # seconds between messages, on average; infinite: until the quarter ends
    grain: int = 65_536             # most bytes of one read
    interval: float = 0             # of a slow reader: seconds between reads; 0: as they come
    cut: int = 0                    # RESET, DROP: after so many bytes sent and received
    leader: "Plan | None" = None    # of a follower
    followers: int = 0
    script: Script | None = None
    rules: object = None            # of FRAMES
    frames: tuple = ()
    discarded: int = 0
    text: object = None             # what the client says
    is_planted: bool = False        # the model is wrong on purpose

    def __post_init__(self):
        self.text = Window(self.seed, self.start, self.size)

    def dice(self, side):
        return random.Random(f"{self.seed}/{self.number}/{self.part}/{side}")

    @property
    def size(self):
        return sum(self.sizes)

    @property
    def expected(self):
        """What the client is to hear unless somebody ends it before. Of a sink, and of a greeted one: all of it."""
        return Planted(self._answer()) if self.is_planted else self._answer()

    def _answer(self):
        if self.script is not None:
            return Literal(self.script.answer)
        if self.rules is not None:
            wire = self.rules.wire if may_answer(self.rules) else bytes
            return Literal(b"".join(map(wire, self.frames)))
        if self.kind is Kind.SINK:
            return self.leader.text
        if self.kind is Kind.GREETED:
            return Window(self.seed, 0, LARGEST)
        more = self.limit if self.kind is Kind.CLOSE else 0
        return Window(self.seed, self.start, self.limit if self.kind is Kind.MUTE else self.size + more)

    @property
    def is_complete(self):
        """Is all of the answer sure to be compared?"""
        return self.end in (End.FINISH, End.HALF) and self.kind in (
            Kind.ECHO, Kind.GATHER, Kind.FRAMES, Kind.STREAM) and self.expected.size > 0 and self.think < math.inf

    def say(self, data):
        self.text, self.sizes = Literal(data), [len(data)]


class Planner:
    def __init__(self, seed):
        self.seed = seed
        self.flow = functools.lru_cache(2000)(lambda number: self.plan(number, 0))      # asked for by each datagram

    def plan(self, number, part):
        return self.parts(number)[part]

    def parts(self, number):
        """The plans of a session, by part."""
        dice = random.Random(f"{self.seed}/{number}")
        kind = dice.choices(list(KINDS), [share for share, _ in KINDS.values()])[0]
        plan = {
            Kind.STREAM: self._draw_stream, Kind.FRAMES: self._draw_frames, Kind.REFUSED: self._draw_frames,
            Kind.DATAGRAMS: self._draw_datagrams,
        }.get(kind, self._draw)(dice, number, 0, kind)
        parts = {0: plan}
        if kind in (Kind.SOURCE, Kind.KILLER):
            plan.followers = dice.randint(1, FOLLOWERS)
            for part in range(1, plan.followers + 1):
                parts[part] = self._draw_sink(dice, plan, part) if kind is Kind.SOURCE else self._draw(
                    dice, number, part, Kind.VICTIM)
        elif kind is Kind.PROXY:
            parts[UPSTREAM] = self._echo(plan, UPSTREAM, plan.text)
        elif kind is Kind.STREAM and plan.script.rest in (Rest.RELAY, Rest.HAND_OVER):
            part = UPSTREAM if plan.script.rest is Rest.RELAY else REST
            parts[part] = self._echo(plan, part, Literal(plan.script.rest_wire))
        return parts

    def _echo(self, plan, part, text):
        echo = Plan(plan.number, part, Kind.ECHO, wire=plan.wire, pool=plan.pool, flags=plan.flags & KEEPS,
                    seed=self.seed, sizes=[text.size])
        echo.text = text
        return echo

    def _draw(self, dice, number, part, kind):
        ends = (End.FINISH, End.HALF) if kind is Kind.VICTIM else KINDS[kind][1]
        wire = dice.choice(WIRES)
        if kind in WITH_TLS and dice.random() < 0.3:
            wire = "tls"
        sizes = [draw_size(dice, LARGEST) for _ in range(dice.randint(1, 6) if kind is not Kind.GREETED else 0)]
        plan = Plan(number, part, kind, dice.choice(ends), draw_how(dice, kind), wire, dice.randrange(POOLS),
                    draw_flags(dice, kind, wire), self.seed, dice.randrange(PERIOD), sizes)
        if wire in TLS and plan.end is End.HALF and plan.how is How.LATER:
            plan.how = How.PLAIN                        # a transport of TLS closes when its peer has ended
        if plan.how is How.SCRIBBLE:
            plan.flags &= ~KEEPS                        # what is kept would change
        draw_pace(dice, plan)
        if kind is Kind.CLOSE:
            plan.limit = dice.choice((0, 1, 5000, LARGEST))
        elif kind in (Kind.ABORT, Kind.RAISE, Kind.MUTE):
            plan.limit = dice.randint(1, plan.size)
        plan.cut = dice.randint(0, plan.size if kind in (Kind.GATHER, Kind.MUTE, Kind.GREETED) else 2 * plan.size)
        return plan

    def _draw_sink(self, dice, source, part):
        plan = Plan(
            source.number, part, Kind.SINK, dice.choice((End.SERVER, End.SERVER, End.RESET)), dice.choice(SHARED),
            dice.choice(WIRES), dice.randrange(POOLS), draw_flags(dice, Kind.SINK, "unix"), self.seed, leader=source,
            cut=dice.randrange(source.size),
        )
        if dice.random() < 0.3:
            make_slow(dice, plan)
        return plan

    def _draw_stream(self, dice, number, part, kind):
        plan = self._draw_scripted(dice, number, part, kind, TLS if dice.random() < 0.4 else WIRES)
        plan.script = draw_script(dice, self.seed, plan.end is End.HALF)
        plan.say(plan.script.outgoing)
        if plan.end is End.SERVER and plan.script.rest is not Rest.NOTHING:
            plan.end = End.FINISH                       # who it is handed over to only echoes
        self._cut_messages(dice, plan, plan.script.gates)
        return plan

    def _draw_frames(self, dice, number, part, kind):
        plan = self._draw_scripted(dice, number, part, kind, ("tls",) if dice.random() < 0.3 else WIRES)
        draw = refused_frames if kind is Kind.REFUSED else draw_frames
        plan.rules, stream, parsed = draw(dice, self.seed, 60)
        plan.frames, plan.discarded = tuple(parsed.frames), parsed.discarded
        plan.say(stream)
        self._cut_messages(dice, plan, ())
        return plan

    def _draw_scripted(self, dice, number, part, kind, wires):
        wire, end = dice.choice(wires), dice.choice(KINDS[kind][1])
        return Plan(number, part, kind, End.FINISH if wire in TLS and end is End.HALF else end, How.PLAIN, wire,
                    dice.randrange(POOLS), draw_flags(dice, kind, wire), self.seed)

    def _cut_messages(self, dice, plan, gates):
        edges = sorted({0, plan.size, *gates, *(dice.randint(0, plan.size) for _ in range(dice.randint(0, 5)))})
        plan.sizes = [stop - start for start, stop in itertools.pairwise(edges)]
        draw_pace(dice, plan)
        plan.cut = dice.randint(0, plan.size + plan.expected.size)

    def _draw_datagrams(self, dice, number, part, kind):
        sizes = [draw_size(dice, LONGEST_DATAGRAM) for _ in range(dice.randint(1, MOST_DATAGRAMS))]
        end, how, wire = dice.choice(KINDS[kind][1]), dice.choice(list(How)), dice.choice(DATAGRAM_WIRES)
        return Plan(number, part, kind, end, how, wire, dice.randrange(POOLS + 1), draw_flags(dice, kind, "unix"),
                    self.seed, dice.randrange(PERIOD), sizes,
                    limit=dice.randint(1, 16), think=dice.choice((0, 0, 0.02, 0.2)), cut=dice.randint(0, len(sizes)))


def draw_size(dice, most):
    return int(math.exp(dice.uniform(0, math.log(most))))


def draw_how(dice, kind):
    if kind is Kind.SOURCE:
        return dice.choice(SHARED)
    may_be_later = kind in (Kind.ECHO, Kind.VICTIM, Kind.KILLER)
    return dice.choice([how for how in How if how is not How.LATER or may_be_later])


def draw_flags(dice, kind, wire):
    chances = {PAUSES: 0.2, KEEPS: 0.2, SMALL: 0.1, IGNORES: 0.3, STAYS: 0.4}
    flags = sum(flag for flag, chance in chances.items() if dice.random() < chance)
    if kind not in (Kind.PROXY, Kind.SOURCE) and dice.random() < 0.15:
        flags |= dice.choice((BYTES, ROOM))
    if kind in (Kind.SOURCE, Kind.SINK) or wire in TLS:
        flags &= ~STAYS
    return flags


def draw_pace(dice, plan):
    plan.think = dice.choice((0, 0.5, 1, 2, math.inf))
    plan.grain = dice.choice((1000, 65_536, 262_144))
    if dice.random() < 0.15:
        make_slow(dice, plan)


def make_slow(dice, plan):
    plan.flags |= SMALL
    plan.grain = dice.choice((2000, 20_000))
    plan.interval = dice.uniform(0.01, 0.05)
    plan.think = 0
    if isinstance(plan.text, Window) and plan.sizes:
        most = int(2 / plan.interval * plan.grain)          # about 2 s of reading
        plan.sizes = [min(size, most // len(plan.sizes)) for size in plan.sizes]
        plan.text = Window(plan.seed, plan.start, plan.size)
