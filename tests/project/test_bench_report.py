"""What `python -m poolio bench` makes of a run: the page, the terminal's tables; and a row or part that is absent."""

import html.parser
import mmap
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time
import types

import pytest
from kit.benchruns import CPU, LIMIT, MACHINE, ROOT, record, run, whole_run

import poolio
from benchmarks import (
    callgrind,
    cli,
    compare,
    harness,
    instructions,
    machine,
    parts,
    records,
    report,
    session,
    tables,
    terminal,
)
from poolio.memory.slab import BUILD_VARIANT

VOID = {"meta", "br", "hr", "img", "input", "link"}
LOADING = {"src", "href", "xlink:href", "data", "poster", "srcset", "action", "background"}


class Page(html.parser.HTMLParser):
    """Elements that are not closed in order, what is loaded, and the ids."""

    def __init__(self, text):
        super().__init__()
        self.open, self.loads, self.ids, self.tags, self.text = [], [], [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.handle_startendtag(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.loads += [value for name, value in attributes if name in LOADING]
        self.ids += [value for name, value in attributes if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def compared(old, new):
    return report.view(compare.compare(old, new), "old.json")


def changed_run():
    new = whole_run()
    new.records = [record("poolio.EventLoop", (3.0, 3.1, 3.2)) if (
        found.row, found.figure) == ("poolio.EventLoop", CPU) else found for found in new.records]
    new.machine["cpu"] = "Abacus 4000"
    return new


@pytest.fixture(scope="module")
def page():
    new = changed_run()
    return report.html(new, compared(whole_run(), new))


def test_page_parses_and_loads_nothing(page):
    found = Page(page)
    assert found.loads and all(link.startswith("#") for link in found.loads)
    assert {link[1:] for link in found.loads} <= set(found.ids)
    assert not {"link", "script", "img", "iframe", "object", "embed"} & set(found.tags)
    assert "@import" not in page and not re.search(r"url\((?!#)", page)


def test_page_shows_figures_ratios_spreads_and_rounds(page):
    text = Page(page).text
    assert "echo: 64 B x 64 (3 rounds)" in text
    assert f"to {LIMIT}" in text
    assert "1.25 1.20..1.30" in text  # uvloop's ratio
    assert "2.50 2.40..2.60" in text  # and its time


def test_page_shows_machine_versions_and_command(page):
    text = Page(page).text
    for shown in ("Abacus 4000", "Linux 6.1", "0.22.0", "python -m poolio bench", "seed", "-O3"):
        assert shown in text


def test_page_says_what_is_measured_and_what_is_not_shown(page):
    text = Page(page).text
    for name in ("echo", "memory", "allocation"):
        assert parts.text(name).question in text
        assert parts.text(name).not_shown in text


def test_page_names_what_is_absent_and_escapes_it(page):
    text = Page(page).text
    assert "rloop Protocol: absent, rloop not installed" in text
    assert "broken <b>: failed: it said <script>alert(1)</script> & ended" in text
    assert "OpenSSL's headers are not installed" in text


def test_page_shows_the_comparison_with_its_warning_first(page):
    text = Page(page).text
    assert text.index("cpu: Abacus 3000 then, Abacus 4000 now") < text.index("What does an echo server")
    assert "echo: 64 B x 64: poolio.EventLoop" in text and "+47.6 %" in text and compare.WORSE in text
    assert "1 worse, beyond noise" in text


def test_page_has_a_picture_of_each_kind_in_the_pages_colour(page):
    pictures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(pictures) == 6  # echo, memory, two of allocation, operations, instructions
    assert all("currentColor" in picture and "<metadata" not in picture for picture in pictures)


def test_page_without_comparison_or_records():
    assert "compared" not in Page(report.html(whole_run())).ids
    nothing = run()
    nothing.records.clear()
    assert "Abacus 3000" in Page(report.html(nothing)).text


def test_terminal_shows_the_same_tables(capsys):
    new = changed_run()
    out = terminal.console()
    terminal.show_all(new, out)
    terminal.show_comparison(compared(whole_run(), new), out)
    shown = capsys.readouterr().out
    for text in ("1.25 (1.20..1.30)", "rloop Protocol: absent, rloop not installed", "tls: not measured", "+47.6 %",
                 "cpu: Abacus 3000 then, Abacus 4000 now", "broken <b>: failed"):
        assert text in shown


def test_row_that_is_absent_from_all_kinds_of_a_matrix_stands_once(capsys):
    found = whole_run()
    reasons = [("numpy.empty", "numpy not installed", False)] * 3 + [("bytes", "it broke", True)]
    found.absent += [records.Absent("allocation", kind, *reason) for kind, reason in zip("abca", reasons, strict=True)]
    section = report.section(found, "allocation")
    assert section.absent == []
    assert [(absent.row, absent.failed) for absent in section.tables[0].absent] == [
        ("numpy.empty", False), ("bytes", True)]
    terminal.show(found, "allocation", terminal.console())
    shown = capsys.readouterr().out
    assert shown.count("numpy not installed") == 1 and shown.count("it broke") == 1


def test_number_keeps_about_three_digits():
    assert [tables.number(value) for value in (0, 0.0123, 0.5, 12.34, 123.4, 12345.6)] == [
        "0", "0.012", "0.50", "12.3", "123", "12,346"]


def test_run_that_was_interrupted_is_kept_and_says_so(tmp_path, capsys, monkeypatch):
    def interrupted(self, name, part):
        self.run.records.append(record("poolio.EventLoop", (2.0,)))
        raise KeyboardInterrupt

    monkeypatch.setattr(session.Session, "measure", interrupted)
    page, data = tmp_path / "page.html", tmp_path / "data.json"
    assert cli.main(["echo", "tls", "--html", str(page), "--json", str(data)]) == 130
    assert len(records.load(data).records) == 1
    assert "interrupted" in Page(page.read_text()).text and "interrupted" in capsys.readouterr().out


class MadeUp:
    """What this part measures."""

    KINDS, ROUNDS, SECONDS, QUICK = ("64x64",), 3, 0.5, None

    def rows(self, kind):
        return {LIMIT: (), "ours": (), "peer": ("no_such_module",), "breaks": ()}

    def figures(self, kind):
        return (CPU,)

    def title(self, kind):
        return kind

    def prepare(self):
        pass

    def measured(self, task):
        if task.row == "breaks":
            raise harness.BenchmarkFailed("it broke")
        return {CPU.name: 2.0}


def measured(part, **options):
    found = session.Session(session.Options(**options), run())
    found.run.records.clear()
    found.measure("made up", part)
    return found.run


def test_missing_peer_is_a_named_row_and_a_broken_one_failed():
    found = measured(MadeUp())
    assert [(record.row, record.values) for record in found.records] == [(LIMIT, (2.0,) * 3), ("ours", (2.0,) * 3)]
    assert {(absent.row, absent.reason, absent.failed) for absent in found.absent} == {
        ("peer", "no_such_module not installed", False), ("breaks", "it broke", True)}


def test_rows_by_words_have_what_they_are_divided_by():
    assert [record.row for record in measured(MadeUp(), rows=("OUR",)).records] == [LIMIT, "ours"]
    assert measured(MadeUp(), rows=("nothing",)).records == []


def test_base_that_fails_ends_its_kind():
    part = MadeUp()
    part.figures = lambda kind: (records.Figure(CPU.name, "us", ("breaks",)),)
    found = measured(part)
    assert found.records == [] and [absent.row for absent in found.absent if absent.failed] == ["breaks"]


def test_part_that_cannot_be_measured_here_says_why():
    part = MadeUp()

    def prepare():
        raise harness.Unavailable("no compiler")

    part.prepare = prepare
    found = measured(part)
    assert (found.records, found.absent) == ([], [records.Absent("made up", "", "", "no compiler")])


@pytest.mark.parametrize("name", parts.PARTS)
def test_part_keeps_the_contract(name):
    part, text = parts.part(name), parts.text(name)
    assert text.question.endswith(("?", ".")) and "?" in text.question and text.not_shown
    for kind in part.KINDS:
        rows, figures = part.rows(kind), part.figures(kind)
        assert part.title(kind) and rows
        assert set(figures[0].bases[:1]) <= set(rows)
    if part.QUICK:
        assert set(part.QUICK.kinds) <= set(part.KINDS)
        assert set(part.QUICK.rows) <= {row for kind in part.QUICK.kinds for row in part.rows(kind)}
        assert {base for kind in part.QUICK.kinds for base in part.figures(kind)[0].bases[:1]} <= set(part.QUICK.rows)
    with pytest.raises(ValueError, match="nosuch7"):
        part.rows("nosuch7")


@pytest.mark.parametrize(("kind", "found"), [("64", ("", 64, 1)), ("flows64x8", ("flows", 64, 8))])
def test_kind_is_split(kind, found):
    assert harness.split_kind(kind, ("", "flows")) == found


@pytest.mark.parametrize("kind", ["", "x", "0x64", "64x0", "64x", "flows", "64x64x64", "-1"])
def test_kind_that_is_none_is_refused(kind):
    with pytest.raises(ValueError, match="no kind here"):
        harness.split_kind(kind, ("", "flows"))


@pytest.mark.parametrize(("arguments", "said"), [
    (["nosuch"], "nosuch"), (["--rounds", "0"], "at least 1, not 0"), (["--seconds", "nan"], "not nan"),
    (["--kinds", "64x64"], "one part"), (["echo", "--kinds", "bulk64"], "bulk64"), (["--rows", "zzz"], "zzz"),
    (["echo", "--check"], "latency"), (["--quick", "--check"], "latency"),
    (["--compare", "old.json", "--json", "./old.json"], "old.json"),
])
def test_bad_arguments_are_named(arguments, said, capsys):
    with pytest.raises(SystemExit):
        cli.parse(arguments)
    assert said in capsys.readouterr().err


def test_saved_runs_are_shown_and_compared_without_measuring(tmp_path, capsys):
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    records.save(whole_run(), old)
    records.save(changed_run(), new)
    page = tmp_path / "pages" / "report.html"
    assert cli.main(["--from", str(new), "--compare", str(old), "--html", str(page)]) == 1  # as a row of it has failed
    assert "+47.6 %" in capsys.readouterr().out
    assert compare.WORSE in Page(page.read_text()).text


def test_quick_run_says_which_parts_it_leaves_out(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(session.Session, "measure", lambda self, name, part: None)
    data = tmp_path / "data.json"
    assert cli.main(["--quick", "--html", str(tmp_path / "page.html"), "--json", str(data)]) == 0
    assert {absent.part for absent in records.load(data).absent} == {"programs", "latency", "instructions"}
    assert "latency: not measured: not in a quick run" in capsys.readouterr().out
    assert cli.left_out(cli.parse(["--quick", "--check", "latency"])) == []


def test_missing_file_to_compare_with_is_said_before_measuring(tmp_path, capsys):
    assert cli.main(["--compare", str(tmp_path / "none.json")]) == 2
    assert "none.json" in capsys.readouterr().out


def test_list_names_parts_kinds_and_rows(capsys):
    assert cli.main(["--list"]) == 0
    shown = capsys.readouterr().out
    for name in parts.PARTS:
        assert f"{name}: {parts.text(name).question[:40]}" in shown
    assert "64x1000" in shown and "poolio.EventLoop" in shown


def test_cpu_is_the_low_quantile_of_joined_windows():
    windows = [(1, 900), (9, 100), (10, 3000), (10, 2000), (10, 4000), (10, 5000), (3, 9999)]
    assert harness.cpu_ns(windows, enough=10) == 200  # of 100, 300, 200, 400 and 500 the second
    assert harness.cpu_ns([(2, 100), (3, 900)], enough=10) == 200  # not even one: the mean
    assert harness.cpu_ns([(10, 0), (10, 4000), (10, 0)], enough=10) == 200  # its work fell into another window
    with pytest.raises(harness.BenchmarkFailed, match="--seconds"):
        harness.cpu_ns([(0, 100)], enough=10)


def test_instructions_of_one_connection_are_not_compared():
    noises = [instructions.figures(kind)[0].noise for kind in ("64x64", "64x1")]
    assert noises == [instructions.NOISE, 0] and noises[0] <= compare.EXACT


def test_children_find_the_poolio_that_is_tested():
    first, second = harness.child_environment()["PYTHONPATH"].split(os.pathsep)[:2]
    assert (first, second) == (str(pathlib.Path(poolio.__file__).parent.parent), str(ROOT))


NEEDS_PROC = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


@NEEDS_PROC
def test_peak_that_came_before_is_forgotten():
    def peak_kib():
        return int(re.search(r"VmHWM:\s*(\d+)", pathlib.Path("/proc/self/status").read_text())[1])

    with mmap.mmap(-1, 64 << 20) as pages:
        pages.write(b"x" * len(pages))
    before = peak_kib()
    try:
        harness.forget_peak(os.getpid())
    except harness.Unavailable as reason:
        pytest.skip(str(reason))
    assert peak_kib() < before - (32 << 10)


@NEEDS_PROC
def test_cpu_time_of_other_threads_is_seen():
    worked, enough = threading.Event(), threading.Event()

    def work():
        while time.thread_time() < 0.1:
            pass
        worked.set()
        enough.wait()

    _, before = harness.thread_times(os.getpid())
    if not pathlib.Path("/proc/self/schedstat").exists():
        pytest.skip("this kernel has no schedstat")
    thread = threading.Thread(target=work)
    thread.start()
    worked.wait()
    _, after = harness.thread_times(os.getpid())
    enough.set()
    thread.join()
    assert after - before > 50_000_000


@pytest.mark.parametrize(("others", "fails"), [(1000, False), (500_000, True)])
def test_server_with_other_threads_that_work_fails(others, fails, monkeypatch):
    times = iter([(0, 0), (1_000_000, others)])
    monkeypatch.setattr(harness, "thread_times", lambda pid: next(times))
    monkeypatch.setattr(harness, "drive", lambda server, program, *arguments: '{"windows": []}')
    server = types.SimpleNamespace(name="two threads", process=types.SimpleNamespace(pid=1))
    if fails:
        with pytest.raises(harness.BenchmarkFailed, match=r"two threads.*50\.0 %"):
            harness.drive_json(server, "loadgen")
    else:
        assert harness.drive_json(server, "loadgen") == {"windows": []}


def test_machine_names_where_it_was_measured():
    found = machine.machine()
    assert all(found.values()) and set(MACHINE) <= set(found)
    assert BUILD_VARIANT in found["poolio's build"]
    assert machine.versions()["poolio"] == poolio.__version__


NEEDS_C = pytest.mark.skipif(shutil.which("cc") is None or not sys.platform.startswith("linux"),
                             reason="the load generators are C programs for Linux")


BENCH = f"import sys; sys.path.append({str(ROOT)!r}); from benchmarks import cli; sys.exit(cli.main(sys.argv[1:]))"


def really_measured(part, tmp_path, *kinds):
    """One short round of the rows of one name, and of C; 64x2 if no kind is named."""
    page, data = tmp_path / "report.html", tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, "-c", BENCH, part, "--kinds", *(kinds or ("64x2",)), "--rows", "EventLoop, asyncio.Protocol",
         "--rounds", "1", "--seconds", "0.2", "--seed", "1", "--html", str(page), "--json", str(data)],
        capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert Page(page.read_text()).text
    return records.load(data)


@NEEDS_C
def test_echo_is_measured_and_written(tmp_path):
    found = really_measured("echo", tmp_path)
    row = "poolio.EventLoop, asyncio.Protocol"
    assert {record.row for record in found.records} == {LIMIT, row, f"{row}, counting"}
    assert all(value > 0 for record in found.records for value in record.values)
    assert found.conditions["seed"] == "1" and "echo, clock" in found.conditions


@NEEDS_C
@pytest.mark.parametrize(("program", "module", "arguments", "enough"), [
    ("loadgen", "servers", (2, 64), 10), ("blast", "receivers", (2, "bulk65536"), 1 << 20),
    ("flood", "endpoints", ("flows64", 2), 10)])
def test_windows_are_closed_where_perf_is_not_permitted(program, module, arguments, enough):
    row = {"servers": (LIMIT,), "receivers": ("bulk65536", LIMIT), "endpoints": ("flows64", "C recvfrom")}[module]
    harness.build({"servers": "limit", "receivers": "sink", "endpoints": "dgram"}[module])
    blind = harness.build(program, f"{program}_without_perf", ["-DPOOLIO_NO_PERF"])
    with harness.serving(module, *row) as server:
        answer = harness.drive_json(server, blind, *arguments, 0.2, server.process.pid, 20)
    assert answer["clock"] == "schedstat"
    assert len(answer["windows"]) >= 1 and harness.cpu_ns(answer["windows"], enough) > 0


@NEEDS_C
def test_tls_is_measured_or_says_what_it_lacks(tmp_path):
    found = really_measured("tls", tmp_path)
    if found.absent:
        assert found.records == [] and re.search("libssl-dev|trustme", found.absent[0].reason)
    else:
        assert {record.row for record in found.records} == {LIMIT, "poolio.EventLoop, asyncio.Protocol"}
        assert found.conditions["tls, cipher"].startswith("TLS 1.3")


@NEEDS_C
def test_tls_sink_and_handshakes_are_measured_or_say_what_they_lack(tmp_path):
    found = really_measured("tls", tmp_path, "sink65536x2", "handshakes2")
    if found.absent:
        assert found.records == [] and re.search("libssl-dev|trustme", found.absent[0].reason)
    else:
        assert {(record.kind, record.figure.name) for record in found.records} == {
            ("sink, 64 KiB x 2", "server CPU a message"), ("handshakes, 2 at once", "server CPU a handshake"),
            ("handshakes, 2 at once", "handshakes")}
        assert all(record.value > 0 for record in found.records) and len(found.records) == 6


def test_instructions_for_openssl_are_its_own_and_those_of_what_it_calls(tmp_path):
    path = tmp_path / "callgrind.out"
    path.write_text(
        "events: Ir\n\nob=(1) /usr/bin/limit\nfn=(1) main\n10 7\ncob=(2) /lib/libssl.so.3\ncfn=(2) SSL_read\n"
        "calls=1 0\n11 160\n\nob=(2)\nfn=(2)\n0 100\ncob=(3) /lib/libc.so.6\ncfn=(3) memcpy\ncalls=2 0\n+1 50\n"
        "cob=(1)\ncfn=(4) read_received\ncalls=1 0\n+1 10\n\nob=(3)\nfn=(3)\n0 50\n\nob=(1)\nfn=(4)\n20 10\n"
        "totals: 167\n")
    assert callgrind.total(path) == 167
    assert callgrind.in_openssl(path) == 150
