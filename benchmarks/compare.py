"""What has changed against an earlier run, and is it more than noise?

Compared are ratios to a figure's main base; where it has none, its values. Figures that move by themselves
(messages/s, latencies, what Figure.noise 0 says) are not compared. Less is better in all that are.

A change is beyond the noise if both hold. The rounds separate: every round of one run lies below every round of the
other. And the medians differ by more than the figure's own `noise`, by which it moves between two runs of the same
build: rounds of one run are alike in what differs between runs (where memory lies, who the neighbours are), so their
spread cannot tell. Rounds separate by chance, too: n and m of them in 2 of (n+m)!/(n!m!) cases, 10 % of 3 and 3.
expected_by_chance() is the number of rows that do so; the second condition lowers it. With fewer than MIN_ROUNDS there
is no verdict, except on what hardly moves (EXACT).
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.records import Record, Run, in_order

MIN_ROUNDS = 3
EXACT = 0.04  # noise of at most that: one round tells all
BETTER, WORSE = "better, beyond noise", "worse, beyond noise"
WITHIN, TOO_FEW, OTHER_BASE = "within noise", "too few rounds to tell", "divided by another row: not comparable"
ONLY_OLD, ONLY_NEW = "only in the earlier run", "only in this run"
VERDICTS = (BETTER, WORSE, WITHIN, TOO_FEW, OTHER_BASE, ONLY_OLD, ONLY_NEW)
PASSING = ("date", "source", "seed", "command", "took", "status")  # conditions that may differ
EXPLANATION = (
    "Beyond noise: all rounds of one run lie below all rounds of the other, and the medians differ by more than such a "
    "figure moves between two runs of the same build ({noises}), which the rounds of one run cannot show. By chance "
    "alone, rounds separate in {share} of the rows: {expected:.1f} of the {count} judged here, before the second "
    "condition.")


@dataclass(frozen=True)
class Change:
    part: str
    kind: str
    row: str
    figure: str
    unit: str  # "ratio", or that of the values
    old: tuple[float, ...]  # empty: it is not in that run
    new: tuple[float, ...]
    noise: float
    verdict: str

    @property
    def percent(self) -> float | None:
        """The change of the medians, in percent; None if there is no old one to divide by."""
        if not self.old or not self.new or not statistics.median(self.old):
            return None
        return 100 * (statistics.median(self.new) / statistics.median(self.old) - 1)

    @property
    def beyond(self) -> bool:
        return self.verdict in (BETTER, WORSE)


@dataclass
class Comparison:
    warnings: list[str] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    @property
    def judged(self) -> list[Change]:
        return [change for change in self.changes if change.verdict in (BETTER, WORSE, WITHIN)]


def verdict(old: Sequence[float], new: Sequence[float], noise: float) -> str:
    if noise > EXACT and min(len(old), len(new)) < MIN_ROUNDS:
        return TOO_FEW
    before, after = statistics.median(old), statistics.median(new)
    separate = max(old) < min(new) or max(new) < min(old)
    if not separate or abs(after - before) <= noise * before:
        return WITHIN
    return BETTER if after < before else WORSE


def chance(change: Change) -> float:
    """The probability that so many rounds separate although nothing has changed; 0 for what repeats exactly."""
    if change.noise <= EXACT:
        return 0.0
    return 2 / math.comb(len(change.old) + len(change.new), len(change.old))


def expected_by_chance(changes: Sequence[Change]) -> float:
    return sum(map(chance, changes))


def explanation(comparison: Comparison) -> str:
    judged = comparison.judged
    if not judged:
        return "No row could be judged."
    shares = sorted({chance(change) for change in judged})
    noises = sorted({change.noise for change in judged})
    return EXPLANATION.format(
        noises=", ".join(f"{100 * noise:g} %" for noise in noises), count=len(judged),
        share=" to ".join(f"{100 * share:.2g} %" for share in dict.fromkeys((shares[0], shares[-1]))),
        expected=expected_by_chance(judged))


def compare(old: Run, new: Run) -> Comparison:
    measured = {record.part for record in new.records}
    key = {(record.part, record.kind, record.row, record.figure.name): record
           for record in old.records if record.figure.noise and record.part in measured}
    found = Comparison(warnings(old, new))
    for record in new.records:
        before = key.pop((record.part, record.kind, record.row, record.figure.name), None)
        if record.figure.noise and not is_its_own_base(new, record):
            found.changes.append(change(old, new, before, record))
    found.changes += [change(old, new, before, None) for before in key.values() if not is_its_own_base(old, before)]
    return found


def is_its_own_base(run: Run, record: Record) -> bool:
    """Its ratio is 1, always."""
    return any(base.row == record.row for base in run.bases(record)[:1])


def change(old: Run, new: Run, before: Record | None, after: Record | None) -> Change:
    record = after or before
    assert record is not None
    old_base = [base.row for base in old.bases(before)[:1]] if before else []
    new_base = [base.row for base in new.bases(after)[:1]] if after else []
    was = old.compared(before) if before else ()
    now = new.compared(after) if after else ()
    if before is None or after is None:
        said = ONLY_NEW if before is None else ONLY_OLD
    elif old_base != new_base:
        said = OTHER_BASE
    else:
        said = verdict(was, now, record.figure.noise)
    unit = "ratio" if (new_base or old_base) else record.figure.unit
    return Change(record.part, record.kind, record.row, record.figure.name, unit, was, now, record.figure.noise, said)


def warnings(old: Run, new: Run) -> list[str]:
    """Where the two were taken under different circumstances. Of conditions only those that both runs have: each part
    has its own."""
    shared = old.conditions.keys() & new.conditions.keys()
    pairs = [(old.machine, new.machine, dict.fromkeys([*old.machine, *new.machine])),
             (old.versions, new.versions, dict.fromkeys([*old.versions, *new.versions])),
             (old.conditions, new.conditions, [name for name in new.conditions if name in shared - {*PASSING}])]
    found = [f"{name}: {was.get(name, 'not known')} then, {now.get(name, 'not known')} now"
             for was, now, names in pairs for name in names if was.get(name) != now.get(name)]
    gone = [part for part in in_order([record.part for record in old.records])
            if part not in {record.part for record in new.records}]
    return found + ([f"measured then, not now, and left out of the comparison: {', '.join(gone)}"] if gone else [])
