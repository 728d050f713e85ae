"""The terms: what the processes of the soak agree on before any of them does a thing.

Owns the header that begins a connection (which session this is), the contents of what is sent after it, and how a
process tells its figures: one line of JSON, faults in words and with the session that they belong to.

The contents are windows of one pseudo-random block, which repeats with a prime period: each byte is known by its
position, so both sides compare all that they receive.

Refuses to know sockets, loops, poolio, and who keeps to these terms. All other files of this folder may import it; it
imports none of them.
"""

import functools
import json
import random
import struct

LARGEST = 300_000               # of one message; more than a read slab (256 KiB), so it never comes at once
PERIOD = 1_048_573              # a prime: a mix-up of pages, slabs or messages never shows the same bytes
REPORTED = 12                   # faults of a process that are told; the others are counted
HEADER = struct.Struct("<QQB")  # number of the session, of its opening, and which of its connections this is
POSITION = struct.Struct("<Q")  # to a sink: where it begins; to a greeted one: 2 * size, and 1 if all of it comes
DATAGRAM = struct.Struct("<QQIB")       # number, opening, which of its datagrams, which part of the answer
SHUTDOWN_SECONDS = 120          # of TLS: slow readers on a loaded machine take longer than asyncio's 30
WAITS = b"!"                    # the server is ready for the handshake of TLS


@functools.cache
def block(seed):
    once = random.Random(seed).randbytes(PERIOD)
    return once + once[:LARGEST]


class Window:
    """`size` bytes of the contents, from `start` on."""

    def __init__(self, seed, start, size):
        self.block, self.start, self.size = block(seed), start, size

    def at(self, position, length):
        offset = (self.start + position) % PERIOD
        return self.block[offset:offset + length]


class Literal:
    """Bytes that were written down."""

    def __init__(self, data):
        self.data, self.size = data, len(data)

    def at(self, position, length):
        return self.data[position:position + length]


class Planted:
    """Another text in which the byte in the middle is wrong: to see that the soak would notice."""

    def __init__(self, text):
        self.text, self.size = text, text.size

    def at(self, position, length):
        data, wrong = bytearray(self.text.at(position, length)), self.size // 2 - position
        if 0 <= wrong < len(data):
            data[wrong] ^= 1
        return bytes(data)


class Faults:
    """What is wrong, in words, each with the number of its session, or None: the first ones, and how many."""

    def __init__(self):
        self.told, self.more = [], 0

    def add(self, text, number=None):
        if len(self.told) < REPORTED:
            self.told.append((text, number))
        else:
            self.more += 1

    def take(self):
        told = self.told + [(f"and {self.more} more", None)] * bool(self.more)
        self.told, self.more = [], 0
        return told


def tell(**report):
    print(json.dumps(report), flush=True)
