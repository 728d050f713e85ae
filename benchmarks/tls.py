"""What does an echo over TLS cost, beside what people use today?

Rows: benchmarks/servers.py with a key. Method: benchmarks/harness.py, driven as echo is, by the same load generator
with OpenSSL: TLS 1.3 with one cipher for everybody, every byte that comes back compared; handshakes are over before
the figures begin. The figure is the server's CPU time a message. The client encrypts, too, so it is not always ahead
of a fast server, which then sleeps and wakes between messages; that is in its figure, and messages/s are the pair's,
not the server's.
What it does not show: rloop, which has no TLS servers, handshakes, other ciphers, session resumption, slow peers, or a
network other than loopback.
"""

import pathlib

from benchmarks import places
from benchmarks.echo import figures_of
from benchmarks.harness import (
    WINDOW_MS,
    BenchmarkFailed,
    Unavailable,
    build,
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
KINDS = ("64x1", "64x64", "16384x64", "65536x64")
QUICK = Selection(("64x64",), (
    LIMIT, "asyncio Protocol, warm heap", "uvloop Protocol", "aiofastnet, uvloop", "poolio transports, asyncio",
    "poolio.EventLoop"))
ROUNDS = 5
SECONDS = 0.7
FIGURES = (
    Figure("server CPU a message", "us", (LIMIT, "asyncio Protocol, warm heap"), noise=0.05),
    Figure("messages", "/s"), Figure("p50", "us"), Figure("p99", "us"),
)
LIBRARIES = ("-lssl", "-lcrypto")


def rows(kind: str) -> dict[str, tuple[str, ...]]:
    split_kind(kind)
    return {name: ROWS[name].needs for name in SERVERS}


def figures(kind: str) -> tuple[Figure, ...]:
    return FIGURES


def title(kind: str) -> str:
    return size_and_count(kind)


def pem() -> pathlib.Path:
    return places.programs() / "tls.pem"


def loadgen() -> pathlib.Path:
    return build("loadgen", "loadgen_tls", ["-DPOOLIO_TLS"], LIBRARIES)


def prepare() -> None:
    """Both C programs, and a certificate of this hour."""
    missing = why_missing(("trustme",))
    if missing:
        raise Unavailable(f"{missing}, which makes the certificate: pip install trustme")
    try:
        loadgen()
        build("limit_tls", libraries=LIBRARIES)
    except BenchmarkFailed as failure:
        if "openssl/" not in str(failure) and "-lssl" not in str(failure):
            raise
        raise Unavailable("OpenSSL's headers are not installed (on Debian: apt-get install libssl-dev)") from None
    import trustme
    pem().unlink(missing_ok=True)
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(pem())


def measured(task: Task) -> dict[str, float]:
    _, size, connections = split_kind(task.kind)
    with serving("servers", task.row, str(pem())) as server:
        answer = drive_json(server, loadgen(), connections, size, task.seconds, server.process.pid, WINDOW_MS)
    task.notes["cipher"] = answer["wire"]
    return figures_of(answer, connections, task)
