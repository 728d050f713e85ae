"""How do records look as tables? One description of a table, for the terminal and for the report alike.

A part whose kinds are many and whose rows are few (MATRICES) is one table, a line for each kind and a column for each
row; any other has a table for each kind, a line for each row, the ratio to the main base first. A cell is a figure and
its spread over the rounds. What is absent stands under its table, with the reason.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.records import Absent, Figure, Record, Run, in_order, ratios

MATRICES = ("allocation", "operations")
OURS = ("poolio", "alloc", "Buffer")  # with what the names of poolio's own rows begin


@dataclass(frozen=True)
class Cell:
    value: str
    spread: str = ""


@dataclass(frozen=True)
class Column:
    heading: str
    main: bool = True  # else: the spread is left out where there is little room


@dataclass(frozen=True)
class Line:
    name: str
    cells: tuple[Cell, ...]
    ours: bool


@dataclass
class Table:
    title: str
    first: str  # heading of the lines' names
    columns: list[Column]
    lines: list[Line] = field(default_factory=list)
    absent: list[Absent] = field(default_factory=list)


def is_ours(row: str) -> bool:
    return row.startswith(OURS)


def number(value: float) -> str:
    """Three digits, about; thousands whole."""
    for least, digits in ((100, 0), (10, 1), (0.1, 2), (0.001, 3)):
        if abs(value) >= least:
            return f"{value:,.{digits}f}"
    return f"{value:.1g}"


def spread(values: Sequence[float]) -> str:
    return f"{number(min(values))}..{number(max(values))}" if len(values) > 1 else ""


def cell_of(values: Sequence[float]) -> Cell:
    return Cell(number(statistics.median(values)), spread(values))


def value_cell(record: Record) -> Cell:
    return Cell(number(record.value), spread(record.values))


def rounds_text(records: Sequence[Record]) -> str:
    counts = sorted({len(record.values) for record in records})
    return f"{' or '.join(map(str, counts))} round{'' if counts == [1] else 's'}"


def figure_heading(figure: Figure) -> str:
    lowest = ", lowest" if figure.summary == "lowest" else ""
    return f"{figure.name}{f', {figure.unit}' if figure.unit else ''}{lowest}"


def tables(run: Run, part: str) -> list[Table]:
    """The tables of one part; none if nothing of it was measured."""
    mine = [record for record in run.records if record.part == part]
    if part in MATRICES and mine:
        return [matrix(run, part, mine)]
    kinds = in_order([record.kind for record in mine] + [a.kind for a in run.absent if a.part == part and a.kind])
    return [listing(run, part, kind, [record for record in mine if record.kind == kind]) for kind in kinds]


def listing(run: Run, part: str, kind: str, records: list[Record]) -> Table:
    figures = list({record.figure.name: record.figure for record in records}.values())
    rows = in_order([record.row for record in records])
    bases = {figure.name: [row for row in figure.bases if row in rows] for figure in figures}
    table = Table(f"{part}: {kind} ({rounds_text(records)})" if records else f"{part}: {kind}", "row", [])
    for figure in figures:
        columns = [Column(f"to {base}") for base in bases[figure.name]]
        columns.insert(1, Column(figure_heading(figure), figure.noise > 0 or figure is figures[0]))
        table.columns += columns
    by_name = {(record.row, record.figure.name): record for record in records}
    for row in rows:
        cells: list[Cell] = []
        for figure in figures:
            record = by_name[row, figure.name]
            shares = [Cell("1") if base == row else cell_of(ratios(record, by_name[base, figure.name]))
                      for base in bases[figure.name]]
            shares.insert(1, value_cell(record))
            cells += shares
        table.lines.append(Line(row, tuple(cells), is_ours(row)))
    table.absent = [absent for absent in run.absent if (absent.part, absent.kind) == (part, kind)]
    return table


def matrix(run: Run, part: str, records: list[Record]) -> Table:
    figure = records[0].figure
    rows = in_order([record.row for record in records])
    found = {(record.kind, record.row): record for record in records}
    against = f"; ratio to {figure.bases[0]}" if figure.bases else ""
    table = Table(f"{part} ({rounds_text(records)}): {figure_heading(figure)}{against}", "kind",
                  [Column(row) for row in rows])
    for kind in in_order([record.kind for record in records]):
        cells = []
        for row in rows:
            record = found.get((kind, row))
            cells.append(Cell("") if record is None else ratio_cell(run, record))
        table.lines.append(Line(kind, tuple(cells), False))
    table.absent = list({what_it_says(absent): absent for absent in run.absent if absent.part == part}.values())
    return table


def what_it_says(absent: Absent) -> tuple[str, str, bool]:
    """What is written of it, without the kind: in a matrix, whose kinds share one table, it stands once."""
    return absent.row, absent.reason, absent.failed


def under_no_table(run: Run, part: str, found: Sequence[Table]) -> list[Absent]:
    """What is absent and these tables of the part don't say."""
    said = {what_it_says(absent) for table in found for absent in table.absent}
    return [absent for absent in run.absent if absent.part == part and what_it_says(absent) not in said]


def ratio_cell(run: Run, record: Record) -> Cell:
    """The value, and its ratio to the main base with its spread."""
    bases = [base for base in run.bases(record) if base.row != record.row]
    if not bases:
        return Cell(number(record.value))
    shares = ratios(record, bases[0])
    return Cell(number(record.value), f"{number(statistics.median(shares))}, {spread(shares)}".rstrip(", "))
