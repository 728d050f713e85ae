"""Which pictures has a part in the report? Bars for each kind; before them, of zeroing, the charts of pictures.py.

How a picture is written is drawing.py's.
"""

from benchmarks import drawing, pictures
from benchmarks.drawing import PAGE, Bar
from benchmarks.records import Record, Run, in_order
from benchmarks.tables import figure_heading, is_ours, number


def of_part(run: Run, part: str) -> dict[str, str]:
    """SVG by title, for a page."""
    mine = [record for record in run.records if record.part == part]
    if part == "allocation":
        return {f"allocation: {what}": pictures.allocation_curves(mine, what, PAGE) for what in pictures.whats(mine)}
    if part == "operations":
        pairs = [Bar(record.kind, run.compared(record), "ours") for record in mine if is_ours(record.row)]
        title = "operations: ratio to the peer"
        return {title: drawing.bars(title, pairs, number, 1, "ratio, less is better", PAGE)} if pairs else {}
    found = pictures.of_zeroing(run, PAGE) if part == "zeroing" else {}
    for kind in in_order([record.kind for record in mine]):
        title = f"{part}: {kind}"
        found[title] = bars_of(run, [record for record in mine if record.kind == kind], title)
    return found


def bars_of(run: Run, records: list[Record], title: str) -> str:
    """The main figure of these records of one kind."""
    main = records[0].figure
    records = [record for record in records if record.figure.name == main.name]
    bases = run.bases(records[0])
    axis = f"{main.name}, ratio to {bases[0].row}" if bases else figure_heading(main)
    rows = [Bar(record.row, run.compared(record), "ours" if is_ours(record.row) else "others") for record in records]
    return drawing.bars(title, rows, number, 1 if bases else None, axis, PAGE)
