"""What does an echo server on pooled slices cost, beside what people use today?

Rows: benchmarks/servers.py. Method: benchmarks/harness.py. Results: a table, JSON, a picture in benchmarks/results/.
`--quick` takes the cells in QUICK_CELLS only, without --sizes and --connections; otherwise all of them are measured.
Peak: the highest resident memory of the server, and in brackets what of it came since it began to serve.
What it does not show: parsing, TLS, slow peers, several cores, or a network other than loopback.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import random
import statistics
import sys
from typing import Any

import matplotlib
import rich.console
import rich.progress
import rich.table
from harness import RESULTS, BenchmarkFailed, Cell, build, idle_kib, run_cell
from servers import BASELINE, LIMIT, ROWS

import poolio

matplotlib.use("Agg")
import matplotlib.pyplot as plt

SIZES = (64, 1024, 16384, 65536, 1 << 20)
CONNECTIONS = (1, 64, 1000)
QUICK_CELLS = ((64, 64), (16384, 64), (65536, 64))
PICTURES_IN_A_LINE = 3
HEADINGS = ("messages/s", "MiB/s", "CPU us/message", "ratio", "p50 us", "p99 us", "peak MB (grown)", "idle KiB/conn")
POOLIO_COLOR, OTHER_COLOR = "#1f77b4", "#b8b8b8"


def machine() -> dict[str, Any]:
    model = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    versions = {"python": platform.python_version(), "poolio": poolio.__version__}
    versions["uvloop"] = importlib.metadata.version("uvloop")
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(), "versions": versions,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} [{min(values):.2f}..{max(values):.2f}]"


def table_of(cell: Cell, rows: list[str], baseline: str, idle: dict[str, float]) -> rich.table.Table:
    table = rich.table.Table(title=f"echo, {cell.size} B x {cell.connections} connections")
    table.add_column("server", no_wrap=True)
    for heading in HEADINGS:
        table.add_column(heading, justify="right")
    for row in rows:
        rate = cell.median(row, "messages_per_second")
        peak, grown = cell.peak_kib[row] / 1024, cell.grown_kib[row] / 1024
        table.add_row(
            row, f"{rate:,.0f}", f"{rate * cell.size / (1 << 20):,.1f}", f"{cell.median(row, 'cpu_us'):.2f}",
            spread(cell.ratios(row, baseline)), f"{cell.median(row, 'p50_us'):,.0f}",
            f"{cell.median(row, 'p99_us'):,.0f}", f"{peak:.1f} ({grown:.1f})", f"{idle[row]:.1f}",
            style="bold cyan" if row.startswith("poolio") else "")
    return table


def draw_cell(axis: Any, cell: Cell, rows: list[str], baseline: str) -> None:
    ratios = [cell.ratios(row, baseline) for row in rows]
    middle = [statistics.median(values) for values in ratios]
    error = [[value - min(values) for value, values in zip(middle, ratios, strict=True)],
             [max(values) - value for value, values in zip(middle, ratios, strict=True)]]
    colors = [POOLIO_COLOR if row.startswith("poolio") else OTHER_COLOR for row in rows]
    axis.barh(rows, middle, xerr=error, color=colors, ecolor="#444444", capsize=2)
    axis.axvline(1, color="#444444", linewidth=0.8)
    for place, value in enumerate(middle):
        axis.text(0.02, place, f"{value:.2f}", va="center", fontsize=8, transform=axis.get_yaxis_transform())
    axis.set_title(f"{cell.size} B x {cell.connections}")
    axis.set_xlabel("server CPU a message, ratio")


def draw(cells: list[Cell], rows: list[str], baseline: str, path: pathlib.Path) -> None:
    across = min(PICTURES_IN_A_LINE, len(cells))
    down = -(-len(cells) // across)
    figure, axes = plt.subplots(down, across, sharey=True, squeeze=False, layout="constrained",
                                figsize=(4.2 + 3.6 * across, 0.8 + down * (1.2 + 0.34 * len(rows))))
    for axis, cell in zip(axes.flat, cells, strict=False):
        draw_cell(axis, cell, rows, baseline)
    for axis in axes.flat[len(cells):]:
        axis.set_visible(False)
    axes[0][0].invert_yaxis()
    figure.suptitle(f"Echo: server CPU a message relative to\n'{baseline}' (less is better; whiskers: all rounds)")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def save(cells: list[Cell], rows: list[str], idle: dict[str, float], args: argparse.Namespace) -> None:
    rows_of = [{
        "size": cell.size, "connections": cell.connections, "server": row, "heap": ROWS[row].heap,
        "ratios": cell.ratios(row, args.baseline), "rounds": [vars(load) for load in cell.loads[row]],
        "peak_kib": cell.peak_kib[row], "grown_kib": cell.grown_kib[row], "idle_kib_per_connection": idle[row],
    } for cell in cells for row in rows]
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps({
        "machine": machine(), "baseline": args.baseline, "seconds": args.seconds, "seed": args.seed, "rows": rows_of,
    }, indent=1))


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m poolio bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"only the cells {QUICK_CELLS}")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds a cell (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.7, help="a row in a round (default %(default)s)")
    parser.add_argument("--sizes", type=int, nargs="+", metavar="BYTES")
    parser.add_argument("--connections", type=int, nargs="+", metavar="N")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), metavar="ROW", help=f"of: {'; '.join(ROWS)}")
    parser.add_argument("--baseline", choices=list(ROWS), default=BASELINE, metavar="ROW", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="of the order of the rows")
    parser.add_argument("--json", type=pathlib.Path, default=RESULTS / "throughput.json")
    parser.add_argument("--png", type=pathlib.Path, default=RESULTS / "throughput.png")
    args = parser.parse_args(argv)
    args.rows = [row for row in ROWS if not args.rows or row in args.rows or row == args.baseline]
    if args.quick and (args.sizes or args.connections):
        parser.error("--quick chooses the cells itself; leave out --sizes and --connections")
    args.sizes, args.connections = args.sizes or SIZES, args.connections or CONNECTIONS
    if args.rounds < 1 or args.seconds < 0.1 or min(args.sizes) < 1 or min(args.connections) < 1:
        parser.error("--rounds and counts are at least 1, --seconds at least 0.1")
    return args


def cells_of(args: argparse.Namespace) -> list[Cell]:
    pairs = QUICK_CELLS if args.quick else [(size, count) for size in args.sizes for count in args.connections]
    return [Cell(size, connections) for size, connections in pairs]


def measure(args: argparse.Namespace, console: rich.console.Console) -> tuple[list[Cell], dict[str, float]]:
    cells, rows, idle = cells_of(args), args.rows, {}
    loadgen = build("loadgen")
    if LIMIT in rows:
        build("limit")
    shuffle = random.Random(args.seed)
    with rich.progress.Progress(
            rich.progress.BarColumn(), rich.progress.MofNCompleteColumn(), rich.progress.TimeRemainingColumn(),
            rich.progress.TextColumn("{task.description}"), console=console) as progress:
        task = progress.add_task("starting", total=len(rows) * (1 + len(cells) * args.rounds))

        def advance(what: str) -> None:
            progress.update(task, advance=1, description=what)

        for row in rows:
            advance(f"1000 idle connections: {row}")
            idle[row] = idle_kib(loadgen, row)
        for cell in cells:
            run_cell(loadgen, rows, cell, args.rounds, args.seconds, shuffle, advance)
    return cells, idle


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    console = rich.console.Console(width=None if sys.stdout.isatty() else 165)
    try:
        cells, idle = measure(args, console)
    except BenchmarkFailed as failure:
        console.print("failed:", str(failure), markup=False, style="red")
        return 1
    for cell in cells:
        console.print(table_of(cell, args.rows, args.baseline, idle))
    save(cells, args.rows, idle, args)
    draw(cells, args.rows, args.baseline, args.png)
    clock = cells[0].loads[args.rows[0]][0].clock
    console.print(f"ratio: server CPU a message against '{args.baseline}' in the same round, "
                  f"median \\[min..max] of {args.rounds}; clock: {clock}; seed {args.seed}")
    console.print(f"written: {args.json} and {args.png}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
