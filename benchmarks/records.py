"""What is a measurement? A record of rounds for each row and figure; what is absent; a run of them, to JSON and back.

A part (echo, datagrams, ...) measures kinds of work ("64 B x 64") for rows (servers, allocators). Each of its figures
is a Record: the raw values, one a round. Ratios are formed from the rounds of two records, never from their medians,
so a core that changes its speed between rounds meets both sides. Nothing here knows how anything is measured or shown.
"""

import dataclasses
import json
import pathlib
import statistics
from dataclasses import dataclass, field
from typing import Any

FORMAT = 1


@dataclass(frozen=True)
class Figure:
    """One of the things that a part counts."""

    name: str
    unit: str
    bases: tuple[str, ...] = ()  # rows to form ratios with, the main one first; those that are not there are left out
    noise: float = 0.0  # the share by which it moves between two runs of one build; 0: too much to be compared
    summary: str = "median"  # or "lowest": of timings inside this process, which a neighbour only makes longer


@dataclass(frozen=True)
class Record:
    part: str
    kind: str
    row: str
    figure: Figure
    values: tuple[float, ...]

    @property
    def value(self) -> float:
        return min(self.values) if self.figure.summary == "lowest" else statistics.median(self.values)


@dataclass(frozen=True)
class Absent:
    """What was not measured, and why. An empty kind or row means all of them."""

    part: str
    kind: str
    row: str
    reason: str
    failed: bool = False  # it should have been measured


@dataclass
class Run:
    machine: dict[str, str]
    versions: dict[str, str]  # of what is measured
    conditions: dict[str, str]  # date, command, seed, rounds, clocks, ...
    records: list[Record] = field(default_factory=list)
    absent: list[Absent] = field(default_factory=list)

    def find(self, part: str, kind: str, row: str, figure: str) -> Record | None:
        return next((record for record in self.records if (
            record.part, record.kind, record.row, record.figure.name) == (part, kind, row, figure)), None)

    def bases(self, record: Record) -> list[Record]:
        """The records that this one's ratios are formed with, itself among them if it is one."""
        found = (self.find(record.part, record.kind, row, record.figure.name) for row in record.figure.bases)
        return [base for base in found if base is not None]

    def compared(self, record: Record) -> tuple[float, ...]:
        """The ratios to its main base, or, where it has none, its values."""
        bases = self.bases(record)
        return ratios(record, bases[0]) if bases else record.values


def ratios(record: Record, base: Record) -> tuple[float, ...]:
    """Round by round."""
    return tuple(mine / other for mine, other in zip(record.values, base.values, strict=True))


def in_order(names: list[str]) -> list[str]:
    return list(dict.fromkeys(names))


def parts_of(run: Run) -> list[str]:
    return in_order([record.part for record in run.records] + [absent.part for absent in run.absent])


def save(run: Run, path: pathlib.Path) -> None:
    """A line for each record, and six digits of each value, so that a run that is kept is small and its changes are
    readable."""
    found = {"poolio bench": FORMAT} | dataclasses.asdict(as_saved(run))
    fields = (f' "{name}": {text_of(value)}' for name, value in found.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + ",\n".join(fields) + "\n}\n")


def as_saved(run: Run) -> Run:
    """The run that load() will give."""
    return dataclasses.replace(run, records=[
        dataclasses.replace(record, values=tuple(float(f"{value:.6g}") for value in record.values))
        for record in run.records])


def text_of(value: Any) -> str:
    """JSON, the items of a list or object on lines of their own."""
    if isinstance(value, list):
        return "[\n" + ",\n".join(f"  {json.dumps(item)}" for item in value) + "\n ]"
    return json.dumps(value, indent=1)


def load(path: pathlib.Path) -> Run:
    """ValueError, naming the file, if it is not one of save()."""
    try:
        data: dict[str, Any] = json.loads(path.read_text())
        found = data.pop("poolio bench")
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, AttributeError, TypeError):
        raise ValueError(f"{path} is no JSON file of `python -m poolio bench`") from None
    if found != FORMAT:
        raise ValueError(f"{path} has format {found!r}, this version reads {FORMAT}")
    try:
        return Run(data["machine"], data["versions"], data["conditions"],
                   [record_from(fields) for fields in data["records"]],
                   [Absent(**fields) for fields in data["absent"]])
    except (KeyError, TypeError) as exc:
        raise ValueError(f"{path} lacks something: {exc}") from None


def record_from(fields: dict[str, Any]) -> Record:
    figure = Figure(**fields["figure"])
    figure = dataclasses.replace(figure, bases=tuple(figure.bases))
    return Record(fields["part"], fields["kind"], fields["row"], figure, tuple(map(float, fields["values"])))
