"""Figures and pictures of README and docs: what markers give, and that the pages show what the committed run gives."""

import re
import xml.etree.ElementTree

import pytest
from kit.benchruns import CPU, LIMIT, ROOT, record, run, whole_run

from benchmarks import cli, compare, drawing, markers, parts, pictures, plots, published, records, report, zeroing

OURS, FRESH = "poolio.EventLoop", "poolio.EventLoop, fresh bytearray a read"
MOST_BYTES = 1 << 20  # of the committed run
FIRST_TITLE = pictures.CHARTS["zeroing"].title
DRAWN = {f"{name}-{theme}.svg" for name in ("zeroing", "allocation", "echo") for theme in ("light", "dark")}


def zeroing_run():
    """Unsafe memory gives twice the throughput of zeroed memory at 64 B; of 1 MiB only one row was measured."""
    return run(
        record(FRESH, (10.0, 10.0, 10.0), part="zeroing"), record(OURS, (5.0, 4.8, 5.2), part="zeroing"),
        record(OURS, (400, 380, 420), part="zeroing", kind="1 MiB x 64"),
        record("alloc", (20.0, 21.0), records.Figure("an allocation", "ns", ("bytearray",)), "allocation",
               "dropped at once, 64 B"))


# --- In a sentence ---

@pytest.mark.parametrize(("marker", "shown"), [
    ("echo; 64 B x 64; poolio.EventLoop; value", "2.10"),
    ("echo; 64 B x 64; poolio.EventLoop; value messages", "91,000"),
    ("echo; 64 B x 64; poolio.EventLoop; ratio", "1.05"),
    ("echo; 64 B x 64; poolio.EventLoop; spread", "1.00..1.10"),
    ("echo; 64 B x 64; poolio.EventLoop; percent", "5"),
    ("echo; 64 B x 64; poolio.EventLoop; ratio messages to uvloop Protocol", "1.14"),
    ("echo; 64 B x 64; poolio.EventLoop; times to uvloop Protocol", "1.14"),
    ("echo; 64 B x 64; poolio.EventLoop & uvloop Protocol; percent", "5 to 25"),
    ("allocation; dropped at once, 64 B & dropped at once, 4 KiB; alloc; ratio", "0.37"),
    ("machine; cpu", "Abacus 3000"), ("versions; uvloop", "0.22.0"), ("conditions; seed", "7"),
])
def test_figure_in_a_sentence_is_rewritten(marker, shown):
    assert markers.rewritten(f"costs <!--fig {marker}-->9<!--/fig--> here", whole_run()) == (
        f"costs <!--fig {marker}-->{shown}<!--/fig--> here")


@pytest.mark.parametrize(("marker", "said"), [
    ("nosuch; a; b; value", "no such part was measured; there are echo"),
    ("echo; 1 B x 1; poolio.EventLoop; value", r"no such kind.*64 B x 64"),
    ("echo; 64 B x 64; nobody; value", r"no such row.*uvloop Protocol"),
    ("echo; 64 B x 64; poolio.EventLoop; value weight", r"no figure 'weight'.*messages"),
    ("echo; 64 B x 64; poolio.EventLoop; colour", "'colour' is none of value"),
    ("echo; 64 B x 64; poolio.EventLoop; ratio messages", "no base"),
    ("echo; 64 B x 64", "PART; KIND; ROW; WHAT"), ("machine; weight", "there are cpu"),
])
def test_figure_that_was_not_measured_says_what_there_is(marker, said):
    with pytest.raises(ValueError, match=said):
        markers.rewritten(f"<!--fig {marker}--><!--/fig-->", whole_run())


@pytest.mark.parametrize("text", ["<!--fig machine; cpu-->", "<!-- figures: machine -->\nno end"])
def test_marker_that_is_not_closed_is_found(text):
    with pytest.raises(ValueError, match="is not closed"):
        markers.rewritten(text, whole_run())


# --- Tables ---

def table_of(marker):
    text = markers.rewritten(f"before\n<!-- figures: {marker} -->\nold\n<!-- end figures -->\nafter\n", whole_run())
    assert text.startswith("before\n<!-- figures: ") and text.endswith("<!-- end figures -->\nafter\n")
    return [line for line in text.splitlines()[2:-2] if line]


def test_table_has_a_line_for_each_row_and_says_what_it_shows():
    assert table_of("echo; 64 B x 64") == [
        f"Server CPU a message, us; in brackets the ratio to {LIMIT} in the same round: median, lowest..highest of 3 "
        "rounds.",
        "| | 64 B x 64 |", "|---|--:|", f"| {LIMIT} | 2.00 (1.00) |", "| uvloop Protocol | 2.50 (1.25, 1.20..1.30) |",
        "| **poolio.EventLoop** | 2.10 (1.05, 1.00..1.10) |"]


def test_table_of_named_rows_and_figure():
    assert table_of("echo; 64 B x 64; poolio.EventLoop & uvloop Protocol; value messages") == [
        "Messages, /s: median of 3 rounds.", "| | 64 B x 64 |", "|---|--:|", "| **poolio.EventLoop** | 91,000 |",
        "| uvloop Protocol | 80,000 |"]


def test_turned_table_has_a_line_for_each_kind():
    assert table_of("allocation; ; ; turned ratio")[1:] == [
        "| | alloc | bytearray |", "|---|--:|--:|", "| dropped at once, 64 B | 0.37 (0.36..0.38) | 1.00 |",
        "| dropped at once, 4 KiB | 0.37 (0.36..0.38) | 1.00 |", "| 64 held, 64 B | 0.37 (0.36..0.38) | 1.00 |"]


def test_table_of_all_figures_of_one_kind():
    assert table_of("echo; 64 B x 64; poolio.EventLoop; figures") == [
        "64 B x 64: median of 3 rounds.", "| | server CPU a message, us | messages, /s |", "|---|--:|--:|",
        "| **poolio.EventLoop** | 2.10 | 91,000 |"]


@pytest.mark.parametrize(("marker", "said"), [
    ("echo; 1 B x 1", "no such kind"), ("allocation; ; ; figures", "of one kind, not of 3"),
    ("echo; 64 B x 64; nobody", "nobody|no such row"), ("nosuch", "no such part"),
    ("echo; 64 B x 64; ; colour", "'colour' is none of"),
])
def test_table_of_what_was_not_measured_is_refused(marker, said):
    with pytest.raises(ValueError, match=said):
        table_of(marker)


def test_machine_and_date_are_told():
    new = whole_run()
    new.conditions["source"] = "abc1234"
    text = markers.rewritten("<!-- figures: machine -->\n<!-- end figures -->", new)
    assert "Measured on 2026-01-02 (source abc1234): Abacus 3000" in text and "uvloop 0.22.0" in text
    assert "rloop" not in text  # it is not installed


def test_rewriting_twice_changes_nothing():
    text = "<!-- figures: echo -->\n<!-- end figures -->\n<!--fig machine; cpu--><!--/fig-->\n"
    once = markers.rewritten(text, whole_run())
    assert once != text and markers.rewritten(once, whole_run()) == once


# --- Pictures ---

def test_published_pictures_are_svg_that_loads_nothing():
    found = published.pictures(zeroing_run())
    assert {path.name for path in found} == DRAWN
    for svg in found.values():
        tree = xml.etree.ElementTree.fromstring(svg)
        tags = {element.tag.partition("}")[2] for element in tree.iter()}
        assert tags <= {"svg", "text", "rect", "polyline", "circle"} and "href" not in svg and "url(" not in svg


def test_picture_of_zeroing_shows_throughput_of_unsafe_first():
    svg = pictures.published(zeroing_run(), drawing.LIGHT)["zeroing"]
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert texts[0] == FIRST_TITLE and "Abacus 3000, CPython 3.12.1, 2026-01-02." in " ".join(texts)
    assert texts.index("200") < texts.index("100") and "2,500" in texts  # thousand messages; MiB
    assert texts.index("poolio, not zeroed") < texts.index("zeroed bytearray a read")


def test_first_chart_of_the_report_is_unsafe_beside_zeroed():
    assert parts.PARTS[0] == "zeroing" and zeroing.QUICK is not None
    page = report.html(zeroing_run())
    assert next(iter(plots.of_part(zeroing_run(), "zeroing"))) == FIRST_TITLE
    assert page.count(FIRST_TITLE) > 1  # as caption and in the picture


def test_pictures_have_bars_in_proportion_to_their_values():
    shown = [drawing.Bar("a", (1.0, 1.0), "ours"), drawing.Bar("b", (2.0, 3.0, 4.0), "others")]
    svg = drawing.bars("title <&>", shown, str, 1, "axis", drawing.PAGE)
    widths = [float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', svg)]
    assert widths[1] / widths[0] == pytest.approx(3, rel=0.01) and "title &lt;&amp;&gt;" in svg


@pytest.mark.parametrize(("low", "high", "logarithmic", "ticks"), [
    (0, 10, False, [0, 5, 10]), (0, 1.3, False, [0, 0.5, 1.0]), (1, 1000, True, [1, 10, 100, 1000]),
    (20, 200, True, [20, 50, 100, 200]), (5, 5, True, [5, 10]),
])
def test_scale_has_round_ticks_within(low, high, logarithmic, ticks):
    scale = drawing.Scale(low, high, 100, logarithmic)
    assert scale.ticks() == pytest.approx(ticks)
    assert all(0 <= scale.at(tick) <= 100.001 for tick in scale.ticks())


# --- The part ---

def test_throughput_is_of_one_core_and_of_the_wall():
    answer = {"windows": [(100, 200_000), (100, 200_000)], "messages": 200, "seconds": 0.001}
    assert zeroing.throughput(answer, 1 << 20, 4) == {
        "server CPU a message": 2.0, "messages of one core": 500_000, "MiB of one core": 500_000,
        "messages": pytest.approx(200_000), "volume": pytest.approx(200_000), "server busy": pytest.approx(40)}


def test_zeroing_has_all_modes_on_both_loops_and_what_people_use():
    rows = set(zeroing.rows("64x64"))
    assert {"poolio.EventLoop", "poolio.EventLoop, on_alloc", "poolio.EventLoop, on_release", FRESH} <= rows
    assert {f"poolio {mode}, asyncio" for mode in ("never", "on_alloc", "on_release")} <= rows
    assert {"asyncio Protocol, warm heap", "asyncio, one bytearray a connection", "uvloop Protocol"} <= rows
    assert [zeroing.title(kind) for kind in zeroing.KINDS[:5]] == [
        "64 B x 64", "1 KiB x 64", "16 KiB x 64", "64 KiB x 64", "1 MiB x 64"]


# --- What is committed ---

@pytest.fixture(scope="module")
def committed():
    return published.committed()


@pytest.mark.parametrize("name", published.SELECTIONS)
def test_what_is_published_exists(name):
    part, selected = parts.part(name), published.SELECTIONS[name]
    rows = {row for kind in selected.kinds for row in part.rows(kind)}
    assert set(selected.rows) <= rows
    assert all(not selected.rows or set(selected.rows) & set(part.rows(kind)) for kind in selected.kinds)
    bases = {base for kind in selected.kinds for base in part.figures(kind)[0].bases[:1]}
    assert not selected.rows or bases <= set(selected.rows)


def test_committed_run_is_whole_small_and_comparable(committed):
    assert (ROOT / published.MEASUREMENT).stat().st_size < MOST_BYTES
    assert {record.part for record in committed.records} == set(published.SELECTIONS)
    assert [absent for absent in committed.absent if absent.failed] == []
    changes = compare.compare(committed, committed).changes
    assert changes and not any(change.beyond for change in changes)


@pytest.mark.parametrize("page", published.pages(ROOT), ids=lambda page: page.stem)
def test_page_shows_the_committed_figures(page, committed):
    text = page.read_text()
    assert markers.rewritten(text, committed) == text, "make figures FROM=docs/figures/measurement.json"


def test_committed_pictures_are_those_of_the_committed_run(committed):
    drawn = published.pictures(committed)
    there = {path.relative_to(ROOT): path.read_text() for path in (ROOT / published.FIGURES).glob("*.svg")}
    assert there == drawn, "make figures FROM=docs/figures/measurement.json"
    assert len(there) == 2 * len([*pictures.CHARTS, "allocation"])


# --- Publishing ---

@pytest.fixture
def checkout(tmp_path):
    (tmp_path / published.FIGURES).mkdir(parents=True)
    (tmp_path / "README.md").write_text("<!--fig machine; cpu-->?<!--/fig-->\n")
    (tmp_path / "docs" / "page.md").write_text("nothing of it\n")
    return tmp_path


def test_publishing_writes_what_has_changed_and_no_more(checkout):
    written = published.publish(zeroing_run(), checkout)
    assert {path.name for path in written} == {"README.md", *DRAWN}
    assert "Abacus 3000" in (checkout / "README.md").read_text()
    assert published.publish(zeroing_run(), checkout) == []


def test_publishing_writes_nothing_if_a_page_names_what_is_not_there(checkout):
    (checkout / "docs" / "page.md").write_text("<!--fig echo; 1 B x 1; nobody; value-->?<!--/fig-->\n")
    with pytest.raises(ValueError, match=r"docs/page\.md: the figures 'echo; 1 B x 1.*no such kind"):
        published.publish(zeroing_run(), checkout)
    assert "?" in (checkout / "README.md").read_text() and list((checkout / published.FIGURES).iterdir()) == []


@pytest.mark.parametrize(("spoil", "said"), [
    (lambda new: new.conditions.update(status="interrupted"), "was interrupted"),
    (lambda new: new.absent.append(records.Absent("echo", "", "", "it broke", True)), "have failed"),
])
def test_run_that_is_not_whole_is_not_published(checkout, spoil, said):
    new = zeroing_run()
    spoil(new)
    with pytest.raises(ValueError, match=said):
        published.publish(new, checkout)
    assert list((checkout / published.FIGURES).iterdir()) == []


def test_publish_needs_a_checkout(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(published, "ROOT", tmp_path)
    with pytest.raises(SystemExit):
        cli.parse(["--publish"])
    assert "source checkout" in capsys.readouterr().err


def test_publish_from_a_run_measures_nothing(checkout, monkeypatch, capsys):
    data = checkout / "run.json"
    records.save(zeroing_run(), data)
    monkeypatch.setattr(published, "ROOT", checkout)
    assert cli.main(["--publish", "--from", str(data), "--html", str(checkout / "page.html")]) == 0
    assert "zeroing-dark.svg" in capsys.readouterr().out
    assert records.load(checkout / published.MEASUREMENT) == records.as_saved(zeroing_run())
    (checkout / "README.md").write_text("<!--fig nosuch; a; b; value-->?<!--/fig-->\n")
    assert cli.main(["--publish", "--from", str(data), "--html", str(checkout / "page.html")]) == 2
    assert "nothing is published: README.md" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", (["echo"], ["--quick"], ["--rows", "poolio"]))
def test_publish_is_of_its_own_set_only(arguments, capsys):
    with pytest.raises(SystemExit):
        cli.parse(["--publish", *arguments])
    assert "a set of its own" in capsys.readouterr().err


def test_saved_run_keeps_six_digits_and_a_line_for_each_record(tmp_path):
    records.save(run(record("a", (1.23456789, 2.0, 3.0))), tmp_path / "run.json")
    text = (tmp_path / "run.json").read_text()
    assert "1.23457" in text and sum('"values"' in line for line in text.splitlines()) == 2
    assert records.load(tmp_path / "run.json").records[1] == record("a", (1.23457, 2.0, 3.0), CPU)
