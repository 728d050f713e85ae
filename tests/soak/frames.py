"""Frames: the rules of a codec, drawn, and a stream of frames with what must come out of it.

The rules are those of kit/reference.py, in plain Python; a codec of one's own, Netstrings, is here with its rules.

Refuses to know connections, and how frames are read and answered. Scripts and plans draw from it; the server asks the
rules for a codec.
"""

import dataclasses
import math
import os
import sys

from terms import PERIOD, Window

import poolio

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from kit.grammars import Values
from kit.reference import Ended, Fixed, Parsed, Prefixed, Variable

LARGEST_BODY = 60_000
LAST_BODY = 60                  # all rules can say it, so what was dropped has a frame behind it
UNBOUNDED = 1 << 20
# The last byte of each stands in no body, so a body may hold all of a delimiter but its end.
DELIMITERS = ((b"\n",), (b"\r\n",), (b"\r\n", b"\n"), (b"\0",), (b"--end", b"\n"), (b"c" * 300,), (b"aab", b"ab", b"b"))


class Netstrings(poolio.Codec):
    """A codec in Python: the length in decimals, a colon, the body, a comma."""

    def decode(self, chain):
        colon = chain.find(b":")
        if colon < 0:
            return None
        size = int(bytes(chain.peek(colon)))
        if len(chain) < colon + size + 2:
            chain.wanted = colon + size + 2
            return None
        chain.advance(colon + 1)
        body = chain.take(size)
        chain.advance(1)
        return body

    def encode(self, *pieces):
        body = poolio.concat(pieces)
        return poolio.concat([b"%d:" % len(body), body, b","])


@dataclasses.dataclass(frozen=True)
class Netstring:
    max_frame: int = UNBOUNDED
    too_large: str = "raise"

    def codec(self):
        return Netstrings(max_frame=self.max_frame)

    def wire(self, body):
        return b"%d:%b," % (len(body), body)

    def parse(self, stream):
        frames, at = [], 0
        while at < len(stream):
            colon = stream.index(b":", at)
            at = colon + 2 + int(stream[at:colon])
            frames.append(stream[colon + 1:at - 1])
        return Parsed(frames)


def draw_rules(dice):
    bounds = {"max_frame": dice.choice((UNBOUNDED, UNBOUNDED, 5000, 300)), "too_large": "discard"}
    kind = dice.choices((Prefixed, Variable, Fixed, Ended, Netstring, Values), (8, 3, 2, 5, 3, 3))[0]
    if kind is Values:
        return Values(bytes_up_to=0)            # strings alone: their frames are Buffers, and b""
    if kind is Variable:
        return Variable(offset=dice.choice((0, 0, 1, 32)), header=dice.choice(("strip", "keep")), **bounds)
    if kind is Prefixed:
        return Prefixed(
            width=dice.choice((1, 2, 3, 4, 8)), byteorder=dice.choice(("big", "little")),
            offset=dice.choice((0, 0, 0, 1, 3, 32)), counts=dice.choice(("body", "body", "frame")),
            adjustment=dice.choice((0, 0, 0, 1, -1, 40)), header=dice.choice(("strip", "strip", "keep")), **bounds)
    if kind is Fixed:
        return Fixed(dice.choice((1, 7, 100, 5000)))
    if kind is Ended:
        return Ended(dice.choice(DELIMITERS), ends=dice.choice(("strip", "keep")), **bounds)
    return Netstring()


def may_answer(rules):
    """Can the codec write what it has read?"""
    if isinstance(rules, Values):
        return False                            # of several pieces it makes several frames
    return not (getattr(rules, "offset", 0) or "keep" in (getattr(rules, "header", ""), getattr(rules, "ends", "")))


def draw_frames(dice, seed, most=12):
    """(rules, stream, what is in it): some frames, of which a few are so large that they are to be dropped."""
    rules = draw_rules(dice)
    count = dice.choice((0, dice.randint(1, most), 100 if isinstance(rules, Fixed) and rules.size < 200 else 2))
    largest = min(LARGEST_BODY, getattr(rules, "max_frame", LARGEST_BODY))
    sizes = [int(math.exp(dice.uniform(0, math.log(largest + 1)))) - 1 for _ in range(count)]
    if largest < LARGEST_BODY:
        sizes = [largest + dice.randint(1, 3000) if dice.random() < 0.1 else size for size in sizes]
    sizes.append(LAST_BODY)
    if isinstance(rules, Fixed):
        sizes = [rules.size] * len(sizes)
    bodies = [Window(seed, dice.randrange(PERIOD), size).at(0, size) for size in sizes]
    wires = [rules.wire(without_delimiters(rules, body)) for body in bodies]
    stream = b"".join(wire for wire in wires if wire is not None)       # None: the field can't say this length
    return rules, stream, rules.parse(stream)


def without_delimiters(rules, body):
    ends = {one[-1:] for one in getattr(rules, "delimiters", ())}
    for end in ends:
        body = body.replace(end, b"x")
    return body


def refused_frames(dice, seed, most):
    """The same, and behind them one that is too large for the rules."""
    rules = dice.choice((Prefixed, Variable, Ended))(max_frame=300)
    sizes = [dice.randint(0, 300) for _ in range(dice.randint(0, most))]
    bodies = [Window(seed, dice.randrange(PERIOD), size).at(0, size) for size in sizes]
    stream = b"".join(rules.wire(without_delimiters(rules, body)) for body in bodies)
    stream += rules.wire(b"x" * (300 + dice.randint(1, 1000)))
    return rules, stream, rules.parse(stream)
