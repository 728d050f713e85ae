"""What do a Buffer's own operations cost beside memoryview, bytes and struct?

Each pair does the same work on the same bytes. The two take turns in each round, the empty loop is measured in the same
round and subtracted, and the ratio is formed within the round: its median and spread over the rounds are shown, so a
change of the core's speed meets both. The peer is given its cheapest form: a bound method in a local name, `bytes` as
its source.

What it does not show: results that are held (both sides drop theirs at once), and text in which the searched bytes are
frequent, beyond the kinds listed.
"""

import argparse
import json
import pathlib
import random
import statistics
import struct
import sys
import timeit
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import rich.console
import rich.table
from allocation import nanoseconds
from harness import RESULTS

import poolio

ROUNDS = 15
SEARCHED = 65536  # bytes
COPIED = (16, 64, 1024, 16384, 65536, 1 << 20)
CRLF = b"\r\n"


@dataclass
class Pair:
    what: str
    ours: str
    theirs: str
    names: dict[str, Any]
    limit: float  # what we aim at


def texts() -> dict[str, bytes]:
    """Texts of 64 KiB in which CRLF is only at the end, or nowhere."""
    letters = random.Random(1)
    noise = bytes(letters.randrange(256) for _ in range(SEARCHED)).replace(CRLF, b"--")
    return {
        "no CR at all": b"x" * SEARCHED,
        "random bytes": noise,
        "a CR every 64 bytes": (b"y" * 63 + b"\r") * (SEARCHED // 64),
        "nothing but CR": b"\r" * SEARCHED,
        "words, found at the end": (b"some words " * SEARCHED)[:SEARCHED - 2] + CRLF,
    }


def pairs() -> Iterator[Pair]:
    pool = poolio.Pool()
    data = bytes(range(256)) * 4
    buf, view = pool.from_bytes(data), memoryview(data)
    yield Pair("slice of 8 bytes", "buf[4:12]", "view[4:12]", {"buf": buf, "view": view}, 1.0)
    yield Pair("unsigned, 4 bytes, big-endian", "buf.read_u32be(4)", "unpack_from(data, 4)",
               {"buf": buf, "data": data, "unpack_from": struct.Struct(">I").unpack_from}, 0.5)
    for kind, text in texts().items():
        yield Pair(f"find CRLF in 64 KiB, {kind}", "buf.find(crlf)", "data.find(crlf)",
                   {"buf": pool.from_bytes(text), "data": text, "crlf": CRLF}, 1.2)
    for size in COPIED:
        view = memoryview(bytes(size))
        yield Pair(f"copy in, {size:,} bytes", "from_bytes(view)", "bytes(view)",
                   {"from_bytes": pool.from_bytes, "view": view}, 1.2)
    for size in COPIED:
        names = {"buf": pool.alloc(size + 8), "view": memoryview(bytes(size + 8)), "n": size}
        yield Pair(f"slice and detach, {size:,} bytes", "buf[0:n].detach()", "bytes(view[0:n])", names, 1.2)


def measure(pair: Pair) -> dict[str, Any]:
    """Lowest ns of each side, and the ratio's median and spread over the rounds."""
    statements = (pair.ours, pair.theirs, "n" if "n" in pair.names else "None")
    timers = [nanoseconds(timeit.Timer(statement, globals=pair.names)) for statement in statements]
    rounds = [[time() for time in timers] for _ in range(ROUNDS)]
    ratios = [(ours - empty) / (theirs - empty) for ours, theirs, empty in rounds]
    lowest = [min(taken[side] - taken[2] for taken in rounds) for side in (0, 1)]
    return {"ours_ns": lowest[0], "theirs_ns": lowest[1], "ratio": statistics.median(ratios),
            "ratio_lowest": min(ratios), "ratio_highest": max(ratios), "limit": pair.limit}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=pathlib.Path, default=RESULTS / "operations.json")
    path = parser.parse_args(argv).json
    table = rich.table.Table(title=f"a Buffer beside its peers: ratio in a round, {ROUNDS} rounds; ns: the lowest")
    for heading in ("work", "Buffer ns", "peer ns", "ratio", "lowest..highest", "aim"):
        table.add_column(heading, justify="left" if heading == "work" else "right")
    results = {}
    for pair in pairs():
        figures = results[pair.what] = measure(pair)
        table.add_row(pair.what, f"{figures['ours_ns']:,.0f}", f"{figures['theirs_ns']:,.0f}",
                      f"{figures['ratio']:.2f}",
                      f"{figures['ratio_lowest']:.2f}..{figures['ratio_highest']:.2f}", f"{pair.limit:.1f}")
    rich.console.Console(width=None if sys.stdout.isatty() else 120).print(table)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"python": sys.version, "results": results}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
