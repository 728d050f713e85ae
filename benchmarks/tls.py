"""What does TLS cost, beside what people use today: an echo, receiving, a handshake?

Kinds: NxM echoes N bytes on M connections (benchmarks/servers.py with a key), driven as echo is. sinkN receives N bytes
at a time on M and drops them (benchmarks/sinks.py), driven as streams are. handshakesN are connections, N at once: each
has a full handshake, one byte each way, and ends (shake.c). Method: benchmarks/harness.py. The clients are C with
OpenSSL: TLS 1.3 with one cipher for everybody and one key, on P-256; every byte that comes back is compared. Elsewhere
than in handshakesN the handshakes are over before the figures begin. The figure is the server's CPU time. The client
encrypts, too, so it is not always ahead of a fast server, which then sleeps and wakes between messages; that is in its
figure, and messages/s are the pair's, not the server's. Memory of idle connections: the part memory.
What it does not show: rloop, which has no TLS servers, streams that receive, other ciphers and keys, session
resumption, slow peers, or a network other than loopback.
"""

import pathlib

from benchmarks import places, sinks
from benchmarks.blasting import ENOUGH_BYTES
from benchmarks.echo import figures_of
from benchmarks.harness import (
    WINDOW_MS,
    BenchmarkFailed,
    Unavailable,
    build,
    cpu_ns,
    drive_json,
    serving,
    size_and_count,
    split_kind,
)
from benchmarks.machine import why_missing
from benchmarks.records import Figure
from benchmarks.servers import LIMIT, ROWS
from benchmarks.session import Selection, Task

SERVERS = (
    LIMIT, "asyncio Protocol, warm heap", "uvloop Protocol", "aiofastnet, asyncio", "aiofastnet, uvloop",
    "poolio transports, asyncio", "poolio transports, uvloop", "poolio.EventLoop", "poolio.EventLoop, asyncio.Protocol",
    "asyncio Streams", "uvloop Streams", "poolio streams, EventLoop",
)
SINK, HANDSHAKES = "sink", "handshakes"
NAMES = ("", SINK, HANDSHAKES)
KINDS = ("64x1", "64x64", "16384x64", "65536x64", "sink65536x1", "sink65536x64", "handshakes8")
QUICK = Selection(("64x64", "handshakes8"), (
    LIMIT, "asyncio Protocol, warm heap", "uvloop Protocol", "aiofastnet, uvloop", "poolio transports, asyncio",
    "poolio.EventLoop"))
ROUNDS = 5
SECONDS = 0.7
BASES = (LIMIT, "asyncio Protocol, warm heap")
CPU = Figure("server CPU a message", "us", BASES, noise=0.05)
FIGURES = {
    "": (CPU, Figure("messages", "/s"), Figure("p50", "us"), Figure("p99", "us")),
    SINK: (CPU,),
    HANDSHAKES: (Figure("server CPU a handshake", "us", BASES, noise=0.05), Figure("handshakes", "/s")),
}
ENOUGH_HANDSHAKES = 10  # in a window
LIBRARIES = ("-lssl", "-lcrypto")


def rows(kind: str) -> dict[str, tuple[str, ...]]:
    name, _, _ = split_kind(kind, NAMES)
    if name == SINK:
        return {row: sinks.ROWS[row].needs for row in sinks.ROWS}
    return {row: ROWS[row].needs for row in SERVERS}


def figures(kind: str) -> tuple[Figure, ...]:
    return FIGURES[split_kind(kind, NAMES)[0]]


def title(kind: str) -> str:
    name, size, _ = split_kind(kind, NAMES)
    if name == HANDSHAKES:
        return f"handshakes, {size:,} at once"
    return f"{'sink, ' if name else ''}{size_and_count(kind)}"


def pem() -> pathlib.Path:
    return places.programs() / "tls.pem"


def loadgen() -> pathlib.Path:
    return build("loadgen", "loadgen_tls", ["-DPOOLIO_TLS"], LIBRARIES)


def blast() -> pathlib.Path:
    return build("blast", "blast_tls", ["-DPOOLIO_TLS"], LIBRARIES)


def shake() -> pathlib.Path:
    return build("shake", libraries=LIBRARIES)


def prepare() -> None:
    """The C programs, and a certificate of this hour."""
    missing = why_missing(("trustme",))
    if missing:
        raise Unavailable(f"{missing}, which makes the certificate: pip install trustme")
    try:
        for compiled in (loadgen, blast, shake):
            compiled()
        build("limit_tls", libraries=LIBRARIES)
    except BenchmarkFailed as failure:
        if "openssl/" not in str(failure) and "-lssl" not in str(failure):
            raise
        raise Unavailable("OpenSSL's headers are not installed (on Debian: apt-get install libssl-dev)") from None
    import trustme
    pem().unlink(missing_ok=True)
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(pem())


def measured(task: Task) -> dict[str, float]:
    name, _, _ = split_kind(task.kind, NAMES)
    measure = {"": echoed, SINK: received, HANDSHAKES: shaken}[name]
    return measure(task)


def echoed(task: Task) -> dict[str, float]:
    _, size, connections = split_kind(task.kind)
    with serving("servers", task.row, str(pem())) as server:
        answer = drive_json(server, loadgen(), connections, size, task.seconds, server.process.pid, WINDOW_MS)
    task.notes["cipher"] = answer["wire"]
    return figures_of(answer, connections, task)


def received(task: Task) -> dict[str, float]:
    _, size, connections = split_kind(task.kind, NAMES)
    with serving("sinks", task.row, str(pem())) as server:
        answer = drive_json(
            server, blast(), connections, f"bulk{size}", task.seconds, server.process.pid, WINDOW_MS)
    task.notes["clock"] = answer["clock"]
    return {CPU.name: cpu_ns(answer["windows"], ENOUGH_BYTES) * float(answer["message"]) / 1e3}


def shaken(task: Task) -> dict[str, float]:
    _, at_once, _ = split_kind(task.kind, NAMES)
    with serving("servers", task.row, str(pem())) as server:
        answer = drive_json(server, shake(), at_once, task.seconds, server.process.pid, WINDOW_MS)
    task.notes["clock"] = answer["clock"]
    return {"server CPU a handshake": cpu_ns(answer["windows"], ENOUGH_HANDSHAKES) / 1e3,
            "handshakes": answer["handshakes"] / answer["seconds"]}
