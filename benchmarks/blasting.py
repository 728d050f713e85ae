"""How is a server that only receives driven? By blast.c; streams.py and framing.py ask the questions.

Rows: receivers.py. Sent in writes of 64 KiB; what counts is what the server has read from its sockets. Windows are
joined until each holds 4 MiB: a server reads up to 256 KiB at once and then works on them, which is ten milliseconds
for the slowest.
"""

from benchmarks.harness import WINDOW_MS, build, cpu_ns, drive_json, serving, split_kind
from benchmarks.receivers import ROWS
from benchmarks.session import Task

ENOUGH_BYTES = 4 << 20  # in a window, 16 of the largest reads


KINDS = ("bulk", "prefixed", "lines")


def rows_of(kind: str, allowed: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    name, _, _ = split_kind(kind, allowed)
    return {row: ROWS[row].needs for row in ROWS if name in ROWS[row].kinds}


def prepare() -> None:
    build("blast")
    build("sink")


def cpu_ns_a_message(task: Task) -> float:
    name, size, connections = split_kind(task.kind, KINDS)
    kind = f"{name}{size}"
    with serving("receivers", kind, task.row) as server:
        answer = drive_json(server, build("blast"), connections, kind, task.seconds, server.process.pid, WINDOW_MS)
    task.notes["clock"] = answer["clock"]
    task.notes["a message counts when it is"] = answer["counted"]
    return cpu_ns(answer["windows"], ENOUGH_BYTES) * float(answer["message"])
