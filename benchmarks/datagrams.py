"""What does it cost to receive datagrams, and to answer them, beside what people use today?

Rows: benchmarks/endpoints.py. Method: benchmarks/harness.py; the figure is the server's CPU time for a datagram that
it has received. Sent by flood.c over loopback, and its content is checked. Kinds, all of N bytes: floodN, one way, one
in each send(), as fast as it goes; trainsN, the same, but many in each send() with UDP_SEGMENT; pacedN, one way,
200,000 a second, which every server can take, so it sleeps and wakes all the time; flowsNxM, request and response over
M sockets, one request outstanding on each. A window is 50 ms of sending and the time until the server has received all
that its kernel has kept, as it says itself; the quantile is over these. Floods and trains begin theirs with a backlog:
flood.c says why. Waking up is part of the figure, and so is, in flows, the way of an answer to its receiver's socket:
it lies within the server's send. "received" is the share of what was sent: the rest found the server's receive buffer
of 4 MiB full. It tells how far behind the sender a server is, not how much it would lose at a rate that it can take;
and it jumps where both are about as fast, as a datagram that is dropped costs the sender less than one that is
delivered.
What it does not show: latency, loss, many ports, mixed sizes, or a network other than loopback, where trains come only
from a card that joins datagrams (UDP GRO).
"""

from benchmarks.endpoints import ALL, BASELINE, FLOWS, ROWS
from benchmarks.harness import build, cpu_ns, drive_json, serving, size_text, split_kind
from benchmarks.records import Figure
from benchmarks.session import Selection, Task

KINDS = ("flood64", "paced64", "trains64", "trains1200", "flows64x64")
QUICK = Selection(("flood64", "flows64x64"), (
    BASELINE, "asyncio", "uvloop", "rloop", "aiofastnet, uvloop", "poolio, asyncio", "poolio, EventLoop"))
ROUNDS = 5
SECONDS = 1.0
WINDOW_MS = 50  # of sending: by then the receive buffer of a server that is too slow has long been full
FIGURES = (Figure("server CPU a datagram", "ns", (BASELINE, "asyncio", "uvloop"), noise=0.05), Figure("received", "%"))
TITLES = {"flood": "full queue, {}", "trains": "trains of {}", "paced": "200,000/s, {}", "flows": "flows, {} x {}"}


def rows(kind: str) -> dict[str, tuple[str, ...]]:
    name, _, count = split_kind(kind, ALL)
    if count > 1 and name not in FLOWS:
        raise ValueError(f"{kind!r}: only flowsNxM have more than one socket that sends")
    return {row: ROWS[row].needs for row in ROWS if name in ROWS[row].kinds}


def figures(kind: str) -> tuple[Figure, ...]:
    return FIGURES


def title(kind: str) -> str:
    name, size, count = split_kind(kind, ALL)
    return TITLES[name].format(size_text(size), count)


def prepare() -> None:
    build("flood")
    build("dgram")


def measured(task: Task) -> dict[str, float]:
    name, size, count = split_kind(task.kind, ALL)
    kind = f"{name}{size}"
    with serving("endpoints", kind, task.row) as server:
        answer = drive_json(server, build("flood"), kind, count, task.seconds, server.process.pid, WINDOW_MS)
    task.notes["clock"] = answer["clock"]
    if answer["segments"] > 1:
        task.notes[f"{kind}, in a send"] = str(answer["segments"])
    share = answer["received"] / (answer["sent"] + answer["resent"])
    return {"server CPU a datagram": cpu_ns(answer["windows"], enough=1), "received": 100 * share}
