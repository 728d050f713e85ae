"""uvicorn with httptools on poolio.EventLoop, unchanged, against real peers: every byte is checked."""

import asyncio
import contextlib
import http.client
import signal
import socket
import sys
import time

import pytest
from kit.libraries import LARGE, library, run, serving

uvicorn = library("uvicorn", "httptools", minversion="0.36")        # the first that takes a loop factory
ECHO_APP = """
import asyncio

async def app(scope, receive, send):
    body = []
    while not body or message["more_body"]:
        message = await receive()
        body.append(message["body"])
    body = b"".join(body)
    loop, cycle = asyncio.get_running_loop(), receive.__self__
    who = [f"{type(part).__module__}.{type(part).__name__}" for part in (loop, cycle.transport, cycle)]
    headers = {"content-length": len(body), "who": " ".join(who), "peer": scope["client"][1]}
    headers = [(name.encode(), str(value).encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for start in range(0, len(body), 100_003):
        await send({"type": "http.response.body", "body": body[start:start + 100_003], "more_body": True})
    await send({"type": "http.response.body", "body": b""})
"""
WHO = ("poolio.EventLoop poolio.wire.stream.StreamTransport "
       "uvicorn.protocols.http.httptools_impl.RequestResponseCycle")


@contextlib.asynccontextmanager
async def uvicorn_port(folder, stop=signal.SIGINT, status=0, loop="poolio:new_event_loop", workers=1):
    (folder / "echo_app.py").write_text(ECHO_APP)
    warnings = ["error", "ignore::ResourceWarning"][:workers]    # the process above many leaves its socket to the end
    command = (
        sys.executable, *(f"-W{what}" for what in warnings), "-m", "uvicorn", "--app-dir", folder, "echo_app:app",
        "--port", "0", "--loop", loop, "--http", "httptools", "--ws", "none", "--lifespan", "off",
        "--no-access-log", "--no-use-colors", "--workers", str(workers),
    )
    async with serving(command, r"running on http://127\.0\.0\.1:(\d+)", stop, status) as match:
        yield int(match[1])


def ask(connection, body):
    connection.request("POST", "/", body)
    response = connection.getresponse()
    assert (response.status, response.headers["who"]) == (200, WHO)
    assert response.read() == body
    return response.headers["peer"]


def test_uvicorn_keeps_a_connection_through_small_and_large_bodies(uvicorn, tmp_path):
    def talk(port):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            return {ask(connection, body) for body in (b"", b"hello", LARGE, b"", LARGE, b"end")}

    async def main():
        async with uvicorn_port(tmp_path) as port:
            assert len(await asyncio.to_thread(talk, port)) == 1

    run(main)


def test_uvicorn_answers_pipelined_requests_in_order(uvicorn, tmp_path):
    requests = [b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\n%04d" % number for number in range(50)]
    requests[-1] = requests[-1].replace(b"Host: here", b"Connection: close")

    def talk(port):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
            sock.sendall(b"".join(requests))
            return sock.makefile("rb").read()

    async def main():
        async with uvicorn_port(tmp_path) as port:
            answers = (await asyncio.to_thread(talk, port)).split(b"HTTP/1.1 200 OK\r\n")[1:]
        assert [answer[-4:] for answer in answers] == [b"%04d" % number for number in range(50)]

    run(main)


@pytest.mark.parametrize("stop, status", [(signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)])
def test_uvicorn_ends_by_signal_while_a_connection_is_open(uvicorn, tmp_path, stop, status):
    async def main():
        async with uvicorn_port(tmp_path, stop, status) as port:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            await asyncio.to_thread(ask, connection, b"hello")
        with contextlib.closing(connection):
            assert connection.sock.recv(1) == b""

    run(main)


def test_uvicorn_takes_the_class_as_its_loop(uvicorn, tmp_path):
    def talk(port):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            ask(connection, b"hello")

    async def main():
        async with uvicorn_port(tmp_path, loop="poolio:EventLoop") as port:
            await asyncio.to_thread(talk, port)

    run(main)


def wait_until_a_worker_listens(port):
    """The process above them says that it serves before one does."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=30).close()
            return


def test_uvicorn_has_workers_on_poolios_loop(uvicorn, tmp_path):
    def talk(port):
        wait_until_a_worker_listens(port)
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            return [ask(connection, body) for body in (b"hello", LARGE)]

    async def main():
        async with uvicorn_port(tmp_path, workers=2) as port:
            await asyncio.gather(*(asyncio.to_thread(talk, port) for _ in range(4)))

    run(main)
