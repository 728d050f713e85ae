"""Owns loops whose clock can be put forward: `loop.ahead += 11` and all timers of the next 11 seconds are due.

Called by the tests that wait for minutes without waiting: memory that is idle, connections that wait for memory.
"""

import asyncio

import poolio


class _JumpingClock:
    ahead = 0.0

    def time(self):
        return super().time() + self.ahead


class JumpingSelectorLoop(_JumpingClock, asyncio.SelectorEventLoop):
    """asyncio's loop, with a clock that can be put forward."""


class JumpingEventLoop(_JumpingClock, poolio.EventLoop):
    """poolio's loop, with a clock that can be put forward."""
