"""The parent of the workers: it replaces those that die or are stopped, and waits longer each time."""

import os
import re
import signal
import socket

import pytest
from kit.serving import (
    DIES_LATER,
    STARTS_LATER,
    Serving,
    connect,
    needs_workers,
    serve,
    workers_of,
)

pytestmark = needs_workers


def test_parent_that_cannot_fork_tries_again():
    program = """
poolio.workers.supervisor.MAX_DELAY = 0.1
fork, forks = os.fork, []
def third_fails():
    forks.append(None)
    if len(forks) == 3:
        raise BlockingIOError(11, "no more processes")
    return fork()
os.fork = third_fails
"""
    with Serving(program + serve(2)) as server:
        port = server.port()
        first, _ = workers_of(port, 2)
        os.kill(first, signal.SIGKILL)
        server.until_logged("cannot start one: .*no more processes")
        server.until_logged("starts", 3)
        assert first not in workers_of(port, 2)
        assert server.end(signal.SIGTERM)[0] == 0


@pytest.mark.parametrize("stdout", [
    "None", "open(writing, 'w')", "open(1, 'w', closefd=False); sys.stdout.close()",
], ids=("none", "broken", "closed"))
def test_worker_is_replaced_whatever_has_become_of_stdout(stdout):
    program = f"""
def on_ready(sock):
    ready(sock)
    reading, writing = os.pipe()
    os.close(reading)
    sys.stdout = {stdout}
    if sys.stdout and not sys.stdout.closed:
        sys.stdout.write("nobody reads this")
poolio.serve(app, "127.0.0.1:0", workers=1, on_ready=on_ready)
os._exit(0)
"""
    with Serving(program) as server:
        port = server.port()
        pids = [*workers_of(port, 1)]
        for number in (1, 2):
            os.kill(pids[-1], signal.SIGKILL)
            server.until_logged("died", number)
            pids += workers_of(port, 1)
        assert len(set(pids)) == 3
        assert server.end(signal.SIGTERM)[0] == 0
    assert "cannot start" not in server.log


def test_worker_that_dies_again_and_again_is_waited_for_longer_each_time(tmp_path):
    marker = tmp_path / "marker"
    with Serving(DIES_LATER + serve(2, app="dies_later"), str(marker)) as server:
        port = server.port()
        first, second = workers_of(port, 2)
        marker.touch()
        os.kill(first, signal.SIGKILL)
        server.until_logged("died", 4)
        marker.unlink()
        server.until_logged("starts", 6)
        assert second in workers_of(port, 2)
        assert server.end(signal.SIGTERM)[0] == 0
    delays = re.findall(r"died, the next one in (\S+) s: (.*)", server.log)
    assert delays == [("0", "killed by SIGKILL"), *((delay, "ended with status 3") for delay in ("0.1", "0.2", "0.4"))]


def test_successor_that_does_not_start_leaves_the_workers_in_place(tmp_path):
    marker = tmp_path / "marker"
    with Serving(DIES_LATER + serve(2, app="dies_later"), str(marker)) as server:
        port = server.port()
        before = workers_of(port, 2)
        marker.touch()
        server.signal(signal.SIGHUP)
        server.until_logged("did not start, so those before it stay: ended with status 3")
        assert workers_of(port, 2) == before
        assert server.end(signal.SIGTERM)[0] == 0


@pytest.mark.parametrize(("number", "what"), [
    (signal.SIGKILL, "died, its successor starts already: killed by SIGKILL"), (signal.SIGTERM, "ended with status 0"),
])
def test_worker_that_ends_while_its_successor_starts_does_not_stop_the_replacing(number, what, tmp_path):
    marker = tmp_path / "marker"
    with Serving(STARTS_LATER + serve(3, app="starts_later"), str(marker)) as server:
        port = server.port()
        before = workers_of(port, 3)
        marker.touch()
        server.signal(signal.SIGHUP)
        server.until_logged("starts", 4)
        (first,) = {int(pid) for pid in server.until_logged(r"worker 0 \((\d+)\) starts")} & set(before)
        os.kill(first, number)
        server.until_logged(what)
        marker.unlink()
        server.until_logged("ended with status 0", 3 if number == signal.SIGTERM else 2)
        assert not set(before) & set(workers_of(port, 3))
        assert server.end(signal.SIGTERM)[0] == 0
    assert "the next one" not in server.log
    assert len(re.findall("starts$", server.log, re.M)) == 6


def test_sigterm_that_comes_when_the_loop_of_a_worker_is_closed_is_no_death():
    program = """
class ClosesLate(poolio.EventLoop):
    def close(self):
        super().close()
        os.kill(os.getpid(), signal.SIGTERM)
"""
    with Serving(program + serve(1).replace("on_ready=", "loop_factory=ClosesLate, on_ready=")) as server:
        server.port()
        assert server.end(signal.SIGTERM)[0] == 0
    assert "killed by" not in server.log


def test_worker_that_somebody_else_stops_is_replaced_while_it_drains():
    with Serving(serve(1)) as server:
        port = server.port()
        sock, pid = connect(port)
        os.kill(pid, signal.SIGTERM)
        server.until_logged("starts", 2)
        assert workers_of(port, 1) != [pid]
        sock.sendall(b"old")
        assert sock.recv(3, socket.MSG_WAITALL) == b"old"
        sock.close()
        server.until_logged(rf"\({pid}\): ended with status 0")
        assert server.end(signal.SIGTERM)[0] == 0
    assert "died" not in server.log


def test_worker_that_somebody_else_stops_may_have_ended_before_the_parent_looks(tmp_path):
    slow_parent = """
waitpid = os.waitpid
def waits(pid, options):
    if os.path.exists(sys.argv[1]):
        os.unlink(sys.argv[1])
        print("looks", flush=True)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return waitpid(pid, options)
os.waitpid = waits
"""
    marker = tmp_path / "marker"
    with Serving(slow_parent + serve(1), str(marker)) as server:
        port = server.port()
        (pid,) = workers_of(port, 1)
        marker.touch()
        server.signal(signal.SIGCHLD)
        assert server.process.stdout.readline() == b"looks\n"
        os.kill(pid, signal.SIGTERM)
        server.until_logged(rf"\({pid}\): ended with status 0")
        assert workers_of(port, 1) != [pid]
        assert server.end(signal.SIGTERM) == (0, "served\n")
