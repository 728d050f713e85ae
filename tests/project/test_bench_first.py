"""The part first: what its load generator counts, and that wrong answers and early ends fail."""

import contextlib
import shutil
import socket
import subprocess
import threading

import pytest
from kit.benchruns import LIMIT

from benchmarks import first, harness, servers
from poolio.wire.reactor import HAS_EPOLL

pytestmark = pytest.mark.skipif(shutil.which("cc") is None or not HAS_EPOLL,
                                reason="the load generator is a C program for Linux, and poolio.EventLoop needs epoll")


@contextlib.contextmanager
def serving_one(answer, count=1):
    """A server that answers `count` connections with answer(what came) and closes; its thread ends with them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve():
            for _ in range(count):
                with contextlib.suppress(OSError), listener.accept()[0] as sock:
                    sock.sendall(answer(sock.recv(65536)))
                    sock.shutdown(socket.SHUT_WR)
                    sock.recv(65536)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join()


def visited(port, who, count):
    return subprocess.run([str(harness.build("visit")), str(port), who, "64", "1", "0", "count", str(count)],
                          capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("answer", "said"), [
    (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "wrong bytes"),
    (lambda data: data + b"x", "more than it was sent"),
    (lambda data: data[:-1], "closed a connection before"),
])
def test_wrong_answer_ends_the_visits_with_its_reason(answer, said):
    with serving_one(answer) as port:
        done = visited(port, "server", 1)
    assert done.returncode == 1 and said in done.stderr


@pytest.mark.parametrize("who", ("client", "server"))
def test_right_answers_end_the_visits_when_there_were_enough(who):
    with serving_one(bytes, count=3) as port:
        assert visited(port, who, 3).returncode == 0


@pytest.mark.parametrize("kind", ("client64x4", "server64x4", "paced64x50"))
@pytest.mark.parametrize("row", (LIMIT, "poolio.EventLoop"))
def test_row_is_measured(kind, row):
    first.prepare()
    found = first.measured(first.Task(kind, row, 0.3, {}))
    assert found[first.FIGURE] > 0 and found["connections"] > 0


def test_pace_that_was_not_kept_fails():
    with pytest.raises(harness.BenchmarkFailed, match="500 connections came in a second, not 1,000"):
        first.figures_of({"messages": 250, "seconds": 0.5, "windows": [(250, 1000)]}, 1000)


def test_closing_that_is_done_in_lumps_is_in_the_figure():
    windows = [(100, 1_000_000)] * 9 + [(100, 11_000_000)]
    found = first.figures_of({"messages": 1000, "seconds": 0.2, "windows": windows}, 0)
    assert found[first.FIGURE] == pytest.approx(20)


def test_rows_that_close_have_a_server_each():
    assert set(servers.CLOSING.values()) == set(servers.CLOSERS)
    assert first.server_of("server64x64", "poolio.EventLoop") == "poolio.EventLoop, closing"
    assert first.server_of("client64x64", "poolio.EventLoop") == "poolio.EventLoop"
