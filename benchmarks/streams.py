"""What does it cost to receive bulk data and small messages, beside what people use today?

Rows: benchmarks/receivers.py. Method: benchmarks/harness.py; the figure is the server's CPU time a message, in
nanoseconds; of bulk data, a message is 64 KiB. Sent by blast.c in writes of 64 KiB, one connection unless said
otherwise; what counts is what the server has read from its sockets. Windows are joined until each holds 4 MiB: a server
reads up to 256 KiB at once and then works on them, which is ten milliseconds for the slowest. What a server has
received is checked at its end: number, first bytes, last message. The heap is warm in every row but C's, which has
none. Results: tables, and JSON in benchmarks/results/.
What it does not show: replies, TLS, slow peers, messages of mixed sizes, or a network other than loopback.
"""

import argparse
import json
import pathlib
import random
import re
import statistics
import subprocess
import sys
from typing import Any

import rich.console
import rich.progress
import rich.table
from harness import QUANTILE, RESULTS, WINDOW_MS, BenchmarkFailed, build, serving
from receivers import LIMIT, ROWS
from throughput import machine

ENOUGH_BYTES = 4 << 20  # in a window, 16 of the largest reads
KINDS = ("bulk65536", "prefixed16", "prefixed128", "lines40")


def rows_of(kind: str, wanted: list[str] | None) -> list[str]:
    name = re.sub(r"\d+$", "", kind)
    return [row for row in ROWS if name in ROWS[row].kinds and (not wanted or row in wanted or row == LIMIT)]


def cpu_ns_a_message(windows: list[tuple[int, int]], message: int) -> float:
    """The quantile over windows, joined until each holds enough; the mean if not even one does."""
    figures = []
    size = cpu = 0
    for more_size, more_cpu in windows:
        size, cpu = size + more_size, cpu + more_cpu
        if size >= ENOUGH_BYTES:
            figures.append(cpu * message / size)
            size = cpu = 0
    if figures:
        return sorted(figures)[int(QUANTILE * len(figures))]
    return cpu * message / size if size else 0.0


def measured(blast: pathlib.Path, row: str, kind: str, connections: int, seconds: float) -> dict[str, Any]:
    """What blast has answered, and "cpu_ns", the server's CPU time a message."""
    with serving(row, "receivers.py", kind) as server:
        command = [blast, server.port, connections, kind, seconds, server.process.pid, WINDOW_MS]
        result = subprocess.run(list(map(str, command)), capture_output=True, text=True)  # it has a deadline of its own
        if result.returncode:
            raise BenchmarkFailed(f"{row}, {kind}: {result.stderr}the server said: {server.said()}")
    answer: dict[str, Any] = json.loads(result.stdout)
    answer["cpu_ns"] = cpu_ns_a_message(answer.pop("windows"), answer["message"])
    if not answer["cpu_ns"]:
        raise BenchmarkFailed(f"{row}, {kind}: nothing was received in the measured time; give more --seconds")
    return answer


def table_of(kind: str, connections: int, figures: dict[str, list[float]]) -> rich.table.Table:
    bases = [row for row in (LIMIT, "by hand, asyncio", "readexactly twice, asyncio", "split by hand, asyncio",
                             "readline, asyncio", "asyncio Streams") if row in figures]
    table = rich.table.Table(title=f"{kind} x {connections}: server CPU a message, and its ratio in the same round to")
    table.add_column("server", no_wrap=True)
    table.add_column("ns", justify="right")
    for base in bases:
        table.add_column(base, justify="right")
    for row, mine in figures.items():
        cells = []
        for base in bases:
            ratios = [a / b for a, b in zip(mine, figures[base], strict=True)]
            cells.append(f"{statistics.median(ratios):.2f} [{min(ratios):.2f}..{max(ratios):.2f}]")
        table.add_row(row, f"{statistics.median(mine):,.1f}", *cells,
                      style="bold cyan" if row.startswith("poolio") else "")
    return table


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m poolio bench --streams", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", default=KINDS, metavar="KIND", help=f"default: {' '.join(KINDS)}")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), metavar="ROW", help=f"of: {'; '.join(ROWS)}")
    parser.add_argument("--connections", type=int, default=1, metavar="N")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.7, help="a row in a round (default %(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="of the order of the rows")
    parser.add_argument("--json", type=pathlib.Path, default=RESULTS / "streams.json")
    args = parser.parse_args(argv)
    shuffle = random.Random(args.seed)
    console = rich.console.Console(width=None if sys.stdout.isatty() else 180)
    results: list[dict[str, Any]] = []
    try:
        blast = build("blast")
        build("sink")
        for kind in args.kinds:
            rows = rows_of(kind, args.rows)
            if len(rows) < 2:
                parser.error(f"no rows for {kind}: a kind is bulkN, prefixedN or linesN")
            figures: dict[str, list[float]] = {row: [] for row in rows}
            for _ in rich.progress.track(range(args.rounds), kind, console=console):
                for row in shuffle.sample(rows, len(rows)):
                    answer = measured(blast, row, kind, args.connections, args.seconds)
                    figures[row].append(answer["cpu_ns"])
            console.print(table_of(kind, args.connections, figures))
            results += [{"kind": kind, "connections": args.connections, "server": row, "cpu_ns": figures[row]}
                        for row in rows]
    except BenchmarkFailed as failure:
        console.print("failed:", str(failure), markup=False, style="red")
        return 1
    console.print(f"ratio: in the same round, median \\[min..max] of {args.rounds}; heap: warm; a message counts when "
                  f"it is {answer['counted']}; clock: {answer['clock']}; seed {args.seed}")
    args.json.write_text(json.dumps({
        "machine": machine(), "clock": answer["clock"], "counted": answer["counted"], "heap": "warm",
        "seconds": args.seconds, "seed": args.seed, "rows": results,
    }, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
