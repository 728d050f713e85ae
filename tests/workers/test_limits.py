"""serve() with limits: they hold in each worker, for each server on its sockets that has none of its own."""

import signal
import socket

import pytest
from kit.serving import SECONDS, Serving, connect, needs_workers, read_all

import poolio

pytestmark = needs_workers

APPS = {
    "poolio": "return await poolio.create_server(Answer, sock=sock)",
    "the loop": "return await asyncio.get_running_loop().create_server(Answer, sock=sock)",
    "streams": """
    def greet(reader, writer):
        writer.write(b"%d\\n" % os.getpid())
        kept.append(writer)
    return await poolio.start_server(greet, sock=sock)""",
}


def program(body, **limits):
    options = ", ".join(f"{name}={value!r}" for name, value in limits.items())
    return f"""
kept = []
async def limited(sock):
    {body}
poolio.serve(limited, "127.0.0.1:0", workers=1, grace=0, on_ready=ready, {options})
print("served")
"""


@pytest.mark.parametrize("body", APPS.values(), ids=APPS)
def test_worker_that_is_full_refuses_whichever_way_its_server_was_made(body):
    with Serving(program(body, max_connections=1, when_full="refuse")) as server:
        port = server.port()
        first, _ = connect(port)
        assert read_all(socket.create_connection(("127.0.0.1", port), timeout=SECONDS)) == b""
        first.close()
        assert server.end(signal.SIGTERM) == (0, "served\n")


def test_limit_that_the_app_has_set_itself_is_the_one_that_holds():
    body = "return await poolio.create_server(Answer, sock=sock, max_connections=2, when_full='refuse')"
    with Serving(program(body, max_connections=1, idle_timeout=0.2)) as server:
        port = server.port()
        kept = [connect(port)[0] for _ in range(2)]
        assert read_all(socket.create_connection(("127.0.0.1", port), timeout=SECONDS)) == b""
        assert [read_all(sock) for sock in kept] == [b"", b""]      # serve()'s timeout, which the app has not set


def test_worker_that_is_full_and_lets_others_wait_ends():
    with Serving(program(APPS["poolio"], max_connections=1)) as server:
        port = server.port()
        first, _ = connect(port)
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS):
            server.until_logged("others wait")
            assert server.end(signal.SIGTERM) == (0, "served\n")
        first.close()


@pytest.mark.parametrize("options, error", (
    ({"max_connections": 0}, ValueError), ({"idle_timeout": "1"}, TypeError), ({"when_full": "drop"}, ValueError)))
def test_wrong_limit_is_refused_before_anything_is_bound(options, error):
    name, = options
    with pytest.raises(error, match=f"{name} must be"):
        poolio.serve(None, "127.0.0.1:1", workers=1, **options)
