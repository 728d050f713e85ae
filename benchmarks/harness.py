"""How are servers driven and compared fairly? Fresh processes, interleaved rounds, one side a core, ratios in a round.

For each cell (message size x connections) there are some rounds; in each, the rows are driven one after another in a
newly shuffled order, every time a fresh process (a cold heap warms itself when connections close). A row's figure in
a round is the 20 % quantile of the server's CPU time a message over windows of 20 ms: the cores of shared machines
change speed within a second, and the quantile repeats where the mean does not. Windows are joined until each holds ten
messages and one for each connection, as the work on a message may fall into an earlier window than its last byte; if
not even one such window fits into the time, the figure is the mean. Ratios are formed within a round; their median,
minimum and maximum over the rounds are reported.
"""

import contextlib
import json
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

HERE = pathlib.Path(__file__).parent
RESULTS = HERE / "results"
QUANTILE = 0.2
WINDOW_MS = 20
ENOUGH_MESSAGES = 10  # in a window, for its CPU time a message to mean something
IDLE_CONNECTIONS = 1000


class BenchmarkFailed(RuntimeError):
    """A server or the load generator ended early, or an echo was wrong; holds what it said."""


def build(name: str) -> pathlib.Path:
    """Compile one of the C programs if its source is newer than the program."""
    source, program = HERE / f"{name}.c", RESULTS / name
    RESULTS.mkdir(exist_ok=True)
    sources = [source, HERE / "bench.h"]
    if program.exists() and program.stat().st_mtime > max(path.stat().st_mtime for path in sources):
        return program
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise BenchmarkFailed(f"{name} is a C program: install a C compiler (cc, gcc or clang)")
    result = subprocess.run([compiler, "-O2", "-o", program, source], capture_output=True, text=True)
    if result.returncode:
        raise BenchmarkFailed(f"{name} does not compile: {result.stderr}")
    return program


class Server:
    """One row's server process. What it says on standard error goes to a file: a full pipe would stop it."""

    def __init__(self, row: str, under: Sequence[str] = (), program: Sequence[str] = ("servers.py",)) -> None:
        self.row = row
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by stop)
        self.process = subprocess.Popen(
            [*under, sys.executable, HERE / program[0], *program[1:], row],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True)

    def wait_until_serving(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise BenchmarkFailed(f"{self.row} did not start: {self.said()}")
        self.port = int(line)
        self.started_kib = self.memory_kib("VmRSS")

    def said(self) -> str:
        self.errors.seek(0)
        return self.errors.read()[-4000:] or "(nothing on standard error)"

    def memory_kib(self, name: str) -> int:
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
        raise BenchmarkFailed(f"{self.row} has ended: {self.said()}")

    def stop(self) -> None:
        try:
            self.process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        self.errors.close()


@contextlib.contextmanager
def serving(row: str, *program: str) -> Iterator[Server]:
    """The server of this row, of servers.py or of another program, which takes arguments before the row's name."""
    server = Server(row, program=program or ("servers.py",))
    try:
        server.wait_until_serving()
        yield server
    finally:
        server.stop()


@dataclass
class Load:
    """What one drive of one server gave."""

    messages_per_second: float
    cpu_us: float  # server CPU a message
    p50_us: float
    p99_us: float
    clock: str


def cpu_us_a_message(windows: list[tuple[int, int]], connections: int) -> float:
    """The quantile over windows; neighbours are joined until each holds enough messages."""
    enough = max(ENOUGH_MESSAGES, connections)
    total = sum(messages for messages, _ in windows)
    if not total:
        raise BenchmarkFailed("no message was echoed in the measured time; give more --seconds")
    figures = []
    messages = cpu = 0
    for more_messages, more_cpu in windows:
        messages, cpu = messages + more_messages, cpu + more_cpu
        if messages >= enough:
            figures.append(cpu / messages / 1e3)
            messages = cpu = 0
    if not figures:
        return sum(cpu for _, cpu in windows) / total / 1e3
    return sorted(figures)[int(QUANTILE * len(figures))]


def drive(loadgen: pathlib.Path, server: Server, size: int, connections: int, seconds: float) -> Load:
    command = [loadgen, server.port, connections, size, seconds, server.process.pid, WINDOW_MS]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True)  # it has a deadline of its own
    if result.returncode:
        raise BenchmarkFailed(f"{server.row}, {size} bytes, {connections} connections: {result.stderr}"
                              f"the server said: {server.said()}")
    answer = json.loads(result.stdout)
    return Load(answer["messages"] / answer["seconds"], cpu_us_a_message(answer["windows"], connections),
                answer["p50_us"], answer["p99_us"], answer["clock"])


def idle_kib(loadgen: pathlib.Path, row: str) -> float:
    """Resident memory that an idle connection costs the server, over 1000 that have echoed 64 bytes."""
    with serving(row) as server:
        client = subprocess.Popen([loadgen, str(server.port), str(IDLE_CONNECTIONS), "idle"], text=True,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert client.stdout is not None
        try:
            if client.stdout.readline() != "ready\n":
                raise BenchmarkFailed(f"{row}, idle connections: {client.communicate()[1]}"
                                      f"the server said: {server.said()}")
            return (server.memory_kib("VmRSS") - server.started_kib) / IDLE_CONNECTIONS
        finally:
            client.communicate()


@dataclass
class Cell:
    """All rounds of one message size and connection count."""

    size: int
    connections: int
    loads: dict[str, list[Load]] = field(default_factory=dict)
    peak_kib: dict[str, int] = field(default_factory=dict)  # the highest, whole process
    grown_kib: dict[str, int] = field(default_factory=dict)  # of that, since it began to serve

    def ratios(self, row: str, baseline: str) -> list[float]:
        return [mine.cpu_us / base.cpu_us
                for mine, base in zip(self.loads[row], self.loads[baseline], strict=True)]

    def median(self, row: str, name: str) -> float:
        return float(statistics.median(getattr(load, name) for load in self.loads[row]))


def run_cell(loadgen: pathlib.Path, rows: list[str], cell: Cell, rounds: int, seconds: float,
             shuffle: random.Random, advance: Callable[[str], None]) -> None:
    cell.loads = {row: [] for row in rows}
    cell.peak_kib = dict.fromkeys(rows, 0)
    cell.grown_kib = dict.fromkeys(rows, 0)
    for _ in range(rounds):
        for row in shuffle.sample(rows, len(rows)):
            advance(f"{cell.size} B x {cell.connections}: {row}")
            with serving(row) as server:
                cell.loads[row].append(drive(loadgen, server, cell.size, cell.connections, seconds))
                peak = server.memory_kib("VmHWM")
            cell.peak_kib[row] = max(peak, cell.peak_kib[row])
            cell.grown_kib[row] = max(peak - server.started_kib, cell.grown_kib[row])
