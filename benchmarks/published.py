"""Which measurement stands in README and docs? One run of these kinds and rows, whose raw rounds are in docs/figures.

`bench --publish` (`make figures`) measures it anew, on a quiet machine, in about 13 minutes, keeps it, and rewrites
from it every picture in docs/figures and every figure between the markers of README.md and docs/*.md (markers.py).
With `--from` it measures nothing and does the same with a run that is there. Nothing of it is written by hand: a test
compares pages and pictures with what the committed run gives.
"""

import pathlib

from benchmarks import keepers, loop, markers, peers, places, programs, records
from benchmarks.allocation import KINDS as ALLOCATIONS
from benchmarks.drawing import DARK, LIGHT
from benchmarks.operations import KINDS as OPERATIONS
from benchmarks.pictures import published as pictures_of
from benchmarks.records import Run
from benchmarks.servers import LIMIT
from benchmarks.session import Selection

ROOT = places.ROOT
FIGURES = pathlib.Path("docs") / "figures"
MEASUREMENT = FIGURES / "measurement.json"
THEMES = {"light": LIGHT, "dark": DARK}
SECONDS = 0.35
ECHOES = (
    LIMIT, "poolio.EventLoop", "poolio.EventLoop, asyncio.Protocol", "poolio transports, asyncio",
    "poolio transports, uvloop", "rloop Protocol", "uvloop Protocol", "aiofastnet, uvloop",
    "asyncio Protocol, warm heap", "asyncio Protocol, cold heap", "poolio streams, EventLoop",
    "poolio streams, asyncio", "uvloop Streams", "asyncio Streams",
)
FIRST = (
    LIMIT, "poolio.EventLoop", "poolio.EventLoop, asyncio.Protocol", "poolio transports, asyncio",
    "poolio transports, uvloop", "rloop Protocol", "uvloop Protocol", "aiofastnet, uvloop",
    "asyncio Protocol, warm heap", "poolio streams, EventLoop", "uvloop Streams", "asyncio Streams",
)
MEMORIES = (
    LIMIT, "poolio.EventLoop", "poolio transports, asyncio", "rloop Protocol", "uvloop Protocol",
    "asyncio Protocol, warm heap", "asyncio, one bytearray a connection", "poolio streams, EventLoop", "uvloop Streams",
    "asyncio Streams", *keepers.ROWS,
)
COUNTED = (
    LIMIT, "poolio.EventLoop", "poolio transports, asyncio", "rloop Protocol", "uvloop Protocol",
    "asyncio Protocol, warm heap", "poolio streams, EventLoop", "asyncio Streams",
)
BULK = (LIMIT, "asyncio Streams", "uvloop Streams", "poolio streams, asyncio", "poolio streams, EventLoop",
        "poolio streams, EventLoop, holding")
FRAMES = (
    LIMIT, "by hand, asyncio", "readexactly twice, asyncio", "poolio readexactly twice, EventLoop",
    "poolio FramedProtocol, EventLoop", "poolio frames(), EventLoop", "split by hand, asyncio", "readline, asyncio",
    "poolio FramedProtocol lines, EventLoop", "poolio lines(), EventLoop",
)
DATAGRAMS = (
    "C recvfrom", "C recvmmsg", "C UDP_GRO", "asyncio", "uvloop", "rloop", "aiofastnet, uvloop", "poolio, asyncio",
    "poolio, EventLoop", "poolio bytes, EventLoop", "poolio sendmany, EventLoop",
)
TLS = (LIMIT, "asyncio Protocol, warm heap", "uvloop Protocol", "aiofastnet, asyncio", "aiofastnet, uvloop",
       "poolio transports, asyncio", "poolio transports, uvloop", "poolio.EventLoop")
COMMANDS = ("by hand, EventLoop", "the example, EventLoop")
SELECTIONS = {
    "zeroing": Selection(("64x64", "1024x64", "16384x64", "65536x64", f"{1 << 20}x64",
                          "answers64x64", "answers65536x64", f"answers{1 << 20}x64"), seconds=SECONDS),
    "echo": Selection(("64x64", "16384x64", "65536x64", "64x1000", "64x1"), ECHOES, seconds=SECONDS),
    "first": Selection(("client64x64", "client64x1", "server64x64"), FIRST, rounds=3, seconds=SECONDS),
    "streams": Selection(("bulk65536", "bulk65536x64"), BULK, seconds=SECONDS),
    "framing": Selection(("prefixed16", "prefixed128", "lines40"), FRAMES, seconds=SECONDS),
    "datagrams": Selection(("flood64", "trains64", "flows64x64"), DATAGRAMS, seconds=SECONDS),
    "tls": Selection(("64x1", "64x64", "16384x64", "65536x64", "sink65536x64", "handshakes8"), TLS, seconds=0.25),
    "commands": Selection(("get16", "set16", "mset16", "get1"), COMMANDS, seconds=SECONDS),
    "loop": Selection(loop.KINDS, peers.USUAL, seconds=SECONDS),
    "programs": Selection(programs.KINDS, peers.USUAL, seconds=SECONDS),
    "memory": Selection(("idle1000", "idle-tls1000", "burst65536x1000", "pinned64"), MEMORIES, rounds=2),
    "allocation": Selection(ALLOCATIONS, rounds=7),
    "operations": Selection(OPERATIONS, rounds=7),
    "latency": Selection(("64x64",), rounds=1),
    "instructions": Selection(("64x64",), COUNTED, rounds=1),
}


def pages(root: pathlib.Path) -> list[pathlib.Path]:
    return [root / "README.md", *sorted(root.glob("docs/*.md"))]


def pictures(run: Run) -> dict[pathlib.Path, str]:
    """SVG by its path in the checkout."""
    return {FIGURES / f"{name}-{theme}.svg": svg for theme, colors in THEMES.items()
            for name, svg in pictures_of(run, colors).items()}


def publish(run: Run, root: pathlib.Path) -> list[pathlib.Path]:
    """Keeps the run, writes what differs from what it gives, and returns the paths. ValueError if the run is not whole
    or a marker names what it has not: then nothing is written."""
    if run.conditions.get("status"):
        raise ValueError(f"the run was {run.conditions['status']}")
    if any(absent.failed for absent in run.absent):
        raise ValueError("rows of the run have failed")
    run = records.as_saved(run)
    texts = {root / path: svg for path, svg in pictures(run).items()}
    for page in pages(root):
        try:
            texts[page] = markers.rewritten(page.read_text(), run)
        except ValueError as reason:
            raise ValueError(f"{page.relative_to(root)}: {reason}") from None
    records.save(run, root / MEASUREMENT)
    changed = [path for path, text in texts.items() if not path.exists() or path.read_text() != text]
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(texts[path])
    return changed


def committed() -> Run:
    return records.load(ROOT / MEASUREMENT)
