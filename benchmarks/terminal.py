"""How does a run look in a terminal? The tables of tables.py and what compare.py found, by rich."""

import sys

import rich.console
import rich.table
from rich.markup import escape

from benchmarks.records import Run, parts_of
from benchmarks.report import ChangeLine, ComparisonView
from benchmarks.tables import Table, tables, under_no_table

WIDTH = 180  # columns, if the output is not a terminal
OURS = "bold cyan"
LOUD = ("better", "worse")


def console() -> rich.console.Console:
    return rich.console.Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)


def table_of(data: Table) -> rich.table.Table:
    table = rich.table.Table(title=escape(data.title), title_justify="left")
    table.add_column(data.first, no_wrap=True)
    for column in data.columns:
        table.add_column(escape(column.heading), justify="right")
    for line in data.lines:
        cells = [f"{cell.value} ({cell.spread})" if cell.spread and column.main else cell.value
                 for cell, column in zip(line.cells, data.columns, strict=True)]
        table.add_row(escape(line.name), *cells, style=OURS if line.ours else "")
    return table


def show(run: Run, part: str, out: rich.console.Console) -> None:
    """The tables of a part, and what is absent from it."""
    found = tables(run, part)
    for table in found:
        if table.lines:
            out.print(table_of(table))
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
    table = rich.table.Table(title=escape(f"against {compared.with_what}"), title_justify="left")
    table.add_column("row", overflow="fold")
    for heading in ("then", "now", "change"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    for line in [*compared.beyond, *compared.others]:
        table.add_row(escape(line.name), *cells_of(line), style="bold" if line.verdict.startswith(LOUD) else "")
    out.print(table)
    out.print(compared.summary, markup=False, style="bold")
    out.print(compared.explanation, markup=False)


def cells_of(line: ChangeLine) -> list[str]:
    pairs = [f"{cell.value} ({cell.spread})" if cell.spread else cell.value for cell in (line.old, line.new)]
    return [*pairs, line.percent, line.verdict]
