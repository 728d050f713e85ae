"""Frames on the server: what a codec has decoded is compared with the plan, and answered.

Framing is what any session that decodes has in common; FramedSession is a poolio.FramedProtocol. Both check at the
end of the connection that the codec has dropped as many frames as were too large.

Refuses to know how the plan came by its frames, and who chose the form. Sessions are Framing, or become a
FramedSession.
"""

import asyncio

from audited import Audited, SoakError
from plan import KEEPS, Kind, may_answer
from terms import Literal
from writing import cuts

import poolio


class Framing:
    """For an Audited session whose plan has rules."""

    codec = None
    decoded = 0
    errors = (OSError, SoakError, poolio.FrameTooLarge, asyncio.IncompleteReadError)

    def start_frames(self):
        if self.codec is None:
            self.codec = self.plan.rules.codec()

    def feed(self, data):
        """An error comes after all frames before it, in a call of its own."""
        try:
            while frames := self.codec.feed(data):
                self.answer_frames(frames)
                data = b""
        except poolio.FrameTooLarge:                    # the connection may be lost because of what was answered
            self.house.counts["raised"] += 1
            raise

    def answer_frames(self, frames):
        self.may_receive("frames_received()")
        for frame in frames:
            self.check_frame(frame)
            if self.plan.flags & KEEPS and len(frame):
                self.house.keep(frame, self.plan, Literal(self.plan.frames[self.decoded]), 0, self.dice)
            self.decoded += 1
            if not self.transport.is_closing():
                self.answer_frame(frame)
        self.house.counts["frames"] += len(frames)

    def check_frame(self, frame):
        if self.decoded >= len(self.plan.frames) or frame != self.plan.frames[self.decoded]:
            self.fault(f"frame {self.decoded} is wrong, {len(frame)} bytes, by {self.plan.rules}")

    def answer_frame(self, frame):
        if not may_answer(self.plan.rules):
            self.write(frame)
        elif self.dice.random() < 0.5 or not len(frame):
            self.write(self.codec.encode(frame))
        else:
            self.writelines(self.codec.gather([frame[part] for part in cuts(self.dice, len(frame), 3)]))

    def connection_lost(self, exc):
        super().connection_lost(exc)
        if isinstance(exc, poolio.FrameTooLarge):
            self.expect(self.plan.kind is Kind.REFUSED, f"connection_lost({exc!r})")
            self.expect(self.decoded == len(self.plan.frames), f"{self.decoded} frames before a large one")
        elif self.codec is not None and self.decoded == len(self.plan.frames):
            self.expect(self.codec.discarded == self.plan.discarded, f"{self.codec.discarded} frames dropped")


class FramedSession(Framing, Audited, poolio.FramedProtocol):
    """One that is not told of anything but whole frames."""

    def __init__(self, house, plan, pool):
        Audited.__init__(self, house)
        self.codec = plan.rules.codec()
        poolio.FramedProtocol.__init__(self, self.codec)
        self.pool = pool

    def connection_made(self, transport):
        super().connection_made(transport)
        self.house.counts["FramedProtocol"] += 1

    def receive(self, data):
        """What came with the header."""
        self.data_received(data)

    def frame_error(self, exc):
        if isinstance(exc, poolio.FrameTooLarge):
            self.expect(self.plan.kind is Kind.REFUSED, f"frame_error({exc!r})")
            self.expect(self.decoded == len(self.plan.frames), f"{self.decoded} frames before a large one")
            self.house.counts["refused"] += 1
        else:
            self.expect(isinstance(exc, asyncio.IncompleteReadError), f"frame_error({exc!r})")

    def frames_received(self, frames):
        self.answer_frames(frames)
        self.perhaps_pause()

    def answer_frame(self, frame):
        if may_answer(self.plan.rules) and self.dice.random() < 0.5 and len(frame):
            self.write_frame(*(frame[part] for part in cuts(self.dice, len(frame), 3)))
        else:
            super().answer_frame(frame)

    def eof_received(self):
        self.reach_end()
        return poolio.FramedProtocol.eof_received(self)
