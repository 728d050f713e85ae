"""Owns how commands write to a terminal: in colours if it has them, in lines that it has room for.

Refuses to know what is written. Called by info and echo; the benchmarks have rich for this. What goes to a file or
a pipe has no colours and is not broken, so that programs can read it.
"""

import os
import shutil
import sys
import textwrap
from typing import TextIO

BOLD, DIM, END = "\x1b[1m", "\x1b[2m", "\x1b[0m"
NAME_COLUMNS = 22       # what names in front of values are padded to
ROOM_FOR_VALUES = 30    # columns: with less of them beside a name, the value stands on lines below it


def has_colours(out: TextIO) -> bool:
    """True on a terminal, unless NO_COLOR is set to anything or TERM is `dumb`."""
    return out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str, out: TextIO | None = None) -> str:
    return f"{style}{text}{END}" if has_colours(out or sys.stdout) else text


def width(out: TextIO | None = None) -> int | None:
    """The columns of the terminal; None if it is none."""
    return shutil.get_terminal_size().columns if (out or sys.stdout).isatty() else None


def pair(name: str, value: str, columns: int | None) -> list[str]:
    """The lines of a name and its value: side by side, or below each other where there is little room."""
    head = f"  {name:{NAME_COLUMNS}} "
    if columns is None:
        return [head + value]
    if columns - len(head) < ROOM_FOR_VALUES and len(head) + len(value) > columns:
        return [f"  {name}", *folded(value, columns, "    ")]
    lines = folded(value, columns, " " * len(head))
    return [head + lines[0].lstrip(), *lines[1:]]


def folded(text: str, columns: int, indent: str) -> list[str]:
    return textwrap.wrap(text, max(columns, len(indent) + 1), initial_indent=indent, subsequent_indent=indent,
                         break_on_hyphens=False) or [indent]
