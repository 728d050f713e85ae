"""Which pictures need no table beside them? Throughput of one core, as panels of bars, and what an allocation costs.

The first, of unsafe memory beside zeroed memory, opens the report; all of them are published, as files of README and
docs (published.py). What is shown as throughput is a second divided by the server's CPU time for one; where memory is
shown, it is the figure itself. How a picture is written is drawing.py's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import drawing
from benchmarks.drawing import FOR_A_PAGE, NARROW, WIDE, Bar, Layout, Panel, Rows, Theme
from benchmarks.harness import size_text
from benchmarks.records import Record, Run, in_order
from benchmarks.tables import is_ours, number, rounds_text


@dataclass(frozen=True)
class Line:
    name: str  # in the picture
    row: str  # as it was measured
    tone: str


Groups = tuple[tuple[str, tuple[Line, ...]], ...]


@dataclass(frozen=True)
class Shown:
    """One panel: the main figure of a kind."""

    part: str
    kind: str
    heading: str
    unit: str
    of_a_second: float  # in units, what would take one of the figure's; 0: the figure itself is shown


@dataclass(frozen=True)
class Chart:
    title: str
    below: str
    panels: tuple[Shown, ...]
    groups: Groups
    notes: str


OF_ONE_CORE = "Of one core: a second divided by the server's CPU time for one. "
THOUSANDS, MIB = "thousand a second", "MiB a second"
LONGER, SHORTER = "Longer is better.", "Shorter is better."
THREE_SIZES = f"64 connections, messages of three sizes. {LONGER}"
READING: Groups = (
    ("poolio.EventLoop", (
        Line("poolio, not zeroed", "poolio.EventLoop", "ours"),
        Line("poolio, on_alloc", "poolio.EventLoop, on_alloc", "ours, zeroed"),
        Line("poolio, on_release", "poolio.EventLoop, on_release", "ours, zeroed"),
        Line("zeroed bytearray a read", "poolio.EventLoop, fresh bytearray a read", "zeroed"))),
    ("asyncio's transports", (
        Line("poolio, not zeroed", "poolio never, asyncio", "ours"),
        Line("poolio, on_alloc", "poolio on_alloc, asyncio", "ours, zeroed"),
        Line("poolio, on_release", "poolio on_release, asyncio", "ours, zeroed"),
        Line("plain asyncio.Protocol", "asyncio Protocol, warm heap", "others"),
        Line("one bytearray a connection", "asyncio, one bytearray a connection", "others"),
        Line("zeroed bytearray a read", "asyncio, fresh bytearray a read", "zeroed"))),
    ("uvloop", (Line("plain asyncio.Protocol", "uvloop Protocol", "others"),)),
)
ANSWERING: Groups = (
    ("poolio.EventLoop", (
        Line("alloc_unsafe(n), not zeroed", "alloc_unsafe, EventLoop", "ours"),
        Line("alloc(n), zeroed", "alloc, EventLoop", "ours, zeroed"),
        Line("bytearray(n), zeroed", "bytearray, EventLoop", "zeroed"))),
    ("asyncio's transports", (Line("bytearray(n), zeroed", "bytearray, asyncio", "zeroed"),)),
    ("uvloop", (Line("bytearray(n), zeroed", "bytearray, uvloop", "zeroed"),)),
)


def zeroing_panels(kind: str) -> tuple[Shown, ...]:
    """Of 64 B, 64 KiB and 1 MiB; figures are microseconds."""
    return (Shown("zeroing", kind.format("64 B"), "64 B", THOUSANDS, 1e3),
            Shown("zeroing", kind.format("64 KiB"), "64 KiB", MIB, 1e6 / 16),
            Shown("zeroing", kind.format("1 MiB"), "1 MiB", MIB, 1e6))


def plain(*rows: str) -> Groups:
    """One group without a heading, of rows that are shown by the names by which they were measured."""
    return (("", tuple(Line(row, row, "ours" if is_ours(row) else "others") for row in rows)),)


CHARTS = {
    "zeroing": Chart("Echo throughput of one core: unsafe beside zeroed memory", THREE_SIZES, zeroing_panels("{} x 64"),
                     READING, OF_ONE_CORE),
    "answers": Chart("Echo, each answer in new memory: unsafe beside zeroed", THREE_SIZES,
                     zeroing_panels("answers of {} x 64"), ANSWERING, OF_ONE_CORE),
    "echo": Chart("Echo throughput of one core", f"Bytes x connections. {LONGER}", (
        Shown("echo", "64 B x 64", "64 B x 64", THOUSANDS, 1e3),
        Shown("echo", "64 B x 1,000", "64 B x 1,000", THOUSANDS, 1e3),
        Shown("echo", "64 KiB x 64", "64 KiB x 64", MIB, 1e6 / 16)), plain(
            "C epoll, static buffer", "poolio.EventLoop", "poolio.EventLoop, asyncio.Protocol",
            "poolio transports, asyncio", "poolio transports, uvloop", "rloop Protocol", "aiofastnet, uvloop",
            "uvloop Protocol", "asyncio Protocol, warm heap"), OF_ONE_CORE),
    "streams": Chart("Streams: throughput of one core", f"Echo of 64 B, and receiving 64 KiB at a time. {LONGER}", (
        Shown("echo", "64 B x 64", "echo, x 64", THOUSANDS, 1e3),
        Shown("echo", "64 B x 1,000", "echo, x 1,000", THOUSANDS, 1e3),
        Shown("streams", "64 KiB x 64", "receiving x 64", MIB, 1e9 / 16)), plain(
            "poolio streams, EventLoop", "poolio streams, asyncio", "uvloop Streams", "asyncio Streams"), OF_ONE_CORE),
    "framing": Chart("Messages behind a length: throughput of one core", f"Many in each read. {LONGER}", (
        Shown("framing", "16 B behind a length x 1", "16 B", "million a second", 1e3),
        Shown("framing", "128 B behind a length x 1", "128 B", "million a second", 1e3)), plain(
            "poolio FramedProtocol, EventLoop", "poolio frames(), EventLoop", "poolio readexactly twice, EventLoop",
            "by hand, asyncio", "readexactly twice, asyncio"), OF_ONE_CORE),
    "lines": Chart("Lines: throughput of one core", f"Many in each read. {LONGER}", (
        Shown("framing", "lines of 40 B x 1", "lines of 40 B", "million a second", 1e3),), plain(
            "poolio FramedProtocol lines, EventLoop", "poolio lines(), EventLoop", "split by hand, asyncio",
            "readline, asyncio"), OF_ONE_CORE),
    "datagrams": Chart("Datagrams of 64 B: throughput of one core", LONGER, (
        Shown("datagrams", "full queue, 64 B", "full queue", THOUSANDS, 1e6),
        Shown("datagrams", "trains of 64 B", "trains", THOUSANDS, 1e6),
        Shown("datagrams", "flows, 64 B x 64", "request and answer", THOUSANDS, 1e6)), plain(
            "C recvfrom", "C recvmmsg", "poolio, EventLoop", "poolio, asyncio", "poolio bytes, EventLoop", "rloop",
            "uvloop", "aiofastnet, uvloop", "asyncio"), OF_ONE_CORE),
    "tls": Chart("Echo over TLS: throughput of one core", f"64 B, 64 connections. {LONGER}", (
        Shown("tls", "64 B x 64", "64 B x 64", THOUSANDS, 1e3),), plain(
            "C epoll, static buffer", "aiofastnet, uvloop", "uvloop Protocol", "poolio.EventLoop",
            "poolio transports, asyncio", "asyncio Protocol, warm heap"), OF_ONE_CORE),
    "memory": Chart("Memory of a server", SHORTER, (
        Shown("memory", "1,000 idle connections", "idle", "KiB a connection", 0),
        Shown("memory", "burst, 64 KiB through each of 1,000", "burst, 64 KiB x 1,000", "MiB grown", 0)), plain(
            "C epoll, static buffer", "poolio.EventLoop", "poolio transports, asyncio", "poolio streams, EventLoop",
            "rloop Protocol", "uvloop Protocol", "uvloop Streams", "asyncio Protocol, warm heap", "asyncio Streams",
            "asyncio, one bytearray a connection"), ""),
}
FIRST = ("zeroing", "answers")  # in the report
MEDIANS = "Median of {rounds}, the thin line from the lowest to the highest."


def published(run: Run, theme: Theme) -> dict[str, str]:
    """The pictures of README and docs, by name; those of which something was measured."""
    found = {name: drawn(run, chart, theme, Layout(WIDE, len(chart.panels), heading=True))
             for name, chart in CHARTS.items()}
    found["allocation"] = allocation(run, theme)
    return {name: svg for name, svg in found.items() if svg}


def of_zeroing(run: Run, theme: Theme) -> dict[str, str]:
    """By title, for a page that shows it above: one panel below the other."""
    found = {CHARTS[name].title: drawn(run, CHARTS[name], theme, FOR_A_PAGE) for name in FIRST}
    return {title: svg for title, svg in found.items() if svg}


def drawn(run: Run, chart: Chart, theme: Theme, layout: Layout) -> str:
    """Without the lines and panels of which nothing was measured; an empty text if that is all."""
    records = {(shown, line.row): record for shown in chart.panels for _, lines in chart.groups for line in lines
               if (record := main_record(run, shown, line.row))}
    rows = {row for _, row in records}
    groups = [(heading, left) for heading, lines in chart.groups
              if (left := [line for line in lines if line.row in rows])]
    panels = [panel_of(shown, [(line, records.get((shown, line.row))) for _, lines in groups for line in lines])
              for shown in chart.panels if any(shown == measured for measured, _ in records)]
    if not panels:
        return ""
    names = Rows([(heading, [line.name for line in lines]) for heading, lines in groups])
    notes = f"{chart.notes}{MEDIANS.format(rounds=rounds_text(list(records.values())))} {where(run)}"
    return drawing.panels(chart.title, chart.below, names, panels, notes, theme, layout)


def main_record(run: Run, shown: Shown, row: str) -> Record | None:
    """The first of a row's records is its main figure."""
    return next((record for record in run.records
                 if (record.part, record.kind, record.row) == (shown.part, shown.kind, row)), None)


def panel_of(shown: Shown, lines: Sequence[tuple[Line, Record | None]]) -> Panel:
    bars = [Bar(line.name, [amount(shown, value) for value in record.values], line.tone) if record else None
            for line, record in lines]
    return Panel(shown.heading, shown.unit, bars, number)


def amount(shown: Shown, value: float) -> float:
    return shown.of_a_second / value if shown.of_a_second else value


def where(run: Run) -> str:
    return f"{run.machine['cpu']}, {run.machine['python'].partition(',')[0]}, {run.conditions['date'][:10]}."


# --- Allocation ---

def bytes_of(kind: str) -> float:
    """The size that a kind of allocation ends with."""
    amount, unit = kind.rsplit(", ", 1)[1].split()
    return int(amount) * {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}[unit]


def whats(records: Sequence[Record]) -> list[str]:
    return in_order([record.kind.rsplit(", ", 1)[0] for record in records])


def allocation_curves(records: Sequence[Record], what: str, theme: Theme, title: str = "", notes: str = "") -> str:
    """With a title it is a wide picture that needs no caption."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for record in records:
        if record.kind.startswith(what):
            lines.setdefault(record.row, []).append((bytes_of(record.kind), record.value))
    below = "Nanoseconds an allocation, lower is better; both axes are logarithmic." if title else ""
    return drawing.curves(title or f"allocation: {what}", below, lines, lambda size: size_text(int(size)), notes, theme,
                          WIDE if title else NARROW + 60)


def allocation(run: Run, theme: Theme) -> str:
    mine = [record for record in run.records if record.part == "allocation"]
    if not mine:
        return ""
    notes = f"Dropped at once, the lowest of {rounds_text(mine)}. {where(run)}"
    return allocation_curves(mine, "dropped at once", theme, "An allocation: unsafe beside zeroed", notes)
