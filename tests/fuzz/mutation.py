"""Owns Mutation: what is done to one place of a stream of TLS records, and how the stream is cut into reads.

It refuses to know sockets and keys. A mutation is drawn from a generator, and does the same each time to the same
stream. tls.py applies it to what one side of a connection sends, a flight at a time.
"""

HEADER = 5                  # bytes of a record's: type, version, length
KINDS = ("none", "flip", "header", "cut", "repeat", "drop", "swap", "splice", "replace", "garbage", "empty")


def records_of(flight):
    """The records of what was sent, as (start, stop)."""
    found, start = [], 0
    while start < len(flight):
        stop = min(len(flight), start + HEADER + int.from_bytes(flight[start + 3:start + HEADER], "big"))
        found.append((start, stop))
        start = stop
    return found


class Mutation:
    """One change at a place between 0 and `size`, counted from the beginning of the stream.

    recorded    records of other sessions, for splices
    """

    def __init__(self, dice, size, recorded, kind=None):
        self.dice = dice
        self.kind = kind or dice.choice(KINDS)
        self.at = dice.randrange(size)
        self.recorded = recorded
        self.passed = 0             # bytes of earlier flights
        self.is_done = self.ends = False

    def __repr__(self):
        return f"{self.kind} at {self.at}"

    def of(self, flight):
        """What is sent in place of a flight. Then `ends` says whether the stream is over."""
        at, self.passed = self.at - self.passed, self.passed + len(flight)
        if self.is_done or at >= len(flight) or self.kind == "none":
            return flight
        self.is_done = True
        spans = records_of(flight)
        number = next(number for number, (_, stop) in enumerate(spans) if at < stop)
        start, stop = spans[number]
        record, rest = flight[start:stop], flight[stop:]
        if self.kind in ("flip", "header"):
            return self._flipped(flight, at if self.kind == "flip" else start + at % min(HEADER, stop - start))
        if self.kind == "cut":
            self.ends = True
            return flight[:at]
        if self.kind == "garbage":
            return flight[:at] + self.dice.randbytes(self.dice.choice((1, 4, 50, 20_000))) + flight[at:]
        return flight[:start] + self._in_place_of(record, rest, spans[number + 1:])

    def _flipped(self, flight, at):
        return flight[:at] + bytes([flight[at] ^ 1 << self.dice.randrange(8)]) + flight[at + 1:]

    def _in_place_of(self, record, rest, later):
        if self.kind == "repeat":
            return record * self.dice.choice((2, 2, 3, 40)) + rest
        if self.kind == "drop":
            return rest
        if self.kind == "empty":
            return record[:3] + b"\0\0" + record + rest
        if self.kind == "swap":
            size = later[0][1] - later[0][0] if later else 0
            return rest[:size] + record + rest[size:]
        foreign = self.dice.choice(self.recorded) if self.recorded else b""
        return foreign + (record if self.kind == "splice" else b"") + rest


def pieces_of(data, dice):
    """What is sent at a time: all, halves, or pieces of any size; of little, single bytes."""
    way = dice.randrange(4)
    if way == 0 or len(data) < 2:
        return [data]
    if way == 1 and len(data) < 700:
        return [bytes([byte]) for byte in data]
    places = sorted(dice.randrange(1, len(data)) for _ in range(1 if way == 2 else dice.randint(1, 8)))
    return [data[start:stop] for start, stop in zip([0, *places], [*places, len(data)], strict=True)]
