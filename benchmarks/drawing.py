"""How is a picture written as SVG? By hand: bars, panels of bars, and curves, in the colours of a theme.

Nothing here knows what was measured. The same values give the same bytes on every machine, so that a committed picture
can be compared with what its figures give. Text is left to the reader's fonts: the layout leaves room for wide ones. A
theme for a page (PAGE) takes the page's own colour of text; LIGHT and DARK are for files that a page shows as images.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

FONT = "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', 'DejaVu Sans', sans-serif"
TEXT, SMALL = 13, 11.5  # units of the viewBox
LETTER = 0.6  # of the font's size: how wide a letter of a paragraph is, generously
NAME_LETTER = 0.54  # of a row's name
WIDE, NARROW = 660.0, 400.0
FAR_APART = 12  # times: a logarithmic axis


@dataclass(frozen=True)
class Theme:
    ink: str  # text
    soft: str  # text that explains, and axes
    faint: str  # lines behind the data
    tones: dict[str, str]  # of bars
    lines: tuple[str, ...]  # of curves


TONES_LIGHT = {"ours": "#1f6feb", "ours, zeroed": "#83b4f7", "zeroed": "#e5703a", "others": "#8c959f"}
TONES_DARK = {"ours": "#58a6ff", "ours, zeroed": "#2f6cb8", "zeroed": "#f0883e", "others": "#6e7681"}
TONES_PAGE = {"ours": "#2f8fd0", "ours, zeroed": "#8cc0e6", "zeroed": "#e0773f", "others": "#8f979f"}
LIGHT = Theme("#1f2328", "#59636e", "#d8dee4", TONES_LIGHT, ("#1f6feb", "#e5703a", "#8250df", "#57606a", "#1a7f37"))
DARK = Theme("#f0f6fc", "#9ea7b1", "#3d444d", TONES_DARK, ("#58a6ff", "#f0883e", "#bc8cff", "#adb5bd", "#3fb950"))
PAGE = Theme("currentColor", "currentColor", "rgb(128 128 128 / 35%)", TONES_PAGE,
             ("#2f8fd0", "#e0773f", "#b06fc4", "#8f979f", "#37a78f"))


@dataclass(frozen=True)
class Bar:
    name: str
    values: Sequence[float]
    tone: str

    @property
    def middle(self) -> float:
        return statistics.median(self.values)


@dataclass(frozen=True)
class Panel:
    """Bars that share a scale; a None leaves its line empty."""

    heading: str
    unit: str
    bars: Sequence[Bar | None]
    said: Callable[[float], str]


class Scale:
    """Values to places between 0 and `length`; one value alone begins a range."""

    def __init__(self, low: float, high: float, length: float, logarithmic: bool) -> None:
        self.low, self.high, self.length, self.logarithmic = low, max(high, 2 * low), length, logarithmic

    def at(self, value: float) -> float:
        if not self.logarithmic:
            return self.length * (value - self.low) / (self.high - self.low)
        return self.length * math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)

    def ticks(self) -> list[float]:
        if self.logarithmic:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            if last - first >= 2:
                return [10.0 ** power for power in range(first, last + 1)]
            steps = (step * 10.0 ** power for power in range(first - 1, last + 1) for step in (1, 2, 5))
            return [value for value in steps if self.low <= value <= self.high]
        about = (self.high - self.low) / 4
        power = 10.0 ** math.floor(math.log10(about))
        step = next(step * power for step in (1, 2, 5, 10) if step * power >= about)
        return [number * step for number in range(int(self.high / step + 1e-9) + 1)]


class Picture:
    """Elements of a drawing, in the order in which they are painted."""

    def __init__(self, width: float, theme: Theme) -> None:
        self.width, self.theme, self.parts = width, theme, list[str]()

    def text(self, x: float, y: float, said: str, *, color: str = "", size: float = TEXT, anchor: str = "start",
             bold: bool = False) -> None:
        weight = ' font-weight="600"' if bold else ""
        self.parts.append(f'<text x="{place(x)}" y="{place(y)}" fill="{color or self.theme.ink}" font-size="{size:g}"'
                          f' text-anchor="{anchor}"{weight}>{escape(said)}</text>')

    def box(self, x: float, y: float, width: float, height: float, color: str) -> None:
        self.parts.append(f'<rect x="{place(x)}" y="{place(y)}" width="{place(max(width, 0.5))}"'
                          f' height="{place(height)}" rx="1.5" fill="{color}"/>')

    def line(self, points: Sequence[tuple[float, float]], color: str, width: float = 1.0) -> None:
        path = " ".join(f"{place(x)},{place(y)}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{width:g}"'
                          ' stroke-linejoin="round"/>')

    def dot(self, x: float, y: float, color: str) -> None:
        self.parts.append(f'<circle cx="{place(x)}" cy="{place(y)}" r="2.6" fill="{color}"/>')

    def paragraph(self, x: float, y: float, said: str, room: float, **look: object) -> float:
        """Text in as many lines as it needs; returns where the next line goes."""
        size = float(look.get("size", TEXT))  # type: ignore[arg-type]
        for line in wrapped(said, int(room / (size * LETTER))):
            self.text(x, y, line, **look)  # type: ignore[arg-type]
            y += 1.4 * size
        return y

    def svg(self, height: float, label: str) -> str:
        """A namespace and a size of its own, so that it is a file as well as an element of a page."""
        size = f'viewBox="0 0 {place(self.width)} {place(height)}"'
        return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(label)}"'
                          f' font-family="{FONT}">', *self.parts, "</svg>\n"])


def place(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def wrapped(said: str, letters: int) -> list[str]:
    lines = [""]
    for word in said.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > letters:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def axis_text(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 or not value else f"{value:g}"


# --- Bars, each under its name ---

def bars(title: str, shown: Sequence[Bar], said: Callable[[float], str], reference: float | None, axis: str,
         theme: Theme) -> str:
    """Medians, with lines from the lowest to the highest of the values."""
    picture = Picture(NARROW, theme)
    scale = scale_of_bars(shown, NARROW - 16)
    pitch, top = 34, 4
    bottom = top + pitch * len(shown) + 6
    for tick in ([] if reference is None else [reference]):
        picture.line([(8 + scale.at(tick), top), (8 + scale.at(tick), bottom)], theme.faint, 1.5)
    for number, bar in enumerate(shown):
        y = top + pitch * number
        picture.text(8, y + 13, f"{bar.name}: {said(bar.middle)}")
        draw_bar(picture, 8, y + 18, 10, scale, bar)
    draw_axis_below(picture, 8, bottom, scale, axis + (" (logarithmic)" if scale.logarithmic else ""))
    return picture.svg(bottom + 38, title)


def scale_of_bars(shown: Sequence[Bar], length: float) -> Scale:
    low, high = min(bar.middle for bar in shown), max(max(bar.values) for bar in shown)
    if low > 0 and max(bar.middle for bar in shown) > FAR_APART * low:
        return Scale(low / 2, high, length, True)
    return Scale(0, high or 1, length, False)


def draw_bar(picture: Picture, x: float, y: float, height: float, scale: Scale, bar: Bar) -> None:
    picture.box(x, y, scale.at(bar.middle), height, picture.theme.tones[bar.tone])
    least, most = (x + scale.at(value) for value in (min(bar.values), max(bar.values)))
    if most - least >= 1:
        picture.line([(least, y + height / 2), (most, y + height / 2)], picture.theme.ink, 1.2)


def draw_axis_below(picture: Picture, x: float, y: float, scale: Scale, said: str) -> None:
    picture.line([(x, y), (x + scale.length, y)], picture.theme.faint)
    for tick in scale.ticks():
        at = x + scale.at(tick)
        anchor = "start" if at - x < 20 else "end" if x + scale.length - at < 20 else "middle"
        picture.line([(at, y), (at, y + 4)], picture.theme.soft)
        picture.text(at, y + 15, axis_text(tick), color=picture.theme.soft, size=SMALL, anchor=anchor)
    picture.text(x, y + 31, said, color=picture.theme.soft, size=SMALL)


# --- Panels: the same rows several times, each panel with a scale of its own ---

@dataclass(frozen=True)
class Rows:
    """The names of the lines that panels share, in groups."""

    groups: Sequence[tuple[str, Sequence[str]]]

    @property
    def count(self) -> int:
        return sum(len(names) for _, names in self.groups)


PITCH, GROUP_PITCH, THICK, VALUE_ROOM = 22.0, 24.0, 13.0, 50.0


@dataclass(frozen=True)
class Layout:
    width: float
    across: int  # panels beside each other; the others below
    heading: bool  # or the page around it shows the title


FOR_A_PAGE = Layout(NARROW + 60, 1, heading=False)


def panels(title: str, below_title: str, rows: Rows, shown: Sequence[Panel], notes: str, theme: Theme,
           layout: Layout) -> str:
    width, across = layout.width, layout.across
    picture = Picture(width, theme)
    y = picture.paragraph(8, 22, title, width / 1.15, size=16, bold=True) if layout.heading else 14.0
    y = picture.paragraph(8, y, below_title, width, color=theme.soft) + 6
    names_room = 28 + TEXT * NAME_LETTER * max(len(name) for _, names in rows.groups for name in names)
    room = (width - names_room - 8) / across
    for first in range(0, len(shown), across):
        beside = shown[first:first + across]
        for number, panel in enumerate(beside):
            draw_panel(picture, names_room + number * room, y, room - 12, rows, panel)
        y = draw_names(picture, y + 40, rows) + 14
    y = picture.paragraph(8, y + 4, notes, width, color=theme.soft, size=SMALL)
    return picture.svg(y, title)


def lines_of(rows: Rows, y: float) -> list[float]:
    """Where each line's bar begins, below the headings of the groups."""
    found = []
    for heading, names in rows.groups:
        y += GROUP_PITCH if heading else 6
        found += [y + PITCH * number for number in range(len(names))]
        y += PITCH * len(names) + 4
    return found


def draw_names(picture: Picture, y: float, rows: Rows) -> float:
    places = iter(lines_of(rows, y))
    bottom = y
    for heading, names in rows.groups:
        for number, name in enumerate(names):
            at = next(places)
            if heading and number == 0:
                picture.text(8, at - 8, heading, bold=True)
            picture.text(20 if heading else 8, at + THICK - 2.5, name)
            bottom = at + PITCH
    return bottom


def draw_panel(picture: Picture, x: float, y: float, room: float, rows: Rows, panel: Panel) -> None:
    picture.text(x, y + 12, panel.heading, bold=True)
    picture.text(x, y + 28, panel.unit, color=picture.theme.soft, size=SMALL)
    there = [bar for bar in panel.bars if bar is not None]
    scale = Scale(0, max(max(bar.values) for bar in there) or 1, room - VALUE_ROOM, False)
    places = lines_of(rows, y + 40)
    picture.line([(x, y + 44), (x, places[-1] + PITCH)], picture.theme.faint)
    for at, bar in zip(places, panel.bars, strict=True):
        if bar is not None:
            draw_bar(picture, x, at, THICK, scale, bar)
            picture.text(x + scale.at(max(bar.values)) + 5, at + THICK - 2.5, panel.said(bar.middle))


# --- Curves over sizes, both axes logarithmic ---

def curves(title: str, below_title: str, shown: dict[str, list[tuple[float, float]]],
           sizes: Callable[[float], str], notes: str, theme: Theme, width: float) -> str:
    picture = Picture(width, theme)
    left, right, high = 60.0, width - 20, 240.0
    y = picture.paragraph(8, 22, title, width / 1.15, size=16, bold=True) if below_title else 14.0
    y = picture.paragraph(8, y, below_title, width, color=theme.soft) + 4 if below_title else y
    y = draw_legend(picture, left, y, list(shown), right - left) + 14
    points = [point for line in shown.values() for point in line]
    across = Scale(min(x for x, _ in points), max(x for x, _ in points), right - left, True)
    up = Scale(min(v for _, v in points) / 1.2, max(v for _, v in points) * 1.2, high, True)
    bottom = y + high
    for tick in up.ticks():
        picture.line([(left, bottom - up.at(tick)), (right, bottom - up.at(tick))], theme.faint)
        picture.text(left - 8, bottom - up.at(tick) + 4, axis_text(tick), color=theme.soft, size=SMALL, anchor="end")
    for size in sorted({x for x, _ in points}):
        if math.log2(size) % 4 == 0:
            at = left + across.at(size)
            picture.text(at, bottom + 18, sizes(size), color=theme.soft, size=SMALL, anchor="middle")
    for number, line in enumerate(shown.values()):
        color = theme.lines[number % len(theme.lines)]
        places = [(left + across.at(x), bottom - up.at(value)) for x, value in line]
        picture.line(places, color, 2)
        for x, height in places:
            picture.dot(x, height, color)
    end = picture.paragraph(8, bottom + 42, notes, width, color=theme.soft, size=SMALL) if notes else bottom + 28
    return picture.svg(end, title)


def draw_legend(picture: Picture, x: float, y: float, names: Sequence[str], room: float) -> float:
    """In columns, as wide as the longest name may be."""
    column = max(len(name) for name in names) * TEXT * LETTER + 34
    columns = max(1, int(room / column))
    for number, name in enumerate(names):
        at, line = x + number % columns * column, y + number // columns * 18
        color = picture.theme.lines[number % len(picture.theme.lines)]
        picture.line([(at, line - 4), (at + 18, line - 4)], color, 3)
        picture.text(at + 24, line, name)
    return y + (len(names) - 1) // columns * 18
