"""How are servers driven and compared fairly? Fresh processes, one side a core, CPU time in short windows.

A row's figure in a round is the 20 % quantile of the server's CPU time a message over windows of 20 ms: the cores of
shared machines change speed within a second, and the quantile repeats where the mean does not. Windows are joined until
each holds enough to mean something, as the work on a message may fall into an earlier window than its last byte (on a
busy machine all of it, so some CPU time belongs to enough); if not even one such window fits into the time, the figure
is the mean. The clock is that of the server's main thread: a server
with others that work fails. The server is a fresh process every time (a cold heap warms itself when connections close).
The rounds, their order and their failures are session.py's.
"""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import poolio
from benchmarks import places
from benchmarks.machine import C_FLAGS, c_compiler

HERE = pathlib.Path(__file__).parent
QUANTILE = 0.2
WINDOW_MS = 20
DEADLINE_SECONDS = 90  # for what takes about 5
OTHER_THREADS = 0.02  # of the main thread's CPU time, at most
ENOUGH_MESSAGES = 10  # in a window, for its CPU time a message to mean something


class BenchmarkFailed(RuntimeError):
    """A server or the load generator ended early, or an echo was wrong; holds what it said."""


class Unavailable(RuntimeError):
    """This machine lacks what a part needs; says what, and how to get it."""


def size_text(size: int) -> str:
    for unit, shift in (("MiB", 20), ("KiB", 10)):
        if size >= 1 << shift and size % (1 << shift) == 0:
            return f"{size >> shift} {unit}"
    return f"{size} B"


def split_kind(kind: str, names: Sequence[str] = ("",)) -> tuple[str, int, int]:
    """("flows", 64, 8) of flows64x8: a name, a size, and of how many; 1 if that is not said."""
    match = re.fullmatch(r"([a-z-]*)(\d+)(?:x(\d+))?", kind)
    name, size, count = match.groups() if match else ("", "0", "0")
    if name not in names or not int(size) or not int(count or 1):
        forms = " or ".join(f"{name}N" for name in names)
        raise ValueError(f"{kind!r} is no kind here: {forms}, N a size from 1 on, and perhaps xM, of how many")
    return name, int(size), int(count or 1)


def size_and_count(kind: str) -> str:
    """The title of a kind that is only a size and a count, whatever its name."""
    _, size, count = split_kind(kind, (kind.rstrip("0123456789x"),))
    return f"{size_text(size)} x {count:,}"


def build(name: str, program: str = "", flags: Sequence[str] = (), libraries: Sequence[str] = ()) -> pathlib.Path:
    """Compile one of the C programs if its source is newer than the program."""
    source, path = HERE / f"{name}.c", places.programs() / (program or name)
    sources = [source, *HERE.glob("*.h")]
    if path.exists() and path.stat().st_mtime > max(path.stat().st_mtime for path in sources):
        return path
    compiler = c_compiler()
    if compiler is None:
        raise Unavailable(f"{name} is a C program: install a C compiler (cc, gcc or clang)")
    with tempfile.TemporaryDirectory(dir=places.programs()) as folder:  # so that no other process finds it half written
        fresh = pathlib.Path(folder) / path.name
        result = subprocess.run([compiler, *C_FLAGS, *flags, "-o", fresh, source, *libraries],
                                capture_output=True, text=True)
        if result.returncode:
            raise BenchmarkFailed(f"{name} does not compile: {result.stderr}")
        fresh.replace(path)
    return path


def child_environment() -> dict[str, str]:
    """Children find the poolio that this process has, installed or not, these benchmarks, and nothing in the current
    folder. A clone comes second, as it has a poolio of its own; what a wheel carries comes first, as other packages in
    its folder may be called benchmarks, too."""
    found = [str(pathlib.Path(poolio.__file__).parent.parent), str(places.ROOT)]
    paths = [*(found if places.IN_CLONE else reversed(found)), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1",
                         places.VARIABLE: str(places.programs())}


def output_of_module(name: str, *arguments: str) -> str:
    """What a module of ours that measures itself prints."""
    said = " ".join(arguments)
    try:
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *arguments], capture_output=True, text=True,
                              env=child_environment(), timeout=DEADLINE_SECONDS)
    except subprocess.TimeoutExpired:
        raise BenchmarkFailed(f"{said} took more than {DEADLINE_SECONDS} seconds") from None
    if done.returncode:
        raise BenchmarkFailed(f"{said} ended with status {done.returncode}: {done.stderr[-4000:]}")
    return done.stdout


def thread_times(pid: int) -> tuple[int, int]:
    """CPU ns of a process's main thread, and of all its others that are there."""
    times = {}
    for path in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # it has just ended, or this kernel does not say
            times[path.name] = int((path / "schedstat").read_text().split()[0])
    main = times.pop(str(pid), 0)
    return main, sum(times.values())


def forget_peak(pid: int) -> None:
    """Start the process's peak (VmHWM) anew: it counts only what the process takes from now on."""
    try:
        pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
    except OSError as reason:
        raise Unavailable(f"the peak of what came before cannot be forgotten: {reason}") from None


class Server:
    """A server's process: `under` is a program that runs it. What it says on standard error goes to a file: a full pipe
    would stop it."""

    def __init__(self, module: str, *arguments: str, under: Sequence[str] = ()) -> None:
        self.name = " ".join(arguments)
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by stop)
        self.process = subprocess.Popen(
            [*under, sys.executable, "-m", f"benchmarks.{module}", *arguments], env=child_environment(),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True)

    def wait_until_serving(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.strip().isdigit():
            raise BenchmarkFailed(f"{self.name} did not start: {self.said()}")
        self.port = int(line)
        self.started_kib = self.memory_kib("VmRSS")

    def said(self) -> str:
        self.errors.seek(0)
        return self.errors.read()[-4000:] or "(nothing on standard error)"

    def memory_kib(self, name: str) -> int:
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
        raise BenchmarkFailed(f"{self.name} has ended: {self.said()}")

    def stop(self) -> None:
        try:
            self.process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        self.errors.close()


@contextlib.contextmanager
def serving(module: str, *arguments: str, under: Sequence[str] = ()) -> Iterator[Server]:
    server = Server(module, *arguments, under=under)
    try:
        server.wait_until_serving()
        yield server
    finally:
        server.stop()


def drive(server: Server, program: pathlib.Path, *arguments: object) -> str:
    """What the load generator prints. It has a deadline of its own."""
    result = subprocess.run(list(map(str, (program, server.port, *arguments))), capture_output=True, text=True)
    if result.returncode:
        raise BenchmarkFailed(f"{server.name}: {result.stderr}the server said: {server.said()}")
    return result.stdout


def drive_json(server: Server, program: pathlib.Path, *arguments: object) -> dict[str, Any]:
    """BenchmarkFailed if other threads than the server's main one have worked: their CPU time is in no clock here."""
    main, others = thread_times(server.process.pid)
    answer: dict[str, Any] = json.loads(drive(server, program, *arguments))
    main_now, others_now = thread_times(server.process.pid)
    share = (others_now - others) / max(1, main_now - main)
    if share > OTHER_THREADS:
        raise BenchmarkFailed(f"{server.name}: other threads than its main one took {100 * share:.1f} % of that one's "
                              "CPU time, and the clock does not count them")
    return answer


def cpu_ns(windows: Sequence[tuple[int, int]], enough: int) -> float:
    """The quantile of CPU time for one, over windows of (number, CPU ns); neighbours are joined until each holds
    enough, and if not even one does, it is the mean."""
    figures = []
    number = cpu = 0
    for more, more_cpu in windows:
        number, cpu = number + more, cpu + more_cpu
        if number >= enough and cpu:
            figures.append(cpu / number)
            number = cpu = 0
    if figures:
        return sorted(figures)[int(QUANTILE * len(figures))]
    return mean_cpu_ns([(number, cpu)])


def mean_cpu_ns(windows: Sequence[tuple[int, int]]) -> float:
    """CPU time for one, over all windows of (number, CPU ns)."""
    number = sum(each for each, _ in windows)
    if not number:
        raise BenchmarkFailed("nothing came in the measured time; give more --seconds")
    return sum(cpu for _, cpu in windows) / number
