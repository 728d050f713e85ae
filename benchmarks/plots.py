"""How do records look as pictures? SVG to stand in a page: no file of its own, text in the page's colour and font.

Bars with whiskers over all rounds, each row's name above its bar, so that a phone is wide enough; lines where the
kinds are sizes. What is drawn in INK takes the colour of the page's text, light or dark.
"""

import html
import io
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, StrMethodFormatter

from benchmarks.harness import size_text
from benchmarks.records import Record, Run, in_order
from benchmarks.tables import figure_heading, is_ours, number

INK = "#010203"
OURS, OTHERS = "#2f8fd0", "#9d9d9d"
LINES = ("#2f8fd0", "#37a78f", "#d9822b", "#9d9d9d", "#b06fc4")
WIDTH_INCHES = 4.4
FAR_APART = 12  # times: a logarithmic axis
VERY_FAR_APART = 100  # times: it has room for powers of ten only
STYLE: Any = {
    "svg.fonttype": "none", "font.size": 8.5, "font.family": "sans-serif", "text.color": INK, "axes.labelcolor": INK,
    "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False,
}


def svg_of(figure: Drawing, label: str) -> str:
    """Without header, metadata and background, as wide as the page lets it be."""
    text = io.StringIO()
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": label}):
        figure.savefig(text, format="svg", transparent=True,
                       metadata={"Creator": None, "Date": None, "Format": None, "Type": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg"):].replace(INK, "currentColor")
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(label)}"', 1)


@dataclass(frozen=True)
class Bar:
    name: str
    values: Sequence[float]
    ours: bool


def bars(title: str, bars_of: Sequence[Bar], reference: float | None, axis: str) -> str:
    """Bars of medians, whiskers from the lowest to the highest."""
    middles = [statistics.median(bar.values) for bar in bars_of]
    with matplotlib.rc_context(STYLE):
        figure = Drawing(figsize=(WIDTH_INCHES, 0.75 + 0.36 * len(bars_of)), layout="constrained")
        axes = figure.subplots()
        errors = [[middle - min(bar.values) for middle, bar in zip(middles, bars_of, strict=True)],
                  [max(bar.values) - middle for middle, bar in zip(middles, bars_of, strict=True)]]
        places = range(len(bars_of))
        axes.barh(places, middles, height=0.34, xerr=errors, ecolor=INK, capsize=2,
                  color=[OURS if bar.ours else OTHERS for bar in bars_of])
        for place, bar, middle in zip(places, bars_of, middles, strict=True):
            axes.text(0.005, place - 0.27, f"{bar.name}: {number(middle)}", va="bottom", ha="left",
                      transform=axes.get_yaxis_transform())
        positive = [value for value in middles if value > 0]
        if positive and len(positive) == len(middles) and max(positive) > FAR_APART * min(positive):
            axes.set_xscale("log")
            axes.set_xlim(left=min(positive) / 2)
            far = max(positive) > VERY_FAR_APART * min(positive)
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if far else (1.0, 2.0, 5.0)))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xlabel(f"{axis} (logarithmic)")
        else:
            axes.set_xlim(left=0)
            axes.set_xlabel(axis)
        if reference is not None:
            axes.axvline(reference, color=INK, linewidth=0.7, alpha=0.5, zorder=0)
        axes.set_ylim(len(bars_of) - 0.6, -0.95)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
    return svg_of(figure, title)


def curves(title: str, curves_of: dict[str, list[tuple[float, float]]], across: str, up: str) -> str:
    with matplotlib.rc_context(STYLE):
        figure = Drawing(figsize=(WIDTH_INCHES, 3.2), layout="constrained")
        axes = figure.subplots()
        for (name, points), color in zip(curves_of.items(), LINES, strict=False):
            axes.plot([x for x, _ in points], [y for _, y in points], marker="o", markersize=3, label=name, color=color)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.xaxis.set_major_locator(LogLocator(base=16))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: size_text(int(size)) if size >= 1 else ""))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.legend(frameon=False)
    return svg_of(figure, title)


def bytes_of(kind: str) -> float:
    """The size that a kind of allocation ends with."""
    amount, unit = kind.rsplit(", ", 1)[1].split()
    return int(amount) * {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}[unit]


def pictures(run: Run, part: str) -> dict[str, str]:
    """SVG by title."""
    mine = [record for record in run.records if record.part == part]
    if part == "allocation":
        return allocation(mine)
    if part == "operations":
        pairs = [Bar(record.kind, run.compared(record), True) for record in mine if is_ours(record.row)]
        title = "operations: ratio to the peer"
        return {title: bars(title, pairs, 1, "ratio, less is better")} if pairs else {}
    found = {}
    for kind in in_order([record.kind for record in mine]):
        main = next(record.figure for record in mine if record.kind == kind)
        records = [record for record in mine if record.kind == kind and record.figure.name == main.name]
        bases = run.bases(records[0])
        title = f"{part}: {kind}"
        axis = f"{main.name}, ratio to {bases[0].row}" if bases else figure_heading(main)
        rows = [Bar(record.row, run.compared(record), is_ours(record.row)) for record in records]
        found[title] = bars(title, rows, 1 if bases else None, axis)
    return found


def allocation(records: list[Record]) -> dict[str, str]:
    found = {}
    for what in in_order([record.kind.rsplit(", ", 1)[0] for record in records]):
        lines: dict[str, list[tuple[float, float]]] = {}
        for record in records:
            if record.kind.startswith(what):
                lines.setdefault(record.row, []).append((bytes_of(record.kind), record.value))
        title = f"allocation: {what}"
        found[title] = curves(title, lines, "bytes", figure_heading(records[0].figure))
    return found
