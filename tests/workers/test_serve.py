"""serve(): connections reach every worker, none is lost under load, and calls that cannot work are refused."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys

import pytest
from kit.serving import (
    PROGRAM,
    SECONDS,
    Serving,
    is_gone,
    needs_workers,
    serve,
    state_of,
    waiting_on,
    workers_of,
)

import poolio

pytestmark = needs_workers


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


# --- counted under load ---------------------------------------------------------------------------------------

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


# --- python -m poolio echo --workers --------------------------------------------------------------------------

def test_echo_on_several_workers_echoes_until_it_is_interrupted(tmp_path):
    path = str(tmp_path / "socket")
    server = subprocess.Popen([sys.executable, "-m", "poolio", "echo", "--workers", "2", "--unix", path],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with server:
        try:
            assert server.stdout.readline() == f"echo on {path}, loop poolio, workers 2; Ctrl-C stops\n"
            assert server.stdout.readline() == f"try it: nc -U {path}\n"
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
