"""How does a run look in a terminal? The tables of tables.py and what compare.py found, by rich.

Where a table has no room it is shown as lists, so that a terminal of 40 columns loses nothing.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import rich.console
import rich.padding
import rich.progress
import rich.table
from rich.markup import escape

from benchmarks.records import Run, parts_of
from benchmarks.report import ChangeLine, ComparisonView
from benchmarks.tables import Table, tables, under_no_table

WIDTH = 180  # columns, if the output is not a terminal
ROOM_FOR_PROGRESS = 100  # columns
SHORT_BAR = 10
BESIDE_ROW = SHORT_BAR + len("100/100 ") + len(" 0:00:00 ")
BORDER = 3  # columns of a table's cell besides its text
OURS = "bold cyan"
LOUD = ("better", "worse")


def console() -> rich.console.Console:
    return rich.console.Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)


@dataclass(frozen=True)
class Grid:
    """A table before it is known whether it fits: a line is a name, its cells, and how it is highlighted."""

    title: str
    first: str
    headings: list[str]
    lines: list[tuple[str, list[str], str]]


def grid_of(data: Table) -> Grid:
    return Grid(data.title, data.first, [column.heading for column in data.columns], [
        (line.name, [f"{cell.value} ({cell.spread})" if cell.spread and column.main else cell.value
                     for cell, column in zip(line.cells, data.columns, strict=True)], OURS if line.ours else "")
        for line in data.lines])


def show_grid(grid: Grid, out: rich.console.Console) -> None:
    """As a table if the terminal is wide enough for it, and otherwise each line as a short list."""
    values = [[grid.first, *(name for name, _, _ in grid.lines)]]
    values += [[max(heading.split(), key=len, default=""), *(cells[at] for _, cells, _ in grid.lines)]
               for at, heading in enumerate(grid.headings)]
    widths = [max(map(len, column)) for column in values]
    if sum(widths) + BORDER * len(widths) + 1 <= out.width:
        out.print(table_of(grid, widths))
    else:
        show_as_lists(grid, out)


def table_of(grid: Grid, widths: Sequence[int]) -> rich.table.Table:
    """Headings may be broken, cells may not."""
    table = rich.table.Table(title=escape(grid.title), title_justify="left")
    table.add_column(grid.first, no_wrap=True, min_width=widths[0])
    for heading, width in zip(grid.headings, widths[1:], strict=True):
        table.add_column(escape(heading), justify="right", min_width=width)
    for name, cells, style in grid.lines:
        table.add_row(escape(name), *map(escape, cells), style=style)
    return table


def show_as_lists(grid: Grid, out: rich.console.Console) -> None:
    out.print(grid.title, markup=False, style="italic")
    for name, cells, style in grid.lines:
        out.print(name, markup=False, style=style or "bold")
        for heading, cell in zip(grid.headings, cells, strict=True):
            if cell:
                out.print(rich.padding.Padding(escape(f"{heading}: {cell}"), (0, 0, 0, 4)))


def progress(out: rich.console.Console) -> rich.progress.Progress:
    """Where there is little room, the names of parts and kinds are left out: those of rows tell enough."""
    text = rich.progress.TextColumn
    counted, remaining = rich.progress.MofNCompleteColumn(), rich.progress.TimeRemainingColumn()
    columns: list[rich.progress.ProgressColumn] = [
        text("{task.description}"), rich.progress.BarColumn(), counted, remaining, text("{task.fields[row]}")]
    if out.width < ROOM_FOR_PROGRESS:
        cut = rich.table.Column(no_wrap=True, max_width=out.width - BESIDE_ROW)
        columns = [counted, rich.progress.BarColumn(SHORT_BAR), remaining, text("{task.fields[row]}", table_column=cut)]
    return rich.progress.Progress(*columns, console=out, transient=True)


def show(run: Run, part: str, out: rich.console.Console) -> None:
    """The tables of a part, and what is absent from it."""
    found = tables(run, part)
    for table in found:
        if table.lines:
            show_grid(grid_of(table), out)
        for absent in table.absent:
            out.print(f"  {absent.row or table.title}: {'failed: ' if absent.failed else 'absent, '}{absent.reason}",
                      markup=False, style="red" if absent.failed else "dim")
    for absent in under_no_table(run, part, found):
        where = ": ".join(filter(None, (part, absent.kind, absent.row)))
        style = "red" if absent.failed else "yellow"
        out.print(f"{where}: not measured: {absent.reason}", markup=False, style=style)


def show_all(run: Run, out: rich.console.Console) -> None:
    for part in parts_of(run):
        show(run, part, out)


def show_comparison(compared: ComparisonView, out: rich.console.Console) -> None:
    for warning in compared.warnings:
        out.print(f"not the same circumstances: {warning}", markup=False, style="yellow")
    lines = [(line.name, cells_of(line), "bold" if line.verdict.startswith(LOUD) else "")
             for line in [*compared.beyond, *compared.others]]
    show_grid(Grid(f"against {compared.with_what}", "row", ["then", "now", "change", "verdict"], lines), out)
    out.print(compared.summary, markup=False, style="bold")
    out.print(compared.explanation, markup=False)


def cells_of(line: ChangeLine) -> list[str]:
    pairs = [f"{cell.value} ({cell.spread})" if cell.spread else cell.value for cell in (line.old, line.new)]
    return [*pairs, line.percent, line.verdict]
