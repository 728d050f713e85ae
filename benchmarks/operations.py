"""What do a Buffer's own operations cost beside memoryview, bytes and struct?

Each pair does the same work on the same bytes. The two take turns in each round and the ratio is formed within it, so a
change of the core's speed meets both; the lowest time of the empty loop is subtracted. The peer is given its cheapest
form: a bound method in a local name, `bytes` as its source.
What it does not show: results that are held (both sides drop theirs at once), and text in which the searched bytes are
frequent, beyond the kinds listed.
"""

import functools
import random
import struct
import time
import timeit
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import poolio
from benchmarks.allocation import less_the_loop, nanoseconds
from benchmarks.harness import size_text
from benchmarks.records import Figure
from benchmarks.session import Selection, Task

SEARCHED = 65536  # bytes
SIZES = (16, 64, 1024, 16384, 65536, 1 << 20)
CRLF = b"\r\n"
OURS, THEIRS = "Buffer", "peer"


@dataclass(frozen=True)
class Pair:
    ours: str
    theirs: str
    names: Callable[[], dict[str, Any]]


def text_of(what: str) -> bytes:
    """64 KiB in which CRLF is only at the end, or nowhere."""
    if what == "random bytes":
        letters = random.Random(1)
        return bytes(letters.randrange(256) for _ in range(SEARCHED)).replace(CRLF, b"--")
    return {"no CR at all": b"x" * SEARCHED, "a CR every 64 bytes": (b"y" * 63 + b"\r") * (SEARCHED // 64),
            "nothing but CR": b"\r" * SEARCHED,
            "words, found at the end": (b"some words " * SEARCHED)[:SEARCHED - 2] + CRLF}[what]


def small() -> dict[str, Any]:
    data = bytes(range(256)) * 4
    return {"buf": poolio.Pool().from_bytes(data), "view": memoryview(data), "data": data,
            "unpack_from": struct.Struct(">I").unpack_from}


def searched(what: str) -> dict[str, Any]:
    data = text_of(what)
    return {"buf": poolio.Pool().from_bytes(data), "data": data, "crlf": CRLF}


def sized(size: int) -> dict[str, Any]:
    pool = poolio.Pool()
    return {"from_bytes": pool.from_bytes, "view": memoryview(bytes(size)), "n": size,
            "buf": pool.alloc(size + 8), "longer": memoryview(bytes(size + 8))}


TEXTS = ("no CR at all", "random bytes", "a CR every 64 bytes", "nothing but CR", "words, found at the end")
PAIRS = {
    "slice of 8 bytes": Pair("buf[4:12]", "view[4:12]", small),
    "unsigned, 4 bytes, big-endian": Pair("buf.read_u32be(4)", "unpack_from(data, 4)", small),
    **{f"find CRLF in 64 KiB, {text}": Pair("buf.find(crlf)", "data.find(crlf)", functools.partial(searched, text))
       for text in TEXTS},
    **{f"copy in, {size_text(size)}": Pair("from_bytes(view)", "bytes(view)", functools.partial(sized, size))
       for size in SIZES},
    **{f"slice and detach, {size_text(size)}": Pair(
        "buf[0:n].detach()", "bytes(longer[0:n])", functools.partial(sized, size)) for size in SIZES},
}
KINDS = tuple(PAIRS)
QUICK = Selection(KINDS, (OURS, THEIRS), rounds=5)
ROUNDS = 15
SECONDS = 0.0
FIGURES = (Figure("an operation", "ns", (THEIRS,), noise=0.05, summary="lowest"),)


@functools.cache
def timers(kind: str) -> tuple[Callable[[], float], ...]:
    """Of Buffer, peer, and the loop alone; both see the same objects."""
    pair = PAIRS[kind]
    names = pair.names()
    statements = (pair.ours, pair.theirs, "n" if "n" in names else "None")
    return tuple(nanoseconds(timeit.Timer(statement, timer=time.thread_time, globals=names))
                 for statement in statements)


def rows(kind: str) -> dict[str, tuple[str, ...]]:
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of operations: {'; '.join(KINDS)}")
    return {OURS: (), THEIRS: ()}


def figures(kind: str) -> tuple[Figure, ...]:
    return FIGURES


def title(kind: str) -> str:
    return kind


def prepare() -> None:
    """Nothing is needed."""


def measured(task: Task) -> dict[str, float]:
    ours, theirs, empty = timers(task.kind)
    return {"an operation": less_the_loop(ours if task.row == OURS else theirs, empty)}
