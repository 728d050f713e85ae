"""What does `python -m poolio bench` do? Measures the parts that were asked for, and shows them: terminal, JSON, HTML.

usage examples:
  bench                        everything, for about an hour: the tables, report.html and report.json
  bench --quick                the same in three minutes: fewer kinds, rows and shorter rounds
  bench echo tls --rows poolio uvloop
                               two parts, only the rows with these words in their names, and C
  bench datagrams --kinds trains512 flows64x8 --rounds 7
  bench --quick --compare old.json
                               and what has changed since that run
  bench --publish --from docs/figures/measurement.json
                               the figures and pictures of README and docs again, from the run that is committed
  bench --from new.json --compare old.json
                               nothing is measured: two runs that are there, compared
"""

import argparse
import datetime
import math
import pathlib
import random
import shlex
import shutil
import textwrap
import time
from collections.abc import Sequence

import rich.console

from benchmarks import compare, latency, places, published, records, report, terminal
from benchmarks.machine import machine, source, versions, why_missing
from benchmarks.parts import PARTS, part, text
from benchmarks.records import Absent, Run
from benchmarks.session import Options, Selection, Session, is_named


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="python -m poolio bench", formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s [PART ...] [options]",
        description="Benchmarks of poolio and of what else is installed: server CPU, memory, and their ratios to C.\n\n"
                    "parts:\n" + "\n".join(map(described, PARTS)),
        epilog=(__doc__ or "").partition("\n\n")[2].replace("usage examples", "examples"))
    found.add_argument("parts", nargs="*", metavar="PART", help="which ones (default: all)")
    found.add_argument("--list", action="store_true", help="list the parts, their kinds and rows, and what is absent")
    measuring = found.add_argument_group("what is measured")
    measuring.add_argument("--quick", action="store_true", help="few kinds and rows, short rounds; about three minutes")
    measuring.add_argument("--publish", action="store_true",
                           help="what README and docs show, about 13 minutes: rewrites their figures and pictures; "
                                "with --from, of a run that is there")
    measuring.add_argument("--rows", nargs="+", default=[], metavar="WORD",
                           help="only rows with one of these in their names, and what they are divided by")
    measuring.add_argument("--kinds", nargs="+", default=[], metavar="KIND",
                           help="of one part: 64x1000, bulk512, flood64, ...")
    measuring.add_argument("--rounds", type=int, metavar="N",
                           help="interleaved rounds (default: the part's own, 1 to 15)")
    measuring.add_argument("--seconds", type=float, metavar="S",
                           help="how long a row is measured in a round (default: the part's own, 0.7 or 1)")
    measuring.add_argument("--seed", type=int, metavar="N", help="of the order of the rows (default: a random one)")
    showing = found.add_argument_group("what is done with it")
    showing.add_argument("--compare", type=pathlib.Path, metavar="OLD.json",
                         help="show what changed against an earlier run")
    showing.add_argument("--json", type=pathlib.Path, default=places.results() / "report.json", metavar="PATH",
                         help="everything, with the raw rounds (default: %(default)s)")
    showing.add_argument("--html", type=pathlib.Path, default=places.results() / "report.html", metavar="PATH",
                         help="the report, one file (default: %(default)s)")
    showing.add_argument("--from", type=pathlib.Path, dest="source", metavar="NEW.json",
                         help="measure nothing, show this run again")
    showing.add_argument("--check", action="store_true",
                         help="of latency: status 1 if poolio.EventLoop is beyond its bounds")
    return found


def described(name: str) -> str:
    """A part and its question, folded as argparse folds its options."""
    columns = max(40, shutil.get_terminal_size().columns - 2)
    return textwrap.fill(text(name).question, columns, initial_indent=f"  {name:14}", subsequent_indent=" " * 16)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """SystemExit, with the value and what is allowed, if an argument is not."""
    ours = parser()
    args = ours.parse_args(arguments)
    unknown = [name for name in args.parts if name not in PARTS]
    if unknown:
        ours.error(f"no part is called {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if args.publish and (args.parts or args.kinds or args.rows or args.quick):
        ours.error("--publish takes one measurement of a set of its own: no parts, --kinds, --rows or --quick")
    args.parts = [name for name in PARTS if name in args.parts] or list(published.SELECTIONS if args.publish else PARTS)
    if args.publish and not (published.ROOT / published.FIGURES).is_dir():
        ours.error(f"--publish rewrites a source checkout, and {published.ROOT} is none")
    if args.rounds is not None and args.rounds < 1:
        ours.error(f"--rounds is at least 1, not {args.rounds}")
    if args.seconds is not None and not (0.1 <= args.seconds <= 3600 and math.isfinite(args.seconds)):
        ours.error(f"--seconds is between 0.1 and 3600, not {args.seconds}")
    if args.kinds and len(args.parts) != 1:
        ours.error("--kinds is about one part: name it")
    if args.check and "latency" not in args.parts:
        ours.error("--check is about latency, which is not among the parts")
    if args.check and not args.source and "latency" in left_out(args):
        ours.error("--check is about latency, which --quick leaves out unless it is named: bench latency --check")
    if args.compare and not args.source and args.compare.resolve() == args.json.resolve():
        ours.error(f"--compare {args.compare} is where this run will be written: copy it, or name another with --json")
    for path in (args.json, args.html):
        refused = places.why_not_writable(path)
        if refused and not (args.list or (args.source and path == args.json)):
            ours.error(f"{refused}; name another with {'--json' if path == args.json else '--html'}")
    for kind in args.kinds:
        try:
            part(args.parts[0]).rows(kind)
        except ValueError as reason:
            ours.error(str(reason))
    if args.rows and not any(is_named(row, args.rows) for row in rows_of(args)):
        ours.error(f"no row has one of these words in its name: {', '.join(args.rows)}; --list shows them")
    if args.seed is None:
        args.seed = random.randrange(1 << 32)
    return args


def left_out(args: argparse.Namespace) -> list[str]:
    """The parts that a quick run of all parts leaves out, because they have no quick form."""
    return [name for name in PARTS if not part(name).QUICK] if args.quick and args.parts == list(PARTS) else []


def selections(args: argparse.Namespace) -> dict[str, Selection]:
    if args.publish:
        return published.SELECTIONS
    return {name: selected for name in args.parts if (selected := part(name).QUICK)} if args.quick else {}


def rows_of(args: argparse.Namespace) -> set[str]:
    """The rows of all parts and kinds that are asked for."""
    modules = [part(name) for name in args.parts]
    return {row for module in modules for kind in args.kinds or module.KINDS for row in module.rows(kind)}


def listing(names: Sequence[str], out: rich.console.Console) -> None:
    for name in names:
        module = part(name)
        quick = module.QUICK.kinds if module.QUICK else ()
        out.print(f"{name}: {text(name).question}", markup=False, style="bold")
        kinds = [f"{kind} (quick)" if kind in quick else kind for kind in module.KINDS]
        out.print("  kinds:", ", ".join(kinds), markup=False)
        rows: dict[str, tuple[str, ...]] = {}
        for kind in module.KINDS:
            rows |= module.rows(kind)
        for row, needs in rows.items():
            reason = why_missing(needs)
            said, style = (f": absent, {reason}", "yellow") if reason else ("", "")
            out.print(f"  {row}{said}", markup=False, style=style)


def measure(args: argparse.Namespace, command: str, out: rich.console.Console) -> Run:
    """Shows each part's tables when it is done. Ctrl-C ends it; the kinds that are whole by then are kept."""
    started = time.monotonic()
    options = Options(selections(args), args.rounds, args.seconds, tuple(args.kinds), tuple(args.rows), args.seed)
    skipped = left_out(args)
    which = "published" if args.publish else "quick" if args.quick else ""
    names = [name for name in args.parts if name not in skipped]
    run = Run(machine(), versions(), {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "source": source(),
        "command": command,
        "seed": str(args.seed), "kinds and rows": which or "all, or those of the command",
        "rounds": str(args.rounds or which or "the part's own"),
        "seconds a row and round": str(args.seconds or which or "the part's own")})
    run.absent += [Absent(name, "", "", f"not in a quick run: bench {name}") for name in skipped]
    with terminal.progress(out) as progress:
        whole = progress.add_task("parts", total=len(names), row="")
        task = progress.add_task("", total=None, row="")
        session = Session(
            options, run,
            lambda what, steps: progress.reset(task, total=steps, description=what, row=""),
            lambda row: progress.update(task, advance=1, row=row))
        for name in names:
            progress.update(whole, row=name)
            try:
                session.measure(name, part(name))
            except KeyboardInterrupt:
                run.conditions["status"] = "interrupted"
            progress.update(whole, advance=1)
            terminal.show(run, name, out)
            if is_interrupted(run):
                out.print("interrupted: the rest was not measured", style="red")
                break
    for name in skipped:
        terminal.show(run, name, out)
    run.conditions["took"] = f"{time.monotonic() - started:.0f} s"
    return run


def is_interrupted(run: Run) -> bool:
    return run.conditions.get("status") == "interrupted"


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse(arguments)
    out = terminal.console()
    if args.list:
        listing(args.parts, out)
        return 0
    try:
        earlier = records.load(args.compare) if args.compare else None
        run = records.load(args.source) if args.source else None
    except (OSError, ValueError) as reason:
        out.print(f"poolio bench: {reason}", markup=False, style="red")
        return 2
    if run is None:
        run = measure(args, shlex.join(["python", "-m", "poolio", "bench", *(arguments or ())]), out)
        records.save(run, args.json)
        out.print(f"written: {args.json}, with the raw rounds; seed {args.seed}", markup=False)
    else:
        terminal.show_all(run, out)
    compared = None
    if earlier:
        with_what = f"{args.compare.name} of {earlier.conditions.get('date', 'an unknown date')}"
        compared = report.view(compare.compare(earlier, run), with_what)
        terminal.show_comparison(compared, out)
    args.html.parent.mkdir(parents=True, exist_ok=True)
    args.html.write_text(report.html(run, compared))
    out.print(f"written: {args.html}", markup=False)
    if args.publish and not publish(run, out):
        return 2
    return status(run, args, out)


def publish(run: Run, out: rich.console.Console) -> bool:
    """False, with the reason, if it can't be published."""
    try:
        changed = published.publish(run, published.ROOT)
    except ValueError as reason:
        out.print(f"poolio bench: nothing is published: {reason}", markup=False, style="red")
        return False
    for path in changed:
        out.print(f"written: {path}", markup=False)
    return True


def status(run: Run, args: argparse.Namespace, out: rich.console.Console) -> int:
    failed = [absent for absent in run.absent if absent.failed]
    if failed:
        out.print(f"{len(failed)} rows or parts failed, see above", style="red")
    late = latency.too_late(run) if args.check else []
    if late:
        out.print("too late: " + "; ".join(late), markup=False, style="red")
    if is_interrupted(run):
        return 130
    return 1 if failed or late else 0
