"""Which parts are there? Their modules, each with one question, and what their docstrings say for the report."""

import importlib
import re
from dataclasses import dataclass
from typing import cast

from benchmarks.session import Part

PARTS = ("zeroing", "echo", "first", "streams", "framing", "commands", "datagrams", "tls", "loop", "programs", "memory",
         "allocation", "operations", "latency", "instructions")
NOT_SHOWN = "What it does not show: "


@dataclass(frozen=True)
class Text:
    question: str
    method: str
    not_shown: str


def part(name: str) -> Part:
    """A module is imported when it is asked for: the C programs and peers of others need not be there."""
    return cast(Part, importlib.import_module(f"benchmarks.{name}"))


def text(name: str) -> Text:
    """What a part's docstring says; nothing if this version has no such part, which an old file may name."""
    if name not in PARTS:
        return Text(name, "", "")
    question, _, rest = (part(name).__doc__ or "").partition("\n")
    method, _, not_shown = re.sub(r"\s+", " ", rest).partition(NOT_SHOWN)
    return Text(question, method.strip(), not_shown.strip())
