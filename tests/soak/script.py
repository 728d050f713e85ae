"""A script: what a client says to a stream in order, how the server reads each part of it, and what it answers.

Owns the Steps and their draw, one for each method of StreamReader, and how the script goes on after them: nothing, the
rest up to the end, a relay to another connection, or the connection handed over to a protocol. All bytes are known
beforehand, on both sides.

Refuses to know sockets and poolio's classes: the server's streams play a script (stream.py), a link says and hears it.
"""

import dataclasses
import enum
import math

from frames import Netstring, Prefixed, Variable, draw_frames
from terms import LARGEST, PERIOD, Window

LONGEST_LINE = 250              # less than the smallest limit of a door
LARGEST_STEP = 100_000
SEPARATORS = (b"\n", b"\r\n", b"\0end", (b"\r\n", b"\n"), (b";", b"&&"))
MOST_STEPS = 7
METHODS = ("read", "exactly", "at_least", "peek", "readinto", "until", "line", "iterate", "lines", "frames", "cancel")


class Rest(enum.IntEnum):
    """What becomes of the connection after the last step."""

    NOTHING = enum.auto()
    ALL = enum.auto()           # read(-1), answered after the end
    RELAY = enum.auto()         # to another connection of the server to itself, and back
    HAND_OVER = enum.auto()     # to a protocol


@dataclasses.dataclass
class Step:
    method: str
    wire: bytes = b""                   # what the client says
    results: tuple = ()                 # what the server reads
    is_cut: bool = False                # reads may cut the only result anywhere
    size: int = 0                       # the method's argument
    separator: object = None
    rules: object = None                # of the frames that are read
    answer_rules: object = None         # None: the results as they are
    waits: bool = False                 # the client says no more until it has heard the answer

    @property
    def answer(self):
        wire = self.answer_rules.wire if self.answer_rules else bytes
        return b"".join(map(wire, self.results))


class Script:
    def __init__(self, steps, rest, rest_wire):
        self.steps, self.rest, self.rest_wire = steps, rest, rest_wire
        self.outgoing = b"".join(step.wire for step in steps) + rest_wire
        self.answer = b"".join(step.answer for step in steps) + rest_wire
        self.gates = {}                 # at this many bytes said: so many are to be heard first
        said = heard = 0
        for step in steps:
            said, heard = said + len(step.wire), heard + len(step.answer)
            if step.waits:
                self.gates[said] = heard


def draw_script(dice, seed, has_end):
    """has_end: the client ends its side and listens on."""
    def text(size):
        return Window(seed, dice.randrange(PERIOD), size).at(0, size)

    steps = [draw_step(dice, seed, text, dice.choice(METHODS)) for _ in range(dice.randint(1, MOST_STEPS))]
    rest = dice.choice(list(Rest) if has_end else (Rest.NOTHING, Rest.NOTHING, Rest.HAND_OVER))
    steps[-1].waits |= rest is Rest.HAND_OVER and dice.random() < 0.5
    for number, step in enumerate(steps):               # else a call that is to be cancelled may see the end
        step.size = int(is_awaited(steps[number:])) if step.method == "cancel" else step.size
    return Script(steps, rest, text(draw_size(dice, LARGEST)) if rest is not Rest.NOTHING else b"")


def is_awaited(steps):
    """Is the client sure to wait for an answer of these before it ends?"""
    heard = 0
    for step in steps:
        heard += len(step.answer)
        if step.waits and heard:
            return True
    return False


def draw_size(dice, most):
    return int(math.exp(dice.uniform(0, math.log(most))))


def draw_step(dice, seed, text, method):
    step = Step(method, waits=dice.random() < 0.3)
    if method in ("line", "iterate", "lines", "until"):
        draw_separated(dice, text, step)
    elif method == "frames":
        step.rules, step.wire, parsed = draw_frames(dice, seed)
        step.results = tuple(parsed.frames)
        if dice.random() < 0.6:
            step.answer_rules = dice.choice((Prefixed(), Prefixed(3, "little"), Variable(), Netstring()))
    elif method != "cancel":
        size = draw_size(dice, LARGEST_STEP)
        step.wire = text(size)
        step.results, step.is_cut = (step.wire,), method in ("read", "readinto", "at_least")
        step.size = size if method == "exactly" else dice.randint(1, size)
        step.waits |= method == "at_least"              # it may take what comes behind
    return step


def draw_separated(dice, text, step):
    step.separator = dice.choice(SEPARATORS) if step.method == "until" else b"\n"
    separators = step.separator if isinstance(step.separator, tuple) else (step.separator,)
    most = LONGEST_LINE if step.method == "iterate" else dice.choice((LONGEST_LINE, 20_000))
    bodies = []
    for _ in range(dice.randint(1, 20 if most == LONGEST_LINE else 4)):
        body = text(dice.randint(0, most))
        for separator in separators:
            body = body.replace(separator[-1:], b"x")
        bodies.append(body)
    ends = [dice.choice(separators) for _ in bodies]
    step.wire = b"".join(body + end for body, end in zip(bodies, ends, strict=True))
    whole = zip(bodies, ends, strict=True) if step.method != "lines" else ((body, b"") for body in bodies)
    step.results = tuple(body + end for body, end in whole)


