"""How much memory do connections cost a server: idle, at the peak of a burst, and for the little that it keeps?

Resident memory (VmRSS, VmHWM) of the server's process, in KiB or MiB of what it has grown since it began to serve.
idleN: for each of N connections that have echoed 64 bytes; idle-tlsN: the same over TLS, where C has OpenSSL free its
buffers between messages, as Python's `ssl` has. burstNxM: the highest, of N bytes echoed through each of M connections
that have all been sent to at once. pinned: what stays of a million 64-byte messages of which every thousandth is kept,
the pool's free memory given back (benchmarks/keepers.py).
What it does not show: the kernel's socket buffers, which are the same for all rows, and fragmentation over days.
"""

import json
import subprocess

from benchmarks import keepers, tls
from benchmarks.harness import (
    BenchmarkFailed,
    build,
    drive,
    forget_peak,
    output_of_module,
    serving,
    size_text,
    split_kind,
)
from benchmarks.records import Figure
from benchmarks.servers import LIMIT, ROWS, is_about_zeroing
from benchmarks.session import Selection, Task

PINNED = f"pinned{keepers.SIZE}"
NAMES = ("idle", "idle-tls", "burst", "pinned")
KINDS = ("idle1000", "idle-tls1000", "burst65536x1000", PINNED)
SERVERS = tuple(row for row in ROWS if not is_about_zeroing(row) and "cold" not in row)
QUICK = Selection(("idle1000", "burst65536x1000", PINNED), (
    LIMIT, "asyncio Protocol, warm heap", "asyncio, one bytearray a connection", "uvloop Protocol", "poolio.EventLoop",
    *keepers.ROWS))
ROUNDS = 3
SECONDS = 0.0
IDLE = (Figure("a connection", "KiB", noise=0.1),)
BURST = (Figure("grown at the peak", "MiB", noise=0.1), Figure("peak", "MiB"))
KEPT = (Figure("stays", "KiB", noise=0.1),)


def rows(kind: str) -> dict[str, tuple[str, ...]]:
    if kind == PINNED:
        return dict.fromkeys(keepers.ROWS, ())
    if split_kind(kind, NAMES)[0] == "pinned":
        raise ValueError(f"{kind!r}: it is always {PINNED}")
    return {name: ROWS[name].needs for name in (tls.SERVERS if kind.startswith("idle-tls") else SERVERS)}


def figures(kind: str) -> tuple[Figure, ...]:
    if kind == PINNED:
        return KEPT
    return BURST if kind.startswith("burst") else IDLE


def title(kind: str) -> str:
    name, size, count = split_kind(kind, NAMES)
    if name == "pinned":
        return f"{keepers.MESSAGES:,} messages of {keepers.SIZE} B, every {keepers.EVERY:,}th kept"
    if name == "burst":
        return f"burst, {size_text(size)} through each of {count:,}"
    return f"{size:,} idle connections{' over TLS' if name == 'idle-tls' else ''}"


def prepare() -> None:
    build("loadgen")
    build("limit")


def measured(task: Task) -> dict[str, float]:
    if task.kind == PINNED:
        return kept(task.row)
    name, size, count = split_kind(task.kind, NAMES)
    if name == "burst":
        return burst(task.row, size, count)
    if name == "idle-tls":
        tls.prepare()
        return idle(task.row, size, tls.loadgen(), str(tls.pem()), "idle")
    return idle(task.row, size, build("loadgen"))


def idle(row: str, connections: int, loadgen: object, *secured: str) -> dict[str, float]:
    with serving("servers", row, *secured) as server:
        client = subprocess.Popen([str(loadgen), str(server.port), str(connections), "idle"], text=True,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert client.stdout is not None
        try:
            if client.stdout.readline() != "ready\n":
                raise BenchmarkFailed(f"{row}, idle connections: {client.communicate()[1]}"
                                      f"the server said: {server.said()}")
            return {"a connection": (server.memory_kib("VmRSS") - server.started_kib) / connections}
        finally:
            client.communicate()


def burst(row: str, size: int, connections: int) -> dict[str, float]:
    with serving("servers", row) as server:
        forget_peak(server.process.pid)
        drive(server, build("loadgen"), connections, size, "count", 2 * connections)
        peak = server.memory_kib("VmHWM")
        return {"grown at the peak": (peak - server.started_kib) / 1024, "peak": peak / 1024}


def kept(row: str) -> dict[str, float]:
    return {"stays": float(json.loads(output_of_module("keepers", row))["kib"])}
