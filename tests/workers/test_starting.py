"""serve() at its start: workers that fail, apps that do not start, and an end that comes meanwhile."""

import re
import signal

import pytest
from kit.serving import (
    Serving,
    eventually,
    is_free,
    needs_workers,
    serve,
)

pytestmark = needs_workers


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
