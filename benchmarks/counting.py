"""What does a handler do that does something? It counts and sums in attributes, keeps the last message, and logs.

The rows "counting" of echo, framing and instructions have such handlers, for poolio and its peers alike, beside those
that do as little as can be. What is logged, each thousandth message, is formatted, and written to nobody: where a log
goes is not what is compared.
"""

import asyncio
import logging
from typing import Any, cast

import poolio

LOGGED_EVERY = 1000  # messages


class Formatted(logging.Handler):
    """Does what every handler does before it writes."""

    def emit(self, record: logging.LogRecord) -> None:
        self.format(record)


logger = logging.getLogger("benchmarks.counting")
logger.addHandler(Formatted())
logger.setLevel(logging.INFO)
logger.propagate = False


def log(count: int, total: int) -> None:
    """Called for each thousandth message."""
    logger.info("%d messages, %d in sum", count, total)


class Counted:
    """The attributes; they are the object's own from the first message on."""

    count = total = 0
    last: Any = b""


class CountingEcho(Counted, asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.count += 1
        self.total += len(data)
        self.last = data
        if self.count % LOGGED_EVERY == 0:
            log(self.count, self.total)
        self.transport.write(data)


class CountingPooledEcho(poolio.Protocol, Counted):
    def data_received(self, buf: poolio.Buffer) -> None:
        self.count += 1
        self.total += len(buf)
        self.last = buf
        if self.count % LOGGED_EVERY == 0:
            log(self.count, self.total)
        self.write(buf)
