"""How does a run look as a page? One HTML file with everything in it, for a browser or a phone; it loads nothing.

The words are the docstrings of the parts, the figures come through tables.py, the pictures through plots.py.
"""

import pathlib
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import jinja2

from benchmarks import compare as comparing
from benchmarks import plots
from benchmarks.parts import Text, text
from benchmarks.records import Absent, Run, parts_of
from benchmarks.tables import Cell, Table, number, spread, tables, under_no_table

READING = (
    "Each figure is the median over rounds, with the lowest and highest beside it in small print. In each round all "
    "rows are measured one after another, in a newly shuffled order, servers each in a fresh process, and ratios are "
    "formed within the round: the cores of shared machines change speed from second to second, and a change meets "
    "both sides of a ratio. So the ratio to the C program, the limit, is the figure to look at, and the absolute one "
    "belongs to this machine and this day. CPU is the server's own, kernel and user space, at the 20 % quantile over "
    "short windows, by the clock that is named at the end. The server has one core, the client another. Less is "
    "better, except in messages/s and in what is received. Between two runs, ratios move by a few per cent more than "
    "the rounds of one run show.")


@dataclass(frozen=True)
class Section:
    part: str
    text: Text
    pictures: dict[str, str]
    tables: list[Table]
    absent: list[Absent]  # what stands under no table


@dataclass(frozen=True)
class ChangeLine:
    name: str
    old: Cell
    new: Cell
    percent: str
    verdict: str


@dataclass(frozen=True)
class ComparisonView:
    with_what: str
    warnings: list[str]
    summary: str
    explanation: str
    beyond: list[ChangeLine]
    others: list[ChangeLine]


def section(run: Run, part: str) -> Section:
    found = tables(run, part)
    return Section(part, text(part), plots.of_part(run, part), found, under_no_table(run, part, found))


def cell(values: Sequence[float]) -> Cell:
    return Cell(number(statistics.median(values)), spread(values)) if values else Cell("-")


def change_line(change: comparing.Change) -> ChangeLine:
    figure = "" if change.unit == "ratio" else f", {change.figure} {change.unit}".rstrip()
    percent = "" if change.percent is None else f"{change.percent:+.1f} %"
    name = f"{change.part}: {change.kind}: {change.row}{figure}"
    return ChangeLine(name, cell(change.old), cell(change.new), percent, change.verdict)


def summary(comparison: comparing.Comparison) -> str:
    changes = comparison.changes
    counts = {said: sum(change.verdict == said for change in changes) for said in comparing.VERDICTS}
    return f"{len(changes)} rows: " + "; ".join(f"{count} {said}" for said, count in counts.items() if count) + "."


def view(comparison: comparing.Comparison, with_what: str) -> ComparisonView:
    """What changed most comes first."""
    beyond = [change for change in comparison.changes if change.beyond]
    beyond.sort(key=lambda change: -abs(change.percent or 0))
    others = [change for change in comparison.changes if not change.beyond]
    return ComparisonView(with_what, comparison.warnings, summary(comparison), comparing.explanation(comparison),
                          list(map(change_line, beyond)), list(map(change_line, others)))


def html(run: Run, compared: ComparisonView | None = None) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent), autoescape=True,
        undefined=jinja2.StrictUndefined)
    return environment.get_template("report.html.jinja").render(
        run=run, sections=[section(run, part) for part in parts_of(run)], comparison=compared, reading=READING,
        failures=[absent for absent in run.absent if absent.failed])
