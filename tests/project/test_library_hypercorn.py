"""Hypercorn on poolio.EventLoop, unchanged, against real peers: every byte is checked.

Its command line knows no loops but its own three. A program that wants another one runs its serve() on it, as its
documentation says, and so does the server here; one test sets a policy, from which the worker class "asyncio" gets its
loop. The clients, httpx and websockets, run on poolio.EventLoop, too.
"""

import asyncio
import contextlib
import signal
import ssl
import sys

import pytest
import trustme
from kit.libraries import LARGE, MESSAGE, assert_poolio, library, pieces_of, plain_and_tls, run, serving

hypercorn = library("hypercorn", "hypercorn.asyncio")
httpx = library("httpx", "h2")
websockets = library("websockets", "websockets.asyncio.client", minversion="15")
every_http = pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
PROGRAM = """
import asyncio
import hypercorn.asyncio
import hypercorn.config
import poolio
import sys

async def lifespan(scope, receive, send):
    for word in ("startup", "shutdown"):
        assert (await receive())["type"] == f"lifespan.{word}"
        await send({"type": f"lifespan.{word}.complete"})

async def http(scope, receive, send):
    loop = type(asyncio.get_running_loop())
    headers = {"loop": f"{loop.__module__}.{loop.__name__}", "peer": scope["client"][1]}
    headers = [(name.encode(), str(value).encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while True:
        message = await receive()
        await send({"type": "http.response.body", "body": message["body"], "more_body": message["more_body"]})
        if not message["more_body"]:
            break

async def websocket(scope, receive, send):
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send(message | {"type": "websocket.send"})

async def app(scope, receive, send):
    await globals()[scope["type"]](scope, receive, send)

settings = {"bind": "127.0.0.1:0"}
if len(sys.argv) > 1:
    settings |= {"certfile": sys.argv[1], "keyfile": sys.argv[1]}
config = hypercorn.config.Config.from_mapping(settings)
"""
SERVE = """
poolio.run(hypercorn.asyncio.serve(app, config))
"""
RUN_WITH_POLICY = """
import hypercorn.run

class Policy(asyncio.DefaultEventLoopPolicy):
    _loop_factory = poolio.EventLoop

asyncio.set_event_loop_policy(Policy())
config.worker_class = "asyncio"
config.workers = 0
config.application_path = "program:app"
if __name__ == "__main__":
    sys.exit(hypercorn.run.run(config))
"""


@contextlib.asynccontextmanager
async def hypercorn_port(folder, tls=False, stop=signal.SIGINT, end=SERVE):
    """Start the program; yields its port and the client's TLS context, None without TLS."""
    (folder / "program.py").write_text(PROGRAM + end)
    command = [sys.executable, "-W", "error", folder / "program.py"]
    trusting = None
    if tls:
        authority, certificate = trustme.CA(), folder / "certificate.pem"
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
        command.append(certificate)
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(trusting)
    async with serving(command, r"Running on https?://127\.0\.0\.1:(\d+)", stop) as match:
        yield int(match[1]), trusting


def http_client(httpx, version, port, trusting=None):
    """A client that speaks this version alone: without TLS it does so without asking."""
    return httpx.AsyncClient(
        base_url=f"{'https' if trusting else 'http'}://localhost:{port}", verify=trusting or False,
        http1=version == "HTTP/1.1", http2=version == "HTTP/2", trust_env=False, timeout=30)


async def ask(client, version, content):
    response = await client.post("/", content=content)
    assert (response.status_code, response.http_version) == (200, version)
    assert response.headers["loop"] == "poolio.EventLoop"
    return response


@plain_and_tls
@every_http
def test_hypercorn_keeps_a_connection_through_small_and_large_bodies(hypercorn, httpx, tmp_path, version, tls):
    async def main():
        async with hypercorn_port(tmp_path, tls) as where, http_client(httpx, version, *where) as client:
            peers = set()
            for body in (b"", b"hello", LARGE, b"", LARGE, b"end"):
                response = await ask(client, version, body)
                assert response.content == body
                peers.add(response.headers["peer"])
            assert len(peers) == 1

    run(main)


@plain_and_tls
@every_http
def test_hypercorn_answers_many_requests_at_once(hypercorn, httpx, tmp_path, version, tls):
    async def main():
        async with hypercorn_port(tmp_path, tls) as where, http_client(httpx, version, *where) as client:
            async def upload(body):
                for piece in pieces_of(body):
                    yield piece

            async def ask_for(size):
                response = await ask(client, version, upload(LARGE[:size]))
                assert response.content == LARGE[:size]
                return response.headers["peer"]

            peers = set(await asyncio.gather(*(ask_for(size) for size in range(0, 1_000_000, 50_001))))
            assert (len(peers) == 1) is (version == "HTTP/2")

    run(main)


@plain_and_tls
def test_hypercorn_websocket_echoes_and_closes(hypercorn, websockets, tmp_path, tls):
    async def main():
        async with hypercorn_port(tmp_path, tls) as (port, trusting):
            address = f"{'wss' if tls else 'ws'}://localhost:{port}"
            async with websockets.asyncio.client.connect(address, proxy=None, ssl=trusting) as client:
                assert_poolio(client.transport)
                for message in ("", "one", "ünïcode" * 10_000, b"", MESSAGE):
                    await client.send(message)
                    assert await client.recv() == message
            assert client.close_code == 1000

    run(main)


@every_http
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_hypercorn_ends_by_signal_while_a_connection_is_open(hypercorn, httpx, tmp_path, stop, version):
    async def main():
        async with contextlib.AsyncExitStack() as stack:
            async with hypercorn_port(tmp_path, stop=stop) as (port, _):
                client = await stack.enter_async_context(http_client(httpx, version, port))
                assert (await ask(client, version, b"hello")).content == b"hello"
            with pytest.raises(httpx.TransportError):
                await client.get("/")

    run(main)


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="CPython 3.14 warns of policies")
def test_hypercorn_worker_takes_the_loop_of_a_policy(hypercorn, httpx, tmp_path):
    async def main():
        async with (hypercorn_port(tmp_path, end=RUN_WITH_POLICY) as where,
                    http_client(httpx, "HTTP/1.1", *where) as client):
            assert (await ask(client, "HTTP/1.1", b"hello")).content == b"hello"

    run(main)
