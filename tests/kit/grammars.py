"""Owns what frames of Marked and LineAndBody are, once more in plain Python.

As in kit.reference, a rule is given the whole stream, however it was cut. Called by splits, drawn, fuzzer and soak.
"""

import dataclasses
import re

import poolio
from kit.reference import Parsed


class NotYet(Exception):
    """The stream ends before the frame does."""


class Wrong(Exception):
    """What is at a place is no frame; the arguments are (type, size, limit)."""

    def __init__(self, size=None, limit=None):
        kind = poolio.FrameError if size is None else poolio.FrameTooLarge
        self.error = (kind, size and min(size, 2**63), limit)


def parse_all(stream, frame_at, skipped=lambda frame: False):
    """All frames; `frame_at(stream, at)` returns (frame, index behind it)."""
    parsed, at = Parsed(), 0
    while at < len(stream):
        try:
            frame, end = frame_at(stream, at)
        except NotYet:
            break
        except Wrong as wrong:
            parsed.error = wrong.error
            break
        if not skipped(frame):
            parsed.frames.append(frame)
        at = end
    parsed.rest = stream[at:]
    return parsed


# --- Marked -----------------------------------------------------------------------------------------------

@dataclasses.dataclass(frozen=True)
class Values:
    frames: str = "values"
    inline: str = "refuse"
    bytes_up_to: int = 4096
    max_items: int = 1 << 16
    max_depth: int = 8
    max_frame: int = 1 << 20

    def codec(self):
        return poolio.Marked(**dataclasses.asdict(self))

    def wire(self, body):
        return wire(body)

    def parse(self, stream):
        commands = self.frames == "commands"
        return parse_all(stream, lambda *place: Reading(self, *place).frame(), lambda frame: commands and not frame)


class Reading:
    """One frame that is read."""

    def __init__(self, rules, stream, at):
        self.rules, self.stream, self.begin, self.at, self.items = rules, stream, at, at, 0

    def frame(self):
        if self.rules.inline == "split" and self.stream[self.at:self.at + 1] != b"*":
            return tuple(self.line(b"\n", min(self.rules.max_frame, 65536)).split()), self.at
        return self.value(0), self.at

    def value(self, depth):
        mark = self.stream[self.at:self.at + 1]
        if not mark:
            raise NotYet
        if mark not in ((b"$" if depth else b"*") if self.rules.frames == "commands" else b"*$:+-"):
            raise Wrong
        if mark in b"+-":
            line = self.line(b"\r\n", self.rules.max_frame)[1:-2].decode("utf-8", "surrogateescape")
            return line if mark == b"+" else {"error": line}
        number = self.number(mark)
        if mark == b":":
            self.passed()
            return number
        if mark == b"$" and number >= 0:
            return self.string(number)
        if mark == b"*" and number > 0:
            self.items += number
            if self.items > self.rules.max_items or depth == self.rules.max_depth:
                raise Wrong
        self.passed()
        return poolio.NIL if number < 0 else tuple(self.value(depth + 1) for _ in range(number))

    def passed(self):
        if self.at - self.begin > self.rules.max_frame:
            raise Wrong(self.at - self.begin, self.rules.max_frame)

    def line(self, end, limit):
        found = self.stream.find(end, self.at)
        stop = len(self.stream) if found < 0 else found + len(end)
        if stop - self.begin > limit:
            raise Wrong(limit + 1, limit)
        if found < 0:
            raise NotYet
        start, self.at = self.at, stop
        return self.stream[start:stop]

    def number(self, mark):
        text = self.stream[self.at + 1:].split(b"\r")[0]
        if len(text) <= 21 and self.at + len(text) + 2 >= len(self.stream):
            raise NotYet
        least = -(2**63) if mark == b":" else 0 if mark == b"$" and self.rules.frames == "commands" else -1
        if not re.fullmatch(rb"[+-]?[0-9]{1,20}" if least else rb"[0-9]{1,20}", text) or not least <= int(text) < 2**63:
            raise Wrong
        self.at += len(text) + 3
        if self.stream[self.at - 1:self.at] != b"\n":
            raise Wrong
        return int(text)

    def string(self, size):
        start, self.at = self.at, self.at + size + 2
        self.passed()
        if self.at > len(self.stream):
            raise NotYet
        if self.stream[self.at - 2:self.at] != b"\r\n":
            raise Wrong
        return self.stream[start:self.at - 2]


def wire(value):
    """A value as RESP2 has it."""
    if isinstance(value, list | tuple):
        return b"*%d\r\n" % len(value) + b"".join(map(wire, value))
    if isinstance(value, bytes):
        return b"$%d\r\n%b\r\n" % (len(value), value)
    if isinstance(value, int):
        return b":%d\r\n" % value
    if value is None or value is poolio.NIL:
        return b"$-1\r\n"
    return (b"+%b\r\n" if isinstance(value, str) else b"-%b\r\n") % str(value).encode("utf-8", "surrogateescape")


# --- LineAndBody ------------------------------------------------------------------------------------------

@dataclasses.dataclass(frozen=True)
class Lines:
    size: object = 0                # an index, or a tuple of (verb, index or None)
    verbs: str = "exact"
    separator: bytes | None = None
    base: int = 10
    line_end: bytes = b"\r\n"
    body_end: bytes = b"\r\n"
    zero: str = "body"
    bytes_up_to: int = 4096
    max_line: int = 8192
    max_frame: int = 1 << 20

    def codec(self):
        options = dataclasses.asdict(self)
        size = options.pop("size")
        return poolio.LineAndBody(size if isinstance(size, int) else dict(size), **options)

    def parse(self, stream):
        return parse_all(stream, self.frame_at)

    def split(self, line):
        if self.separator is None:
            return tuple(field for field in re.split(rb"[ \t]+", line) if field) or (b"",)
        return tuple(field.strip(b" \t") for field in line.split(self.separator))

    def frame_at(self, stream, at):
        found, limit = stream.find(self.line_end, at), min(self.max_line, self.max_frame)
        if found < 0 and len(stream) - at - len(self.line_end) < self.max_line:
            raise NotYet
        begin = found + len(self.line_end)
        if not 0 <= found - at <= self.max_line or begin - at > self.max_frame:
            raise Wrong(limit + 1, limit)
        fields = self.split(stream[at:found])
        verb = fields[0].upper() if self.verbs == "any case" else fields[0]
        index = self.size if isinstance(self.size, int) else dict(self.size).get(verb)
        if index is None:
            if not isinstance(self.size, int) and verb in dict(self.size) and len(fields) > 1:
                first, rest = re.fullmatch(
                    rb"[ \t]*([^ \t]+)[ \t]*(.*?)[ \t]*" if self.separator is None else
                    rb"[ \t]*(.*?)[ \t]*" + re.escape(self.separator) + rb"[ \t]*(.*?)[ \t]*",
                    stream[at:found], re.DOTALL).groups()
                fields = first, rest
            return (fields, None), begin
        if not -len(fields) <= index < len(fields):
            raise Wrong
        if not re.fullmatch(rb"[0-9]{1,20}" if self.base == 10 else rb"[0-9A-Fa-f]{1,20}", fields[index]):
            raise Wrong
        return self.body_at(stream, at, begin, fields, int(fields[index], self.base))

    def body_at(self, stream, at, begin, fields, size):
        if size == 0 and self.zero == "lines":
            stop = stream.find(2 * self.line_end, begin - len(self.line_end))
            end = stop + 2 * len(self.line_end)
            if (len(stream) if stop < 0 else end) - at > self.max_frame:
                raise Wrong(self.max_frame + 1, self.max_frame)
            if stop < 0:
                raise NotYet
            return (fields, stream[begin:end - len(self.line_end)]), end
        end = begin + size + len(self.body_end)
        if end - at > self.max_frame:
            raise Wrong(end - at, self.max_frame)
        if end > len(stream):
            raise NotYet
        if stream[begin + size:end] != self.body_end:
            raise Wrong
        return (fields, stream[begin:begin + size]), end


MEMCACHED = ((b"set", 4), (b"cas", 4))
NATS = ((b"PUB", -1), (b"HPUB", -1), (b"INFO", None))
