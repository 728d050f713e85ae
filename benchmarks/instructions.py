"""How many instructions does a server execute in user space for a message? A figure that repeats exactly.

Rows: benchmarks/servers.py. Counted by valgrind's callgrind, as the slope between two numbers of messages, so that
starting, connecting and ending cost nothing. The load generator is not slowed down, so every connection is ready in
each turn of the server, which is the best case of whatever handles ready connections together.
What it does not show: the kernel, which is most of an echo's time, and caches: see throughput.py for both.
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile

import rich.console
import rich.progress
import rich.table
from harness import BenchmarkFailed, Server, build
from servers import LIMIT, ROWS

DEFAULT_ROWS = [
    LIMIT, "asyncio Protocol, warm heap", "uvloop Protocol", "rloop Protocol", "poolio transports, asyncio",
    "poolio transports, uvloop", "poolio.EventLoop", "poolio.EventLoop, asyncio.Protocol",
    "asyncio Streams", "uvloop Streams", "poolio streams, asyncio", "poolio streams, EventLoop",
]
SIZE = 64
CONNECTIONS = (64, 1)
MESSAGES = (5000, 25000)


def total(path: pathlib.Path) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(("totals:", "summary:")):
            return int(line.split(":")[1])
    raise BenchmarkFailed(f"callgrind has written no total: {path}")


def counted(loadgen: pathlib.Path, row: str, size: int, connections: int, messages: int) -> int:
    """Instructions of the whole life of a server that echoes so many messages."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "callgrind.out"
        server = Server(row, [
            "valgrind", "--quiet", "--tool=callgrind", "--trace-children=yes", f"--callgrind-out-file={path}"])
        try:
            server.wait_until_serving()
            command = [str(loadgen), str(server.port), str(connections), str(size), "count", str(messages)]
            result = subprocess.run(command, capture_output=True, text=True)
            if result.returncode:
                raise BenchmarkFailed(f"{row}: {result.stderr} the server said: {server.said()}")
        finally:
            server.stop()
        return total(path)


def slope(loadgen: pathlib.Path, row: str, size: int, connections: int) -> float:
    few, many = MESSAGES
    less, more = (counted(loadgen, row, size, connections, messages) for messages in (few, many))
    return (more - less) / (many - few)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m poolio bench --instructions", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=SIZE, metavar="BYTES")
    parser.add_argument("--connections", type=int, nargs="+", default=CONNECTIONS, metavar="N")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=DEFAULT_ROWS, metavar="ROW")
    args = parser.parse_args(argv)
    console = rich.console.Console(width=None if sys.stdout.isatty() else 120)
    if shutil.which("valgrind") is None:
        console.print("instructions: not counted, valgrind is not installed (on Debian: apt-get install valgrind)")
        return 0
    table = rich.table.Table(title=f"user-space instructions a message, echo of {args.size} B")
    table.add_column("server", no_wrap=True)
    for connections in args.connections:
        table.add_column(f"x {connections}", justify="right")
    try:
        loadgen = build("loadgen")
        build("limit")
        for row in rich.progress.track(args.rows, "counting", console=console):
            counts = [slope(loadgen, row, args.size, connections) for connections in args.connections]
            table.add_row(row, *(f"{count:,.0f}" for count in counts),
                          style="bold cyan" if row.startswith("poolio") else "")
    except BenchmarkFailed as failure:
        console.print("failed:", str(failure), markup=False, style="red")
        return 1
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
