"""What `python -m poolio bench --compare` calls a change, and what a JSON file keeps."""

import json

import pytest
from kit.benchruns import COUNTED, IDLE, LIMIT, RATE, record, run, whole_run

from benchmarks import compare, records


def only_change(old, new):
    change, = compare.compare(old, new).changes
    return change


def echo(*values):
    return run(record("poolio.EventLoop", values))


@pytest.mark.parametrize(("now", "verdict"), [
    ((2.6, 2.7, 2.8), compare.WORSE),
    ((1.6, 1.7, 1.8), compare.BETTER),
    ((2.2, 2.4, 2.8), compare.WITHIN),      # the rounds overlap
    ((2.22, 2.23, 2.24), compare.WITHIN),   # they do not, and the medians are 4 % apart: it moves so between runs
    ((2.6, 2.7), compare.TOO_FEW),
])
def test_verdict_of_rounds(now, verdict):
    old = echo(2.1, 2.14, 2.2)
    base = record(LIMIT, (2.0,) * len(now))
    new = run(record("poolio.EventLoop", now))
    new.records[0] = base
    assert only_change(old, new).verdict == verdict


def test_change_is_of_the_ratio_in_the_round_not_of_the_time():
    old = echo(2.0, 2.2, 2.4)
    twice_as_slow = run(record("poolio.EventLoop", (4.0, 4.4, 4.8)))
    twice_as_slow.records[0] = record(LIMIT, (4.0, 4.0, 4.0))
    change = only_change(old, twice_as_slow)
    assert (change.unit, change.new, change.verdict) == ("ratio", (1.0, 1.1, 1.2), compare.WITHIN)
    assert change.percent == pytest.approx(0)


def test_change_in_percent_is_of_the_medians():
    assert only_change(echo(2.0, 2.0, 2.0), echo(3.0, 2.5, 2.0)).percent == pytest.approx(25)


def test_figure_without_base_is_compared_by_its_values():
    old, new = (run(record("poolio.EventLoop", values, IDLE, "memory")) for values in ((1, 1, 1), (2, 2, 2)))
    change = only_change(old, new)
    assert (change.unit, change.verdict, change.percent) == ("KiB", compare.WORSE, 100)


def test_nothing_to_divide_by_has_no_percent():
    old, new = (run(record("poolio.EventLoop", values, IDLE, "memory")) for values in ((0, 0, 0), (2, 2, 2)))
    assert only_change(old, new).percent is None


def test_one_round_is_enough_for_what_repeats_exactly():
    old, new = (run(record("poolio.EventLoop", (value,), COUNTED)) for value in (1000, 1030))
    assert only_change(old, new).verdict == compare.WORSE
    assert only_change(old, old).verdict == compare.WITHIN


def test_figure_that_moves_by_itself_is_not_compared():
    old, new = (run(record("poolio.EventLoop", values, RATE)) for values in ((1, 1, 1), (9, 9, 9)))
    assert compare.compare(old, new).changes == []


def test_rows_of_one_run_only_are_named_so():
    found = compare.compare(run(record("gone", (2, 2, 2))), run(record("new", (2, 2, 2)))).changes
    assert {(change.row, change.verdict) for change in found} == {("new", compare.ONLY_NEW), ("gone", compare.ONLY_OLD)}
    assert [change.percent for change in found] == [None, None]


def test_parts_that_were_not_measured_now_are_one_warning_not_a_row_each():
    found = compare.compare(whole_run(), echo(2, 2, 2))
    assert {change.part for change in found.changes} == {"echo"}
    assert found.warnings == [
        "measured then, not now, and left out of the comparison: memory, allocation, operations, instructions"]


def test_row_divided_by_nothing_in_one_run_is_not_comparable():
    old, new = echo(2, 2, 2), echo(2, 2, 2)
    del new.records[0]
    assert only_change(old, new).verdict == compare.OTHER_BASE


def test_other_machine_versions_and_rounds_are_warned_of():
    old, new = whole_run(), whole_run()
    assert compare.compare(old, new).warnings == []
    new.machine["cpu"] = "Abacus 4000"
    del old.versions["uvloop"]
    new.conditions |= {"rounds": "5", "date": "later", "seed": "8", "tls, cipher": "only in this one"}
    assert compare.compare(old, new).warnings == [
        "cpu: Abacus 3000 then, Abacus 4000 now", "uvloop: not known then, 0.22.0 now", "rounds: 3 then, 5 now"]


def test_explanation_counts_what_chance_would_separate():
    comparison = compare.compare(whole_run(), whole_run())
    judged = [change for change in comparison.judged if change.noise > compare.EXACT]
    assert {len(change.old) for change in judged} == {3}
    assert compare.expected_by_chance(comparison.judged) == pytest.approx(0.1 * len(judged))  # 2 of 20 orders
    assert "10 %" in compare.explanation(comparison)
    assert "No row" in compare.explanation(compare.Comparison())


def test_json_keeps_everything(tmp_path):
    before = whole_run()
    records.save(before, tmp_path / "new" / "run.json")
    assert records.load(tmp_path / "new" / "run.json") == before


EMPTY = '"poolio bench": 1, "machine": {}, "versions": {}, "conditions": {}'


@pytest.mark.parametrize("text", ["", "{}", "[]", '"text"', "\x00\xff", "{" + EMPTY + "}",
                                  "{" + EMPTY + ', "records": [1], "absent": []}',
                                  "{" + EMPTY + ', "records": [], "absent": [{}]}'])
def test_json_of_something_else_is_refused(text, tmp_path):
    path = tmp_path / "other.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"other\.json"):
        records.load(path)


def test_json_of_another_format_is_refused(tmp_path):
    path = tmp_path / "run.json"
    records.save(whole_run(), path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"poolio bench": 2}))
    with pytest.raises(ValueError, match="format 2"):
        records.load(path)
