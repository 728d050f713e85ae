"""The terms: what the processes of the soak agree on before any of them does a thing.

Owns the header that begins a connection (what the server is to do: Kind, How, flags), the contents of the stream after
it, and how a process tells its figures: one line of JSON, faults in words.

The contents are a window of one pseudo-random block, which repeats with a prime period: each byte is known by its
position, so both sides compare all that they receive.

Refuses to know sockets, loops, poolio, and who keeps to these terms. All other files of this folder import it; it
imports none of them.
"""

import enum
import functools
import json
import random
import struct

LARGEST = 300_000               # of one message; more than a read slab (256 KiB), so it never comes at once
PERIOD = 1_048_573              # a prime: a mix-up of pages, slabs or messages never shows the same bytes
REPORTED = 12                   # faults of a process that are told; the others are counted


class Kind(enum.IntEnum):
    """What the server does with a connection."""

    ECHO = enum.auto()
    GATHER = enum.auto()        # send all of it back after eof_received()
    MUTE = enum.auto()          # echo `limit` bytes, write_eof() inside data_received(), read on
    ABORT = enum.auto()         # echo; abort() inside data_received() after `limit` bytes, or in pause_writing() etc.
    CLOSE = enum.auto()         # echo; after `size` bytes send `limit` more and close() inside data_received()
    RAISE = enum.auto()         # echo; an exception inside data_received() after `limit` bytes
    SOURCE = enum.auto()        # echo, and to each SINK of its group
    SINK = enum.auto()          # first says in 8 bytes at which position it begins
    KILLER = enum.auto()        # echo; each time a VICTIM is aborted or closed
    VICTIM = enum.auto()        # echo
    PROXY = enum.auto()         # to another connection of the server to itself, and back
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


PAUSES, KEEPS, SMALL, IGNORES, STAYS, BYTES, ROOM = (1 << bit for bit in range(7))
HEADER = struct.Struct("<BBHIIII")      # kind, how, flags, start, size, limit, group
START = struct.Struct("<Q")             # to a SINK: a position; to a GREETED one: 2 * size, and 1 if all of it comes


@functools.cache
def block(seed):
    once = random.Random(seed).randbytes(PERIOD)
    return once + once[:LARGEST]


class Contents:
    """The bytes at each position of the stream that begins at `start`."""

    def __init__(self, seed):
        self.block = block(seed)

    def at(self, start, position, length):
        offset = (start + position) % PERIOD
        return self.block[offset:offset + length]


class Faults:
    """What is wrong, in words: the first ones, and how many."""

    def __init__(self):
        self.texts, self.more = [], 0

    def add(self, text):
        if len(self.texts) < REPORTED:
            self.texts.append(text)
        else:
            self.more += 1

    def take(self):
        texts = self.texts + [f"and {self.more} more"] * bool(self.more)
        self.texts, self.more = [], 0
        return texts


def tell(**report):
    print(json.dumps(report), flush=True)
