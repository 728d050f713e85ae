"""Owns runs of the benchmark that are made up, not measured. Called by project/test_bench_*.py."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).parent.parent.parent
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # behind all else: the installed poolio is the one to test

from benchmarks.records import Absent, Figure, Record, Run  # noqa: E402

LIMIT = "C epoll, static buffer"
CPU = Figure("server CPU a message", "us", (LIMIT,), noise=0.05)
RATE = Figure("messages", "/s")
IDLE = Figure("a connection", "KiB", noise=0.1)
COUNTED = Figure("instructions a message", "", noise=0.02)
MACHINE = {"cpu": "Abacus 3000", "cores": "2 of 2 allowed", "kernel": "Linux 6.1", "governor": "not visible",
           "python": "CPython 3.12.1, GCC 13", "poolio's build": "release, -O3"}
VERSIONS = {"poolio": "0.1.0", "uvloop": "0.22.0", "rloop": "not installed"}
CONDITIONS = {"date": "2026-01-02T03:04:05+00:00", "command": "python -m poolio bench", "seed": "7", "rounds": "3"}


def record(row, values, figure=CPU, part="echo", kind="64 B x 64"):
    return Record(part, kind, row, figure, tuple(values))


def run(*records, absent=(), **machine):
    """A base of 2 us comes first, in each of three rounds."""
    base = record(LIMIT, (2.0, 2.0, 2.0))
    return Run(MACHINE | machine, dict(VERSIONS), dict(CONDITIONS), [base, *records], list(absent))


def whole_run():
    """Something of each kind of part, with what was not measured and what has failed."""
    return run(
        record("uvloop Protocol", (2.4, 2.6, 2.5)), record("poolio.EventLoop", (2.1, 2.0, 2.2)),
        record("poolio.EventLoop", (90_000, 91_000, 95_000), RATE), record("uvloop Protocol", (8e4, 8e4, 8e4), RATE),
        record(LIMIT, (1e5, 1e5, 1e5), RATE),
        record("poolio.EventLoop", (0.5, 0.5, 0.6), IDLE, "memory", "1,000 idle connections"),
        *(record(row, (ns, ns + 1), Figure("an allocation", "ns", ("bytearray",), 0.1, "lowest"), "allocation", kind)
          for kind in ("dropped at once, 64 B", "dropped at once, 4 KiB", "64 held, 64 B")
          for row, ns in (("alloc", 20), ("bytearray", 55))),
        *(record(row, (ns, ns + 1), Figure("an operation", "ns", ("peer",), 0.05, "lowest"), "operations", "slice")
          for row, ns in (("Buffer", 20), ("peer", 40))),
        record("poolio.EventLoop", (1189,), COUNTED, "instructions"),
        absent=[Absent("echo", "64 B x 64", "rloop Protocol", "rloop not installed"),
                Absent("echo", "64 B x 64", "broken <b>", "it said <script>alert(1)</script> & ended", failed=True),
                Absent("tls", "", "", "OpenSSL's headers are not installed")])
