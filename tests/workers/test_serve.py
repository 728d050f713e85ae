"""serve(): real processes on real sockets, killed, stopped and replaced, while clients count what they lose."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys

import pytest
from kit.serving import (
    PROGRAM,
    SECONDS,
    Serving,
    connect,
    eventually,
    greeting_of,
    is_gone,
    state_of,
    waiting_on,
    workers_of,
)
from kit.wires import OURS

import poolio

pytestmark = pytest.mark.skipif(not OURS, reason="many workers need Linux, and poolio's own loop needs epoll")

DIES_LATER = """
import pathlib
async def dies_later(sock):
    if pathlib.Path(sys.argv[1]).exists():
        os._exit(3)
    return await app(sock)
"""

STARTS_LATER = """
import pathlib
async def starts_later(sock):
    while pathlib.Path(sys.argv[1]).exists():
        await asyncio.sleep(0.01)
    return await app(sock)
"""


def serve(workers=2, address="127.0.0.1:0", grace=30, app="app"):
    return f'poolio.serve({app}, "{address}", workers={workers}, grace={grace}, on_ready=ready)\nprint("served")\n'


def is_free(port):
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False


def read_all(sock):
    with sock, sock.makefile("rb") as file:
        return file.read()


# Spreading, ending

def test_connections_reach_every_worker_and_the_end_leaves_nothing():
    program = serve(3) + """
try:
    print(os.waitpid(-1, os.WNOHANG))
except ChildProcessError:
    print("no child")
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, len(os.listdir("/proc/self/fd")) == descriptors)
"""
    with Serving('descriptors = len(os.listdir("/proc/self/fd"))\n' + program) as server:
        port = server.port()
        pids = workers_of(port, 3)
        assert server.end(signal.SIGTERM) == (0, "served\nno child\nTrue True\n")
    assert all(is_gone(pid) for pid in pids)
    with socket.create_server(("127.0.0.1", port)):
        pass


STREAMS = """
async def handle(reader, writer):
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(writer.close)
        writer.write(b"%d\\n" % os.getpid())
        request = await reader.readexactly(8)
        writer.write(bytes(request) * (1 << 20))
        await writer.drain()

async def streams(sock):
    return await poolio.start_server(handle, sock=sock)
"""


@pytest.mark.parametrize("loop_factory", ("poolio.new_event_loop", "asyncio.new_event_loop", "uvloop.new_event_loop"))
def test_request_in_flight_at_sigterm_is_answered_in_full(loop_factory):
    options = f"workers=2, on_ready=ready, loop_factory={loop_factory}"
    program = f'import uvloop\npoolio.serve(streams, "127.0.0.1:0", {options})\n'
    with Serving(STREAMS + program) as server:
        port = server.port()
        sock, _ = connect(port)
        sock.sendall(b"requ")
        server.signal(signal.SIGTERM)
        server.until_logged(r"ended with status 0")  # the other one
        sock.sendall(b"est\n")
        assert read_all(sock) == b"request\n" * (1 << 20)
        assert server.end() == (0, "")
    assert "cut" not in server.log


def test_connection_open_at_the_deadline_is_cut():
    with Serving(serve(grace=0.1)) as server:
        sock, _ = connect(server.port())
        server.signal(signal.SIGTERM)
        with contextlib.suppress(ConnectionResetError):
            assert read_all(sock) == b""
        assert server.end() == (0, "served\n")
    assert len(re.findall(r"cut what has not ended within 0\.1 s", server.log)) == 1


def test_worker_that_ignores_the_deadline_is_killed():
    blocked = """
async def stuck(sock):
    class Stuck(Answer):
        def data_received(self, buf):
            print("stuck", flush=True)
            while True:
                signal.pause()
    return await poolio.create_server(Stuck, sock=sock)
"""
    with Serving(f"poolio.workers.supervisor.KILL_SECONDS = 0.1\n{blocked}{serve(grace=0.1, app='stuck')}") as server:
        sock, pid = connect(server.port())
        sock.sendall(b"x")
        assert server.process.stdout.readline() == b"stuck\n"
        assert server.end(signal.SIGTERM) == (0, "served\n")
        sock.close()
    assert f"({pid}) has not ended in time: killed" in server.log


def test_second_signal_ends_at_once():
    with Serving(serve(grace=600)) as server:
        sock, pid = connect(server.port())
        server.signal(signal.SIGTERM)
        server.until_logged("no new connections, 600 s for the others")
        assert server.end(signal.SIGINT) == (0, "served\n")
        assert is_gone(pid)
        sock.close()
    assert "SIGINT again: ended at once" in server.log


def test_interrupt_of_the_whole_terminal_drains_once_and_leaves_the_port_to_the_next():
    with Serving(serve()) as server:
        port = server.port()
        sock, _ = connect(port)
        os.killpg(server.process.pid, signal.SIGINT)
        server.until_logged("ended with status 0")
        eventually(lambda: is_free(port))
        sock.sendall(b"still here")
        assert sock.recv(10, socket.MSG_WAITALL) == b"still here"
        sock.close()
        assert server.end() == (0, "served\n")
    assert "again" not in server.log and "Traceback" not in server.log


def test_parent_killed_workers_end_and_free_the_port():
    with Serving(serve(grace=0.1)) as server:
        port = server.port()
        pids = workers_of(port, 2)
        sock, _ = connect(port)
        server.signal(signal.SIGKILL)
        eventually(lambda: all(is_gone(pid) for pid in pids))
        with contextlib.suppress(ConnectionResetError):
            assert read_all(sock) == b""
        with socket.create_server(("127.0.0.1", port)):
            pass


# Counted under load

class Load:
    """Clients that connect, ask, and close, over and over: what has become of each connection."""

    def __init__(self, port, clients=16):
        self.port = port
        self.clients = clients
        self.is_over = False
        self.answered = {}          # by process id
        self.refused = 0            # never connected
        self.lost = []              # (when it began, whether a worker had greeted)

    async def __aenter__(self):
        self.tasks = []
        self.add(self.clients)
        return self

    async def __aexit__(self, *_):
        self.is_over = True
        await asyncio.wait_for(asyncio.gather(*self.tasks), SECONDS)

    def count(self):
        return sum(self.answered.values())

    async def until(self, condition):
        async with asyncio.timeout(SECONDS):
            while not condition():
                await asyncio.sleep(0.002)

    async def until_answered(self, more):
        target = self.count() + more
        await self.until(lambda: self.count() >= target)

    def add(self, clients):
        self.tasks += [asyncio.create_task(self._client()) for _ in range(clients)]

    async def until_waiting(self, connections):
        """Until so many are in queues; with more clients, as the others may hang with who has accepted them."""
        while waiting_on(self.port) < connections:
            self.add(1)
            await asyncio.sleep(0.01)

    async def _client(self):
        while not self.is_over:
            began, greeting, answer = asyncio.get_running_loop().time(), b"", b""
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionRefusedError:
                self.refused += 1
                continue
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                writer.write(b"question")
                greeting = await reader.readline()
                answer = await reader.readexactly(8)
            if answer == b"question":
                self.answered[int(greeting)] = self.answered.get(int(greeting), 0) + 1
            else:
                self.lost.append((began, greeting))
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@pytest.mark.parametrize("connections", (100, pytest.param(2000, marks=pytest.mark.full)))
async def test_workers_killed_under_load_lose_no_connection_that_they_had_not_accepted(connections):
    """A worker is stopped first, so that it is certain what it can't have accepted: all that begins from then on."""
    with Serving(serve(3)) as server:
        port = server.port()
        killed, waited = [], []
        async with Load(port) as load:
            for _ in range(5):
                await load.until_answered(connections)
                pid = max(load.answered.keys() - killed, key=load.answered.get)
                os.kill(pid, signal.SIGSTOP)
                await load.until(lambda pid=pid: state_of(pid) == "T")
                stopped = asyncio.get_running_loop().time()
                lost_before = len(load.lost)
                await load.until_waiting(8)
                waited.append(waiting_on(port))
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
                await load.until_answered(connections)
                assert [began for began, _ in load.lost[lost_before:] if began >= stopped] == []
        status, _ = server.end(signal.SIGTERM)
        print(f"\n5 workers killed: {load.count()} connections answered by {len(load.answered)} workers, "
              f"{sum(waited)} were waiting in the queues of the killed, {load.refused} refused, {len(load.lost)} lost "
              "that the killed had accepted")
    assert (status, load.refused) == (0, 0)
    assert len(load.lost) <= 5 * len(load.tasks)
    assert len(load.answered) > 5
    assert server.log.count("killed by SIGKILL") == 5


async def test_sighup_replaces_every_worker_and_loses_nothing():
    def descriptors():
        return len(os.listdir(f"/proc/{server.process.pid}/fd"))

    with Serving(serve(3)) as server:
        port = server.port()
        before = set(workers_of(port, 3))
        open_before = descriptors()
        async with Load(port) as load:
            for round_ in (1, 2):
                await load.until_answered(100)
                server.signal(signal.SIGHUP)
                await asyncio.to_thread(server.until_logged, "ended with status 0", 3 * round_)
            await load.until_answered(100)
        assert not before & set(workers_of(port, 3))
        assert descriptors() == open_before
        status, _ = server.end(signal.SIGTERM)
    assert (status, load.refused, load.lost) == (0, 0, [])
    assert len(load.answered) >= 6


async def test_sigterm_under_load_resets_nobody():
    """Refused is who comes too late; whoever is connected is answered."""
    with Serving(serve(3)) as server:
        port = server.port()
        async with Load(port) as load:
            await load.until_answered(300)
            server.signal(signal.SIGTERM)
            await load.until(lambda: load.refused > 0)
        status, _ = await asyncio.to_thread(server.end)
    assert (status, load.lost) == (0, [])


def test_connections_in_the_queue_at_sigterm_are_served():
    with Serving(serve(1)) as server:
        port = server.port()
        (pid,) = workers_of(port, 1)
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: state_of(pid) == "T")
        clients = [socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
                   for _ in range(500)]  # more than a few passes of a loop accept
        server.signal(signal.SIGTERM)
        server.until_logged("no new connections")
        os.kill(pid, signal.SIGCONT)
        answered = {greeting_of(client) for client in clients}
        for client in clients:
            client.close()
        assert server.end()[0] == 0
    assert answered == {pid}


def test_queue_of_a_slot_that_waits_for_its_next_worker_at_sigterm_is_served(tmp_path):
    marker = tmp_path / "marker"
    program = f"poolio.workers.supervisor.FIRST_DELAY = poolio.workers.supervisor.MAX_DELAY = 600\n{DIES_LATER}"
    with Serving(program + serve(1, app="dies_later"), str(marker)) as server:
        port = server.port()
        (pid,) = workers_of(port, 1)
        marker.touch()
        os.kill(pid, signal.SIGKILL)
        server.until_logged("the next one in 600 s")
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
            marker.unlink()
            server.signal(signal.SIGTERM)
            assert greeting_of(client) != pid
        assert server.end() == (0, "served\n")


def test_queue_of_a_slot_whose_next_worker_starts_at_sigterm_is_served(tmp_path):
    marker = tmp_path / "marker"
    with Serving(STARTS_LATER + serve(1, app="starts_later"), str(marker)) as server:
        port = server.port()
        (pid,) = workers_of(port, 1)
        marker.touch()
        os.kill(pid, signal.SIGKILL)
        server.until_logged("starts", 2)
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
            server.signal(signal.SIGTERM)
            server.until_logged("no new connections")
            marker.unlink()
            assert greeting_of(client) != pid
        assert server.end() == (0, "served\n")


def test_next_worker_that_does_not_become_ready_after_sigterm_is_killed_at_the_deadline(tmp_path):
    marker = tmp_path / "marker"
    program = f"poolio.workers.supervisor.KILL_SECONDS = 0.1\n{STARTS_LATER}"
    with Serving(program + serve(1, app="starts_later", grace=0), str(marker)) as server:
        (pid,) = workers_of(server.port(), 1)
        marker.touch()
        os.kill(pid, signal.SIGKILL)
        server.until_logged("starts", 2)
        assert server.end(signal.SIGTERM) == (0, "served\n")
    assert "has not ended in time: killed" in server.log


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


# Starting, dying

def test_worker_that_fails_at_start_ends_it_with_its_error_shown_once():
    failing = """
async def failing(sock):
    raise ValueError("no configuration")
"""
    with Serving(failing + serve(3, app="failing")) as server:
        assert server.end() == (1, "")
    assert re.search(r"^RuntimeError: worker \d of 3 failed to start: ValueError: no configuration$", server.log, re.M)
    assert server.log.count("In the worker:") == 1
    assert server.log.count("in failing") == 1
    assert "died" not in server.log


@pytest.mark.parametrize(("app", "error"), [
    ("return None", "TypeError: app() must return an async context manager, such as a server, not None"),
    ("os._exit(7)", "ended with status 7"),
    ("sys.exit('bad option')", "SystemExit: bad option"),
])
def test_app_that_does_not_start_is_named(app, error):
    with Serving(f"async def broken(sock):\n    {app}\n" + serve(1, app="broken")) as server:
        assert server.end() == (1, "")
    assert f"RuntimeError: worker 0 of 1 failed to start: {error}" in server.log


def test_sigterm_while_starting_ends_it():
    slow = """
@contextlib.asynccontextmanager
async def slow(sock):
    print("ready 0", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        print("undone", flush=True)
    yield
"""
    with Serving(slow + serve(1, app="slow")) as server:
        server.ready()
        assert server.end(signal.SIGTERM) == (0, "undone\nserved\n")


def test_error_of_on_ready_lets_the_workers_end_and_is_raised():
    program = """
@contextlib.asynccontextmanager
async def tidy(sock):
    async with await app(sock):
        yield
    print("undone", flush=True)

def on_ready(sock):
    global client
    client = socket.create_connection(sock.getsockname())
    ready(sock)
    sys.exit("no such user")

try:
    poolio.serve(tidy, "127.0.0.1:0", workers=2, on_ready=on_ready)
finally:
    print("raises", flush=True)
"""
    with Serving(program) as server:
        port = server.port()
        server.until_logged(r"on_ready\(\) failed: no new connections, 30 s for the others: SystemExit\('no such")
        server.until_logged("ended with status 0")  # the one that the parent is not connected to
        eventually(lambda: is_free(port))
        assert server.end(signal.SIGTERM) == (1, "undone\nraises\n")
    assert "SIGTERM again: ended at once" in server.log and "\nno such user\n" in server.log


def test_worker_that_is_ready_after_the_end_has_begun_is_not_announced():
    late = """
@contextlib.asynccontextmanager
async def late(sock):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    os.kill(os.getppid(), signal.SIGTERM)
    signal.sigwait([signal.SIGTERM])  # the parent says that it is over
    async with await app(sock):
        print("enters", flush=True)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        os.kill(os.getpid(), signal.SIGTERM)  # for the loop to see, when it runs again
        yield
"""
    with Serving(late + serve(1, app="late")) as server:
        assert server.end() == (0, "enters\nserved\n")
    assert "1 workers serve" not in server.log


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


def test_error_at_the_end_of_a_worker_is_logged():
    bad_end = """
@contextlib.asynccontextmanager
async def bad_end(sock):
    async with await app(sock):
        yield
    raise OSError("disk full")
"""
    with Serving(bad_end + serve(1, app="bad_end")) as server:
        server.ready()
        assert server.end(signal.SIGTERM) == (0, "served\n")
    assert "OSError: disk full" in server.log


# Addresses

def test_several_addresses_reach_app_in_their_order(tmp_path):
    several = """
@contextlib.asynccontextmanager
async def several(tcp, other, unix):
    async with await app(tcp), await app(other), await app(unix):
        yield
"""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))  # a file of somebody who is gone
    addresses = f'"127.0.0.1:0", "localhost:0", "unix:{path}"'  # localhost may be ::1
    with Serving(several + f"poolio.serve(several, {addresses}, workers=2, on_ready=ready)") as server:
        tcp, other = server.ready()
        assert tcp != other
        assert workers_of(tcp, 2) == workers_of(other, 2)
        for _ in range(20):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                assert greeting_of(client) in workers_of(tcp, 2)
        with pytest.raises(OSError, match=r"cannot bind unix:.*: Address already in use"):
            poolio.serve(None, f"unix:{path}", workers=1)
        path.rename(path.with_suffix(".old"))
        with socket.socket(socket.AF_UNIX) as next_one:
            next_one.bind(str(path))
            assert server.end(signal.SIGTERM)[0] == 0
            assert path.exists()


def pid_behind(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(SECONDS)
        client.connect(str(path))
        return greeting_of(client)


@pytest.mark.parametrize(("create", "loop_factory"), [
    ("poolio", "poolio.new_event_loop"), ("asyncio.get_running_loop()", "poolio.new_event_loop"),
    ("poolio", "asyncio.new_event_loop"), ("poolio", "uvloop.new_event_loop"),
])
@pytest.mark.parametrize("is_given", (False, True))
def test_unix_socket_is_reachable_after_sighup(create, loop_factory, is_given, tmp_path):
    path = tmp_path / "socket"
    program = f"""
import uvloop
async def app(sock):
    return await {create}.create_unix_server(Answer, sock=sock)
address = "unix:{path}"
if {is_given}:
    address = socket.socket(socket.AF_UNIX)
    address.bind("{path}")
poolio.serve(app, address, workers=2, on_ready=ready, loop_factory={loop_factory})
"""
    with Serving(program) as server:
        server.ready()
        before = {int(pid) for pid in server.until_logged(r"\((\d+)\) starts", 2)}
        server.signal(signal.SIGHUP)
        server.until_logged("ended with status 0", 2)
        assert pid_behind(path) not in before
        assert server.end(signal.SIGTERM)[0] == 0
    assert path.exists() is is_given


def test_flow_of_datagrams_stays_with_its_slot_when_a_worker_is_replaced():
    datagrams = """
class Tell(poolio.DatagramProtocol):
    def datagrams_received(self, batch):
        for data, sender in batch:
            self.transport.sendto(b"%d " % os.getpid() + bytes(data), sender)

@contextlib.asynccontextmanager
async def datagrams(sock):
    transport, _ = await poolio.create_datagram_endpoint(Tell, sock=sock)
    yield
    transport.close()
"""
    def ask(flow):
        flow.send(b"who")
        pid, _, what = flow.recv(100).partition(b" ")
        assert what == b"who"
        return int(pid)

    with Serving(datagrams + serve(2, "udp:127.0.0.1:0", app="datagrams")) as server, contextlib.ExitStack() as stack:
        port = server.port()
        flows = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(64)]
        for flow in flows:
            flow.settimeout(SECONDS)
            flow.connect(("127.0.0.1", port))
        before = [ask(flow) for flow in flows]
        first, second = sorted(set(before))
        os.kill(first, signal.SIGKILL)
        eventually(lambda: is_gone(first))
        after = [ask(flow) for flow in flows]  # what comes while the slot is empty waits in its socket
        third = (set(after) - {second}).pop()
        assert after == [third if pid == first else pid for pid in before]
        assert server.end(signal.SIGTERM)[0] == 0


def test_socket_that_is_bound_already_is_shared_by_all():
    given = """
sock = socket.create_server(("127.0.0.1", 0))
poolio.serve(app, sock, workers=2, on_ready=ready)
sock.setblocking(True)
sock.accept()[0].sendall(b"mine again")
"""
    with Serving(given) as server:
        port = server.port()
        assert len(workers_of(port, 1)) == 1
        server.signal(signal.SIGTERM)
        server.until_logged("ended with status 0", 2)
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
            assert client.recv(10, socket.MSG_WAITALL) == b"mine again"
        assert server.end()[0] == 0


def test_port_in_use_is_an_error_even_if_it_may_be_shared():
    with Serving(serve(2)) as server:
        port = server.port()
        with pytest.raises(OSError, match=rf"cannot bind 127\.0\.0\.1:{port}: Address already in use"):
            poolio.serve(None, f"127.0.0.1:{port}", workers=2)
        assert server.end(signal.SIGTERM)[0] == 0


@pytest.mark.parametrize(("arguments", "options", "error"), [
    ((), {}, "needs an address"),
    (("8888",), {}, r"'8888' is no address: write 'HOST:PORT', 'udp:HOST:PORT' or 'unix:PATH'"),
    (("::1:80",), {}, "'::1:80' is no address.*in brackets"),
    (("unix:",), {}, "'unix:' is no address"),
    (("127.0.0.1:65536",), {}, "port 65536 of '127.0.0.1:65536' is beyond 65535"),
    (("127.0.0.1:0",), {"workers": 0}, "workers must be 1 to 1024, not 0"),
    (("127.0.0.1:0",), {"workers": 1025}, "workers must be 1 to 1024, not 1025"),
    (("127.0.0.1:0",), {"grace": -1}, "grace must be 0 seconds or more, not -1"),
])
def test_bad_argument_is_named(arguments, options, error):
    with pytest.raises(ValueError, match=error):
        poolio.serve(None, *arguments, **options)


async def test_serve_under_a_running_loop_is_refused():
    with pytest.raises(RuntimeError, match="call it where none runs"):
        poolio.serve(None, "127.0.0.1:0")


@pytest.mark.parametrize(("code", "error"), [
    ('other = threading.Thread(target=signal.pause, name="tick", daemon=True); other.start()\n' + serve(),
     "without other threads; tick should be started by app"),
    ('sys.platform = "darwin"\n' + serve(), "with 2 workers needs Linux"),
    ('del os.fork\n' + serve(1), "which linux can't"),
    ('run = lambda: poolio.serve(app, "127.0.0.1:0")\nthread = threading.Thread(target=run)\nthread.start()',
     "call it in the main thread"),
])
def test_surroundings_that_do_not_fit_are_refused(code, error):
    done = subprocess.run([sys.executable, "-c", PROGRAM + code], capture_output=True, text=True, timeout=SECONDS)
    assert "RuntimeError: serve() " in done.stderr and error in done.stderr


# python -m poolio echo --workers

def test_echo_on_several_workers_echoes_until_it_is_interrupted(tmp_path):
    path = str(tmp_path / "socket")
    server = subprocess.Popen([sys.executable, "-m", "poolio", "echo", "--workers", "2", "--unix", path],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with server:
        try:
            assert server.stdout.readline() == f"echo on {path}, loop poolio, workers 2; Ctrl-C stops\n"
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(SECONDS)
                client.connect(path)
                client.sendall(b"hello")
                assert client.recv(5, socket.MSG_WAITALL) == b"hello"
                server.send_signal(signal.SIGINT)
                output, errors = server.communicate(timeout=SECONDS)
        finally:
            server.kill()
    assert (server.returncode, output) == (0, "")
    assert "Traceback" not in errors and not os.path.exists(path)
