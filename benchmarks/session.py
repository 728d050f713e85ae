"""In which order is measured, and what happens to a row that fails? Interleaved rounds, in a newly shuffled order each.

A part is a module with: a docstring whose first line is its question; KINDS and QUICK (kinds and rows of `--quick`);
ROUNDS, SECONDS; figures(kind), rows(kind) (each row and the modules that it needs), title(kind), prepare(), and
measured(task), which measures one row once and returns a value for each figure. Nothing here knows what is measured.

A row whose modules are not installed is absent, with its reason; so is a part whose prepare() finds something missing.
A row that fails is left out from then on, and said to have failed; if the row that the others are divided by fails, its
kind ends.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.harness import BenchmarkFailed, Unavailable
from benchmarks.machine import why_missing
from benchmarks.records import Absent, Figure, Record, Run


@dataclass(frozen=True)
class Selection:
    """What of a part a run takes that is not whole."""

    kinds: tuple[str, ...]
    rows: tuple[str, ...] = ()  # none: all
    rounds: int = 3
    seconds: float = 0.25


@dataclass(frozen=True)
class Task:
    """One row, measured once."""

    kind: str
    row: str
    seconds: float
    notes: dict[str, str]  # what the measurement says of itself, the clock for example


class Part(Protocol):
    __doc__: str | None
    KINDS: tuple[str, ...]
    QUICK: Selection | None  # None: not in a quick run
    ROUNDS: int
    SECONDS: float  # 0: it has no such thing

    def rows(self, kind: str) -> dict[str, tuple[str, ...]]: ...
    def figures(self, kind: str) -> tuple[Figure, ...]: ...
    def title(self, kind: str) -> str: ...
    def prepare(self) -> None: ...
    def measured(self, task: Task) -> dict[str, float]: ...


@dataclass(frozen=True)
class Options:
    selections: Mapping[str, Selection] = field(default_factory=dict)  # by part; a part that has none is measured whole
    rounds: int | None = None
    seconds: float | None = None
    kinds: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()  # parts of names, in any case of letters
    seed: int = 0


def is_named(row: str, words: Sequence[str]) -> bool:
    return any(word.lower() in row.lower() for word in words)


@dataclass
class Session:
    options: Options
    run: Run
    started: Callable[[str, int], None] = lambda what, steps: None
    advanced: Callable[[str], None] = lambda row: None
    shuffle: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.shuffle = random.Random(self.options.seed)

    def measure(self, name: str, part: Part) -> None:
        try:
            part.prepare()
        except (Unavailable, BenchmarkFailed) as reason:
            failed = isinstance(reason, BenchmarkFailed)
            self.run.absent.append(Absent(name, "", "", str(reason), failed))
            return
        selected = self.options.selections.get(name)
        for kind in self.options.kinds or (selected.kinds if selected else part.KINDS):
            self.measure_kind(name, part, kind, selected)

    def wanted(self, rows: Sequence[str], base: tuple[str, ...], selected: Selection | None) -> list[str]:
        """What was asked for, and what it is divided by; none if nothing here was asked for."""
        if not self.options.rows:
            return [row for row in rows if selected is None or not selected.rows or row in selected.rows]
        named = [row for row in rows if is_named(row, self.options.rows)]
        return [row for row in rows if row in named or row in base] if named else []

    def measure_kind(self, name: str, part: Part, kind: str, selected: Selection | None) -> None:
        needs, figures, title = part.rows(kind), part.figures(kind), part.title(kind)
        base = figures[0].bases[:1]
        rows = []
        for row in self.wanted(list(needs), base, selected):
            lacking = why_missing(needs[row])
            if lacking:
                self.run.absent.append(Absent(name, title, row, lacking))
            else:
                rows.append(row)
        if not rows:
            return
        rounds = self.options.rounds or (selected.rounds if selected else part.ROUNDS)
        seconds = self.options.seconds or (selected.seconds if selected else part.SECONDS)
        notes: dict[str, str] = {}
        found: dict[str, list[dict[str, float]]] = {row: [] for row in rows}
        self.started(f"{name}, {title}", rounds * len(rows))
        for _ in range(rounds):
            for row in self.shuffle.sample(list(found), len(found)):
                self.advanced(row)
                try:
                    found[row].append(part.measured(Task(kind, row, seconds, notes)))
                except (BenchmarkFailed, Unavailable) as reason:
                    failed = isinstance(reason, BenchmarkFailed)
                    self.run.absent.append(Absent(name, title, row, str(reason), failed))
                    del found[row]
                    if row in base:
                        return
        for row in (row for row in rows if row in found):
            for figure in figures:
                values = tuple(measured[figure.name] for measured in found[row])
                self.run.records.append(Record(name, title, row, figure, values))
        for what, text in notes.items():
            self.run.conditions[f"{name}, {what}"] = text
