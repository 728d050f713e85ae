"""Owns what a frame is, once more in plain Python, from the documented rules alone: to compare the codecs with.

A rule is given the whole stream and returns what must come out of it, however it was cut into reads.
Called by splits, the tests of framing, the fuzzer and the soak.
"""

import dataclasses
import itertools
import re

import poolio

VARINTS = [re.compile(rb"[\x80-\xff]{0,%d}[\x00-\x7f]" % most) for most in range(10)]


@dataclasses.dataclass
class Parsed:
    """All that a stream has in it."""

    frames: list = dataclasses.field(default_factory=list)
    error: tuple | None = None      # type, size and limit of what ends it
    discarded: int = 0
    rest: bytes = b""               # not yet a frame, or what is no frame

    def refuse(self, size, limit):
        self.error = (poolio.FrameTooLarge, min(size, 2**63), limit)


@dataclasses.dataclass(frozen=True)
class Prefixed:
    width: int = 4
    byteorder: str = "big"
    offset: int = 0
    counts: str = "body"
    adjustment: int = 0
    header: str = "strip"
    max_frame: int = 1 << 20
    too_large: str = "raise"

    def codec(self):
        return poolio.LengthPrefixed(**dataclasses.asdict(self))

    def wire(self, body, fill=b"\xaa"):
        """A frame of this body; None if the field can't say its length."""
        length = len(body) - self.adjustment + (self.offset + self.width if self.counts == "frame" else 0)
        if not 0 <= length < 1 << 8 * self.width:
            return None
        return fill * self.offset + length.to_bytes(self.width, self.byteorder) + body

    def parse(self, stream):
        parsed, at = Parsed(), 0
        size = self.offset + self.width
        while len(stream) - at >= size:
            body = int.from_bytes(stream[at + self.offset:at + size], self.byteorder) + self.adjustment
            body -= size if self.counts == "frame" else 0
            if body < 0:
                parsed.error = (poolio.FrameError, None, None)
                break
            if body > self.max_frame:
                if self.too_large == "raise":
                    parsed.refuse(body, self.max_frame)
                    break
                parsed.discarded += 1
            elif len(stream) - at < size + body:
                break
            else:
                parsed.frames.append(stream[at + (0 if self.header == "keep" else size):at + size + body])
            at += size + body
        parsed.rest = stream[at:]
        return parsed


@dataclasses.dataclass(frozen=True)
class Variable:
    max_frame: int = 1 << 20
    too_large: str = "raise"
    offset: int = 0
    header: str = "strip"
    width: int = 10

    def codec(self):
        return poolio.Varint(**dataclasses.asdict(self))

    def wire(self, body, fill=b"\xaa"):
        """A frame of this body; None if the field can't say its length."""
        header, size = bytearray(fill * self.offset), len(body)
        while size > 127:
            header.append(size % 128 + 128)
            size //= 128
        header.append(size)
        return bytes(header) + body if len(header) <= self.offset + self.width else None

    def parse(self, stream):
        parsed, at = Parsed(), 0
        while match := VARINTS[self.width - 1].match(stream, at + self.offset):
            body = sum((byte & 127) << 7 * place for place, byte in enumerate(match[0]))
            if body >= 1 << 64:
                break
            if body > self.max_frame:
                if self.too_large == "raise":
                    parsed.refuse(body, self.max_frame)
                    break
                parsed.discarded += 1
            elif len(stream) < match.end() + body:
                break
            else:
                parsed.frames.append(stream[at if self.header == "keep" else match.end():match.end() + body])
            at = min(match.end() + body, len(stream))
        parsed.rest = stream[at:]
        is_long = len(parsed.rest) >= self.offset + self.width
        if parsed.error is None and is_long and (not match or body >= 1 << 64):
            parsed.error = (poolio.FrameError, None, None)
        return parsed


@dataclasses.dataclass(frozen=True)
class Fixed:
    size: int = 1

    def codec(self):
        return poolio.FixedSize(self.size)

    def wire(self, body):
        return body if len(body) == self.size else None

    def parse(self, stream):
        whole = len(stream) // self.size * self.size
        frames = [stream[at:at + self.size] for at in range(0, whole, self.size)]
        return Parsed(frames, rest=stream[whole:])


@dataclasses.dataclass(frozen=True)
class Ended:
    """By the delimiter that ends first; of those that end together, by the longest."""

    delimiters: tuple = (b"\n",)
    ends: str = "strip"
    last: str = "refuse"
    max_frame: int = 1 << 20
    too_large: str = "raise"

    def codec(self):
        return poolio.Delimited(
            self.delimiters, ends=self.ends, last=self.last, max_frame=self.max_frame, too_large=self.too_large)

    def wire(self, body):
        """A frame of this body; None if it would be read as another one."""
        whole = body + self.delimiters[0]
        return whole if self.first_end(whole, 0) == (len(body), len(whole)) else None

    def first_end(self, stream, start):
        """Where the frame that begins at `start` ends, and its delimiter; None if it does not end."""
        ends = [(at + len(one), at) for one in self.delimiters if (at := stream.find(one, start)) >= 0]
        return min(ends)[::-1] if ends else None

    def parse(self, stream):
        parsed, at = Parsed(), 0
        while (ends := self.first_end(stream, at)) is not None:
            if ends[0] - at <= self.max_frame:
                parsed.frames.append(stream[at:ends[self.ends == "keep"]])
            elif self.too_large == "raise":
                parsed.refuse(self.max_frame + 1, self.max_frame)
                break
            else:
                parsed.discarded += 1
            at = ends[1]
        parsed.rest = stream[at:]
        if ends is None and self.too_large == "raise" and self.is_surely_too_large(parsed.rest):
            parsed.refuse(self.max_frame + 1, self.max_frame)
        return parsed

    def is_surely_too_large(self, rest):
        """Is the frame too large, even if all of the longest delimiter but its last byte is here?"""
        return len(rest) - max(map(len, self.delimiters)) + 1 > self.max_frame


def pieces_of(data, cuts):
    """The bytes, cut at these places, which are taken modulo their number."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:stop] for start, stop in itertools.pairwise(places)]


def error_of(error):
    return (type(error), min(error.size, 2**63), error.limit) if isinstance(error, poolio.FrameTooLarge) else (
        type(error), None, None)


def shown(frame):
    """A frame with all Buffers in it as bytes, and errors as what can be compared."""
    if isinstance(frame, tuple):
        return tuple(map(shown, frame))
    if isinstance(frame, poolio.ErrorReply):
        return {"error": str(frame)}
    return bytes(frame) if isinstance(frame, poolio.Buffer) else frame


def buffers_in(frames):
    """All Buffers in them, also in tuples."""
    return [buf for frame in frames for buf in (buffers_in(frame) if isinstance(frame, tuple) else [frame])
            if isinstance(buf, poolio.Buffer)]


def feed_all(codec, reads, after=lambda frames: None):
    """Feed them all; return what came out. After an error nothing more may come, and that error comes each time."""
    parsed = Parsed()
    for read in [*reads, b"", b""]:
        try:
            frames = codec.feed(read)
        except poolio.FrameError as error:
            assert parsed.error in (None, error_of(error))
            parsed.error = error_of(error)
        else:
            assert parsed.error is None or frames == []
            parsed.frames += [shown(frame) for frame in frames]
            after(frames)
            codec.chain.check()
    parsed.discarded = codec.discarded
    parsed.rest = bytes(codec.chain.peek(len(codec.chain)))
    return parsed


def compare(rules, stream, reads, after=lambda frames: None):
    """Feed these reads, of this stream, to a codec; AssertionError unless all is as the rules say. Returns both."""
    codec, expected = rules.codec(), rules.parse(stream)
    parsed = feed_all(codec, reads, after)
    if isinstance(rules, Ended) and rules.is_surely_too_large(expected.rest) and expected.error is None:
        assert len(parsed.rest) < max(map(len, rules.delimiters))       # the others are dropped as they come
        parsed.rest = expected.rest
    assert parsed == expected, f"{rules}\n{stream!r}\n{[bytes(read) for read in reads]}\n{parsed}\n{expected}"
    return codec, expected
