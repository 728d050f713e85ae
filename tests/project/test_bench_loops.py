"""The parts in which only the loop is another one: loop and programs. What they count, and that wrong answers fail."""

import asyncio
import contextlib
import json
import shutil
import socket
import subprocess
import sys
import threading

import pytest
from kit.benchruns import ROOT

import poolio
from benchmarks import harness, instructions, loop, peers, program_servers, programs, records, redis_asking
from poolio.wire.reactor import HAS_EPOLL

pytestmark = pytest.mark.skipif(shutil.which("cc") is None or not HAS_EPOLL,
                                reason="the load generator is a C program for Linux, and poolio.EventLoop needs epoll")
HTTP = b"HTTP/1.1 200 OK\r\ndate: today\r\nContent-Length: %d\r\n\r\n%b"
BODY = program_servers.body_of(13)
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


@pytest.fixture(autouse=True)
def its_own_loop_only():
    yield
    asyncio.set_event_loop(None)


# --- A loop's own operations ---

@pytest.mark.parametrize("kind", loop.KINDS)
@pytest.mark.parametrize("new_loop", (asyncio.SelectorEventLoop, poolio.EventLoop), ids=("asyncio", "poolio"))
def test_operation_says_how_many_were_done(kind, new_loop):
    operation, _, _ = loop.OPERATIONS[kind]
    count = 2 * loop.GATHERED if kind == "tasks" else 250
    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(operation(count)) == count


def test_batches_hold_what_was_done_and_its_processor_time():
    with asyncio.Runner() as runner:
        batches = runner.run(loop.measure("sleep", 0.05))
    assert {done for done, _ in batches} == {loop.OPERATIONS["sleep"][2]} and all(ns > 0 for _, ns in batches)


def test_operation_that_went_wrong_fails(monkeypatch):
    async def wrong(count):
        return count - 1

    monkeypatch.setitem(loop.OPERATIONS, "sleep", (wrong, "", 10))
    with asyncio.Runner() as runner, pytest.raises(RuntimeError, match="9 of 10"):
        runner.run(loop.measure("sleep", 0.01))


def test_timer_that_was_cancelled_and_runs_is_counted(monkeypatch):
    class Deaf:
        def cancel(self):
            """Does nothing."""

    async def main():
        running = asyncio.get_running_loop()
        monkeypatch.setattr(running, "call_later", lambda _, *call: (running.call_soon(*call), Deaf())[1])
        return await loop.timers(250)

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        assert runner.run(main()) < 250


# --- The load generator ---

@contextlib.contextmanager
def answering(*answers):
    """A server of one connection: each answer is sent when something has come. Behind the last one it closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve():
            with contextlib.suppress(OSError), listener.accept()[0] as sock:
                for answer in answers:
                    sock.recv(65536)
                    sock.sendall(answer)
                sock.shutdown(socket.SHUT_WR)
                sock.recv(65536)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join()


def asked(port, kind, count):
    return subprocess.run([str(harness.build("ask")), str(port), "1", kind, "count", str(count)],
                          capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("kind", "answers", "said"), [
    ("http13", [HTTP % (13, BODY), HTTP % (13, BODY[:-1] + b"x")], "wrong bytes"),
    ("http13", [HTTP % (12, BODY[:-1])], "length of the body, or another"),
    ("http13", [HTTP.replace(b"200", b"500") % (13, BODY)], "did not answer with HTTP/1.1 200"),
    ("http13", [HTTP % (13, BODY + b"x")], "more than the answer"),
    ("http13", [HTTP % (13, BODY[:-1])], "closed a connection before"),
    ("websocket5", [b"HTTP/1.1 200 OK\r\n\r\n"], "does not speak WebSocket"),
    ("websocket5", [UPGRADED, b"\x82\x05wrong"], "wrong bytes"),
    ("websocket5", [UPGRADED, b"\x81\x05wrong"], "another frame"),
    ("websocket65536", [], "N at most 65535"),
])
def test_wrong_answer_ends_the_load_with_its_reason(kind, answers, said):
    with answering(*answers) as port:
        if not answers:
            socket.create_connection(("127.0.0.1", port)).close()
        done = asked(port, kind, 2)
    assert done.returncode == 1 and said in done.stderr


def test_right_answers_end_the_load_when_there_were_enough():
    answer = HTTP % (65535, program_servers.body_of(65535))
    with answering(answer, answer, answer) as port:
        assert asked(port, "http65535", 3).returncode == 0


# --- Programs ---

@pytest.mark.parametrize("name", programs.NEEDS)
def test_program_is_measured_on_poolio(name):
    for module in programs.NEEDS[name]:
        pytest.importorskip(module, reason=f"{module} is not installed: pip install 'poolio[libraries]'")
    kind = next(kind for kind in programs.KINDS if kind.startswith(name))
    task = programs.Task(kind, peers.OWN, 0.1, {})
    programs.prepare()
    assert programs.measured(task)[programs.FIGURE] > 0


def test_wrong_values_of_redis_fail(monkeypatch):
    pytest.importorskip("redis", reason="redis is not installed: pip install 'poolio[libraries]'")

    async def main(port):
        asker = redis_asking.Asker(port, 3)
        async with asker.client:
            await asker.client.mset(dict(asker.values) | {b"key:1": b"another"})
            await asker.ask()

    with harness.serving("redis_servers", programs.REDIS_SERVER) as server, \
            asyncio.Runner(loop_factory=poolio.EventLoop) as runner, pytest.raises(RuntimeError, match="another"):
        runner.run(main(server.port))


@pytest.mark.parametrize("part", (loop, programs), ids=("loop", "programs"))
def test_rows_are_loops_of_which_each_is_a_module(part):
    for kind in part.KINDS:
        rows = part.rows(kind)
        assert set(peers.USUAL) < set(rows) and {"blazio", "loopmini", "veloxloop", "zloop"} < set(rows)
        assert rows["poolio.EventLoop"][0] == "poolio" and rows["zloop"][0] == "zloop"


def test_instructions_of_programs_are_of_the_same_rows():
    assert instructions.rows("aiohttp13x8") == programs.rows("aiohttp13x8")
    serve, generator, asked = instructions.load_of("aiohttp13x8", "uvloop")
    assert (serve, generator.name, asked) == (("program_servers", "aiohttp13", "uvloop"), "ask", "http13")
    with pytest.raises(ValueError, match="redis16x8"):
        instructions.rows("redis16x8")


def test_bench_writes_a_loop_and_names_those_that_are_not_there(tmp_path):
    data = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", "poolio", "bench", "loop", "--kinds", "sleep", "--rows", "EventLoop", "zloop",
         "--rounds", "1", "--seconds", "0.1", "--json", data, "--html", tmp_path / "report.html"],
        capture_output=True, text=True, cwd=ROOT)
    found = records.load(data)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {record.row for record in found.records} >= {"asyncio", "poolio.EventLoop"}
    assert "zloop" in {absent.row for absent in found.absent} | {record.row for record in found.records}
    assert json.loads(data.read_text())["versions"].keys() >= {"rloop", "blazio", "uvicorn"}
