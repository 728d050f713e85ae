"""How a run looks in terminals: wide and narrow ones, with colours and without."""

import io
import re
import sys

import pytest
import rich.console
from kit.benchruns import whole_run
from kit.terminals import in_terminal

from benchmarks import compare, records, report, terminal

PROGRAM = (sys.executable, "-m", "poolio", "bench")
CONTROL = re.compile(r"\x1b\[[\d;?]*[a-zA-Z]")


def shown(columns, compared=False):
    out = rich.console.Console(file=io.StringIO(), width=columns, highlight=False)
    terminal.show_all(whole_run(), out)
    if compared:
        terminal.show_comparison(report.view(compare.compare(whole_run(), whole_run()), "old.json"), out)
    return out.file.getvalue()


@pytest.mark.parametrize("columns", (180, 100, 60, 40))
def test_figures_are_whole_in_any_width(columns):
    text = shown(columns, compared=True)
    assert "…" not in text and max(map(len, text.splitlines())) <= columns
    for figure in ("100,000", "(2.40..2.60)", "1,189", "+0.0 %"):
        assert figure in text


def test_wide_terminal_has_a_table_and_a_narrow_one_a_list():
    assert re.search(r"│ uvloop Protocol +│ +1.25 \(1.20..1.30\)", shown(180))
    assert "uvloop Protocol\n    to C epoll, static buffer: 1.25" in shown(40)


def test_broken_markup_in_names_is_text():
    out = rich.console.Console(file=io.StringIO(), width=40)
    terminal.show_grid(terminal.Grid("[t]", "[f]", ["[h]"], [("[/b]", ["[/c]" * 20], "")]), out)
    assert "[/b]" in out.file.getvalue() and "[/c]" in out.file.getvalue()


@pytest.mark.parametrize("columns", (60, 40))
def test_progress_in_a_narrow_terminal_shows_how_far_it_is(columns):
    out = rich.console.Console(file=io.StringIO(), width=columns, force_terminal=True)
    with terminal.progress(out) as progress:
        progress.add_task("allocation, 1 MiB", total=40, completed=12, row="poolio on_release, asyncio")
    last = CONTROL.sub("", out.file.getvalue())
    assert "12/40" in last and "poolio on" in last


@pytest.fixture
def saved(tmp_path):
    records.save(whole_run(), tmp_path / "run.json")
    return ("--from", str(tmp_path / "run.json"), "--html", str(tmp_path / "run.html"))


def test_bench_has_colours_in_a_terminal_unless_they_are_not_wanted(saved):
    assert re.search(r"\x1b\[[\d;]*36m", in_terminal(*PROGRAM, *saved, columns=120)[1])
    assert not re.search(r"\x1b\[[\d;]*3\dm", in_terminal(*PROGRAM, *saved, columns=120, NO_COLOR="1")[1])


@pytest.mark.parametrize("arguments", (("--list", "echo"), ("--help",)), ids=" ".join)
def test_bench_lists_and_helps_in_a_narrow_terminal(arguments):
    status, text = in_terminal(*PROGRAM, *arguments, columns=60)
    assert status == 0
    assert "What does an echo server" in re.sub(r"\s+", " ", CONTROL.sub("", text))
