"""serve() at its end: signals, deadlines, connections that are open or wait in a queue, and a killed parent."""

import contextlib
import os
import re
import signal
import socket

import pytest
from kit.serving import (
    DIES_LATER,
    SECONDS,
    STARTS_LATER,
    Serving,
    connect,
    eventually,
    greeting_of,
    is_free,
    is_gone,
    needs_workers,
    read_all,
    serve,
    state_of,
    workers_of,
)

pytestmark = needs_workers
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
