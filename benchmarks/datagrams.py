"""What does it cost to receive datagrams, and to answer them, beside what people use today?

Rows: benchmarks/endpoints.py. Method: benchmarks/harness.py; the figure is the server's CPU time for a datagram that it
has received, in nanoseconds. Sent by flood.c over loopback, and its content is checked. Kinds, all of N bytes: floodN,
one way, one in each send(), as fast as it goes; trainsN, the same, but many in each send() with UDP_SEGMENT; pacedN,
one way, 200,000 a second, which every server can take, so it sleeps and wakes all the time; flowsN, request and
response over some sockets, one request outstanding on each.
A window is WINDOW_MS of sending and the time until the server has received all that its kernel has kept, as it says
itself; the quantile is over these. Floods and trains begin theirs with a backlog: flood.c says why. Waking up is part
of the figure, and so is, in flows, the way of an answer to its receiver's socket: it lies within the server's send.
"received" is the share of what was sent: the rest found the server's receive buffer of 4 MiB full. It tells how far
behind the sender a server is, not how much it would lose at a rate that it can take; and it jumps where both are about
as fast, as a datagram that is dropped costs the sender less than one that is delivered.
What it does not show: latency, loss, many ports, mixed sizes, or a network other than loopback, where trains come only
from a card that joins datagrams (UDP GRO).
"""

import argparse
import json
import pathlib
import random
import statistics
import subprocess
import sys
from typing import Any

import rich.console
import rich.progress
import rich.table
from endpoints import BASELINE, FLOWS, ROWS, name_of
from harness import QUANTILE, RESULTS, BenchmarkFailed, build, serving
from throughput import machine

KINDS = ("flood64", "paced64", "trains64", "trains1200", "flows64")
BASES = (BASELINE, "asyncio", "uvloop")
WINDOW_MS = 50  # of sending: by then the receive buffer of a server that is too slow has long been full


def rows_of(kind: str, wanted: list[str] | None) -> list[str]:
    name = name_of(kind)
    return [row for row in ROWS if name in ROWS[row].kinds and (not wanted or row in wanted or row == BASELINE)]


def cpu_ns_a_datagram(windows: list[tuple[int, int]]) -> float:
    figures = sorted(cpu / count for count, cpu in windows if count)
    return figures[int(QUANTILE * len(figures))] if figures else 0.0


def measured(flood: pathlib.Path, row: str, kind: str, flows: int, seconds: float) -> dict[str, Any]:
    """What flood has answered, and "cpu_ns", the server's CPU time a datagram received."""
    with serving(row, "endpoints.py", kind) as server:
        command = [flood, server.port, kind, flows, seconds, server.process.pid, WINDOW_MS]
        result = subprocess.run(list(map(str, command)), capture_output=True, text=True)  # it has a deadline of its own
        if result.returncode:
            raise BenchmarkFailed(f"{row}, {kind}: {result.stderr}the server said: {server.said()}")
    answer: dict[str, Any] = json.loads(result.stdout)
    answer["cpu_ns"] = cpu_ns_a_datagram(answer.pop("windows"))
    if not answer["cpu_ns"]:
        raise BenchmarkFailed(f"{row}, {kind}: nothing was received in the measured time; give more --seconds")
    return answer


def title_of(kind: str, flows: int, segments: int) -> str:
    if name_of(kind) in FLOWS:
        return f"{kind} x {flows}"
    return f"{kind}, {segments} in a send" if segments > 1 else kind


def table_of(title: str, answers: dict[str, list[dict[str, Any]]]) -> rich.table.Table:
    figures = {row: [answer["cpu_ns"] for answer in mine] for row, mine in answers.items()}
    bases = [row for row in BASES if row in figures]
    table = rich.table.Table(title=f"{title}: server CPU a datagram, and its ratio in the same round to")
    table.add_column("server", no_wrap=True)
    table.add_column("ns", justify="right")
    for base in bases:
        table.add_column(base, justify="right")
    table.add_column("received", justify="right")
    for row, mine in figures.items():
        cells = []
        for base in bases:
            ratios = [a / b for a, b in zip(mine, figures[base], strict=True)]
            cells.append(f"{statistics.median(ratios):.2f} [{min(ratios):.2f}..{max(ratios):.2f}]")
        share = statistics.median(answer["received"] / (answer["sent"] + answer["resent"]) for answer in answers[row])
        table.add_row(row, f"{statistics.median(mine):,.0f}", *cells, f"{100 * share:.0f} %",
                      style="bold cyan" if row.startswith("poolio") else "")
    return table


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m poolio bench --datagrams", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", default=KINDS, metavar="KIND", help=f"default: {' '.join(KINDS)}")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), metavar="ROW", help=f"of: {'; '.join(ROWS)}")
    parser.add_argument("--flows", type=int, default=64, metavar="N", help="sockets of flows (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="a row in a round (default %(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="of the order of the rows")
    parser.add_argument("--json", type=pathlib.Path, default=RESULTS / "datagrams.json")
    args = parser.parse_args(argv)
    shuffle = random.Random(args.seed)
    console = rich.console.Console(width=None if sys.stdout.isatty() else 180)
    results: list[dict[str, Any]] = []
    try:
        flood = build("flood")
        build("dgram")
        for kind in args.kinds:
            rows = rows_of(kind, args.rows)
            if not rows:
                parser.error(f"no rows for {kind}: a kind is floodN, trainsN, pacedN or flowsN")
            answers: dict[str, list[dict[str, Any]]] = {row: [] for row in rows}
            for _ in rich.progress.track(range(args.rounds), kind, console=console):
                for row in shuffle.sample(rows, len(rows)):
                    answers[row].append(measured(flood, row, kind, args.flows, args.seconds))
            segments = answers[BASELINE][0]["segments"]
            console.print(table_of(title_of(kind, args.flows, segments), answers))
            results += [{"kind": kind, "flows": args.flows if name_of(kind) in FLOWS else None, "segments": segments,
                         "server": row, **{name: [answer[name] for answer in answers[row]]
                                           for name in ("cpu_ns", "sent", "received", "resent")}} for row in rows]
    except BenchmarkFailed as failure:
        console.print("failed:", str(failure), markup=False, style="red")
        return 1
    clock = answers[BASELINE][0]["clock"]
    console.print(f"ratio: in the same round, median \\[min..max] of {args.rounds}; heap: warm; a datagram counts when "
                  f"the server says that it has received it; clock: {clock}; seed {args.seed}")
    args.json.write_text(json.dumps({
        "machine": machine(), "clock": clock, "counted": "by the server", "heap": "warm", "window_ms": WINDOW_MS,
        "seconds": args.seconds, "seed": args.seed, "rows": results,
    }, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
