"""How do figures get into a Markdown page? Between comments that say which; they are rewritten from one run.

A table, or the machine:

    <!-- figures: PART; KIND & KIND; ROW & ROW; CELLS -->     and     <!-- figures: machine -->
    <!-- end figures -->

A line for each row, a column for each kind, or the other way round if CELLS begins with `turned`. Without KINDs or
ROWs, all that were measured. CELLS: `value`, `ratio` (to the part's main base), or `both`, which is what it is if
nothing is said; behind it the name of a figure, if it is not the part's main one. `figures` shows all figures of one
KIND instead, a column for each.

A figure in a sentence, invisible around it:

    <!--fig PART; KIND; ROW; WHAT-->1.02<!--/fig-->     and     <!--fig machine; cpu-->, versions, conditions

WHAT: `value`, `ratio`, `spread` (of the ratios), `percent` (by how many the ratio differs from 1), `times` (one
divided by the ratio); behind it, if need be, a figure's name, and `to ROW` for another base. Several KINDs or ROWs give
a range.
"""

import re
import statistics
from collections.abc import Callable, Sequence

from benchmarks.records import Record, Run, in_order, ratios
from benchmarks.tables import figure_heading, is_ours, number, rounds_text, spread

BLOCK = re.compile(r"(?<=<!-- figures: )([^\n]*?)( -->\n)(.*?)(?=<!-- end figures -->)", re.DOTALL)
INLINE = re.compile(r"(?<=<!--fig )([^\n]*?)(-->)(.*?)(?=<!--/fig-->)", re.DOTALL)
OPENINGS = (("<!-- figures:", BLOCK), ("<!--fig ", INLINE))
CELLS = ("both", "value", "ratio", "figures")
MEANINGS = {
    "both": "; in brackets the ratio to {base} in the same round: {middle}, lowest..highest",
    "ratio": "; its ratio to {base} in the same round: {middle}, in brackets lowest..highest",
    "value": ": {middle}",
}


def rewritten(text: str, run: Run) -> str:
    """The page with the figures of this run. ValueError, naming the marker, if one names what the run has not."""
    for opening, pattern in OPENINGS:
        if text.count(opening) != len(pattern.findall(text)):
            raise ValueError(f"a marker that begins with {opening} is not closed on this page")
    text = BLOCK.sub(lambda match: f"{match[1]}{match[2]}{told(block, match[1], run)}", text)
    return INLINE.sub(lambda match: f"{match[1]}{match[2]}{told(inline, match[1], run)}", text)


def told(write: Callable[[Run, Sequence[str]], str], marker: str, run: Run) -> str:
    try:
        return write(run, [field.strip() for field in marker.split(";")])
    except ValueError as reason:
        raise ValueError(f"the figures {marker!r}: {reason}") from None


def several(field: str) -> list[str]:
    return [name.strip() for name in field.split("&") if name.strip()]


def found(run: Run, part: str, kind: str, row: str, figure: str = "") -> Record:
    """The record, of the main figure if none is named."""
    of_part = [record for record in run.records if record.part == part]
    of_kind = [record for record in of_part if record.kind == kind]
    of_row = [record for record in of_kind if record.row == row]
    for what, left, there in (
            ("part", of_part, [record.part for record in run.records]),
            ("kind", of_kind, [record.kind for record in of_part]),
            ("row", of_row, [record.row for record in of_kind])):
        if not left:
            raise ValueError(f"no such {what} was measured; there are {' | '.join(in_order(there))}")
    for record in of_row:
        if record.figure.name == (figure or of_row[0].figure.name):
            return record
    raise ValueError(f"{row} has no figure {figure!r}; it has {' | '.join(record.figure.name for record in of_row)}")


# --- In a sentence ---

def inline(run: Run, fields: Sequence[str]) -> str:
    facts = {"machine": run.machine, "versions": run.versions, "conditions": run.conditions}
    if fields[0] in facts:
        there = facts[fields[0]]
        if len(fields) != 2 or fields[1] not in there:
            raise ValueError(f"there are {' | '.join(there)}")
        return there[fields[1]]
    if len(fields) != 4:
        raise ValueError("a figure is PART; KIND; ROW; WHAT")
    part, kinds, rows, what = fields
    pairs = [figure_of(run, part, kind, row, what) for kind in several(kinds) for row in several(rows)]
    texts = list(dict.fromkeys(text for _, text in sorted(pairs)))
    return texts[0] if len(texts) == 1 else f"{texts[0]} to {texts[-1]}"


def figure_of(run: Run, part: str, kind: str, row: str, what: str) -> tuple[float, str]:
    """The number, and how it is written."""
    asked = re.fullmatch(r"(\w+)(?: (?!to )(.+?))?(?: to (.+))?", what)
    form, name, base = asked.groups(default="") if asked else ("", "", "")
    record = found(run, part, kind, row, name)
    if form == "value":
        return record.value, number(record.value)
    shares = shares_of(run, record, base)
    share = statistics.median(shares)
    if form == "percent":
        return abs(100 * (share - 1)), f"{abs(100 * (share - 1)):.0f}"
    forms = {"ratio": number(share), "spread": spread(shares), "times": number(1 / share)}
    if form not in forms:
        raise ValueError(f"{what!r} is none of value, ratio, spread, percent, times")
    return (1 / share if form == "times" else share), forms[form]


def shares_of(run: Run, record: Record, base: str = "") -> tuple[float, ...]:
    """Its ratios to this row, or to its main base."""
    if base:
        return ratios(record, found(run, record.part, record.kind, base, record.figure.name))
    bases = run.bases(record)
    if not bases:
        raise ValueError(f"{record.figure.name} has no base: say to which row")
    return ratios(record, bases[0])


# --- A block ---

def block(run: Run, fields: Sequence[str]) -> str:
    if list(fields) == ["machine"]:
        return f"{machine(run)}\n"
    part, kinds, rows, cells = [*fields, "", "", ""][:4]
    _, turned, cells = cells.rpartition("turned")
    form, _, figure = (cells.strip() or CELLS[0]).partition(" ")
    if form not in CELLS:
        raise ValueError(f"{form!r} is none of {', '.join(CELLS)}")
    records = [record for record in run.records if record.part == part] or [found(run, part, "", "")]
    names = several(kinds) or in_order([record.kind for record in records])
    listed = several(rows) or in_order([record.row for record in records if record.kind in names])
    if form == "figures":
        return all_figures(run, part, names, listed)
    by_place = {(kind, row): record for kind in names for row in listed
                if (record := optional(run, part, kind, row, figure))}
    for kind in names:
        if not any((kind, row) in by_place for row in listed):
            found(run, part, kind, listed[0] if listed else "", figure)
    for row in listed:
        if not any((kind, row) in by_place for kind in names):
            raise ValueError(f"{row} was measured in none of these kinds")
    note = meaning(run, list(by_place.values()), form)
    return f"{note}\n\n{table(run, names, listed, by_place, form, bool(turned))}\n"


def all_figures(run: Run, part: str, kinds: Sequence[str], rows: Sequence[str]) -> str:
    if len(kinds) != 1:
        raise ValueError(f"figures are those of one kind, not of {len(kinds)}")
    main = [found(run, part, kinds[0], row) for row in rows]
    named = [record.figure for record in run.records
             if (record.part, record.kind, record.row) == (part, kinds[0], rows[0])]
    lines = [(bold(row), [number(found(run, part, kinds[0], row, figure.name).value) for figure in named])
             for row in rows]
    said = f"{kinds[0]}: median of {rounds_text(main)}."
    return f"{said}\n\n{markdown([figure_heading(figure) for figure in named], lines)}\n"


def optional(run: Run, part: str, kind: str, row: str, figure: str) -> Record | None:
    """None if the row has not this kind."""
    if not any((record.part, record.kind, record.row) == (part, kind, row) for record in run.records):
        return None
    return found(run, part, kind, row, figure)


def meaning(run: Run, records: Sequence[Record], form: str) -> str:
    """What the cells say."""
    headings = " or ".join(in_order([figure_heading(record.figure).removesuffix(", lowest") for record in records]))
    summary = "lowest" if all(record.figure.summary == "lowest" for record in records) else "median"
    bases = in_order([base.row for record in records for base in run.bases(record)[:1]])
    form = form if bases else "value"
    said = MEANINGS[form].format(base=" or ".join(bases), middle=summary if form == "value" else "median")
    return f"{headings[:1].upper()}{headings[1:]}{said} of {rounds_text(records)}."


def table(run: Run, kinds: Sequence[str], rows: Sequence[str], by_place: dict[tuple[str, str], Record], form: str,
          turned: bool) -> str:
    def cell(kind: str, row: str) -> str:
        record = by_place.get((kind, row))
        return cell_text(run, record, form) if record else ""

    if turned:
        heads, lines = rows, [(kind, [cell(kind, row) for row in rows]) for kind in kinds]
    else:
        heads, lines = kinds, [(bold(row), [cell(kind, row) for kind in kinds]) for row in rows]
    return markdown(heads, lines)


def markdown(heads: Sequence[str], lines: Sequence[tuple[str, Sequence[str]]]) -> str:
    texts = [f"| | {' | '.join(heads)} |", f"|---|{'--:|' * len(heads)}"]
    return "\n".join([*texts, *(f"| {name} | {' | '.join(cells)} |" for name, cells in lines)]) + "\n"


def bold(row: str) -> str:
    return f"**{row}**" if is_ours(row) else row


def cell_text(run: Run, record: Record, form: str) -> str:
    if form == "value" or not run.bases(record):
        return number(record.value)
    shares = shares_of(run, record)
    is_base = record.row == run.bases(record)[0].row
    around = "" if is_base else spread(shares)
    ratio = number(statistics.median(shares))
    if form == "ratio":
        return f"{ratio} ({around})" if around else ratio
    return f"{number(record.value)} ({', '.join(filter(None, (ratio, around)))})"


def machine(run: Run) -> str:
    versions = [f"{name} {version}" for name, version in run.versions.items()
                if name not in ("python", "poolio", "OpenSSL") and version != "not installed"]
    kernel, python = run.machine["kernel"].partition("-")[0], run.machine["python"].partition(",")[0]
    return (f"Measured on {run.conditions['date'][:10]} (source {run.conditions['source']}): {run.machine['cpu']}, "
            f"{run.machine['cores']} cores, {kernel}, {python}, {', '.join(versions)}; loopback, one core each side.\n")
