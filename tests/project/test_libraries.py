"""Real asyncio libraries on poolio.EventLoop, unchanged, against real peers: every byte is checked.

A library that is not installed, and a server that this machine has not, is a skip that says so. The servers are
processes of their own, started by the test that needs one and stopped at its end; what they say is checked then.
"""

import asyncio
import contextlib
import functools
import glob
import http.client
import io
import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile

import pytest
import trustme
from kit.wires import BLOCK, CLIENT_TLS, SERVER_TLS
from kit.wires import run as run_on

import poolio

LARGE = BLOCK[:(5 << 20) + 123]
MESSAGE = BLOCK[:1_000_000]     # the libraries' default limit is 1 MiB, for what it is when compressed, too
PIECE = 100_003                 # of a streamed body: no multiple of anything
STOP_SECONDS = 30

run = functools.partial(run_on, "poolio", timeout=100)
plain_and_tls = pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])


def library(name, *others, minversion=None):
    """A fixture: the library, or a skip."""
    @pytest.fixture(name=name)
    def imported():
        needed = f"{name}>={minversion}" if minversion else name
        for module in (name, *others):
            pytest.importorskip(module, minversion if module == name else None,
                                reason=f"{module} is not installed ({needed}): pip install 'poolio[libraries]'")
        return sys.modules[name]

    return imported


aiohttp = library("aiohttp", "aiohttp.web")
uvicorn = library("uvicorn", "httptools", minversion="0.36")        # the first that takes a loop factory
websockets = library("websockets", "websockets.asyncio.client", "websockets.asyncio.server", minversion="15")
redis = library("redis", "redis.asyncio")
asyncpg = library("asyncpg")


def assert_poolio(transport):
    """It is poolio's, or TLS over poolio's, on poolio's loop."""
    assert type(asyncio.get_running_loop()) is poolio.EventLoop
    if hasattr(transport, "_ssl_protocol"):
        transport = transport._ssl_protocol._transport
    assert type(transport).__module__ == "poolio.transport"


def pieces_of(data):
    return [data[start:start + PIECE] for start in range(0, len(data), PIECE)]


@contextlib.contextmanager
def reserved_port():
    """A free port of 127.0.0.1. It is bound and does not listen, so only a server that asks for this one gets it."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@contextlib.asynccontextmanager
async def serving(command, ready, stop, status=0, **options):
    """Run a server until the block ends; yields the match of the line that says that it serves.

    It says little, so nobody has to read that meanwhile.
    """
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    said = []
    try:
        while not (said and re.search(ready, said[-1])):
            said.append((await process.stdout.readline()).decode())
            assert said[-1], f"it ends instead of serving: {''.join(said)}"
        yield re.search(ready, said[-1])
    finally:
        try:
            async with asyncio.timeout(STOP_SECONDS):
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(stop)
                said.append((await process.stdout.read()).decode())
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    said = "".join(said)
    assert process.returncode == status, said
    assert not re.search("Traceback|Warning|Exception ignored", said), said


# --- aiohttp --------------------------------------------------------------------------------------------------

@contextlib.asynccontextmanager
async def aiohttp_session(aiohttp, handler, tls):
    """Serve the handler; yields a client's session that knows where."""
    web = aiohttp.web

    async def checking(request):
        assert_poolio(request.transport)
        return await handler(request)

    app = web.Application(client_max_size=2 * len(LARGE))
    app.router.add_route("*", "/", checking)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=SERVER_TLS if tls else None).start()
        address = f"{'https' if tls else 'http'}://localhost:{runner.addresses[0][1]}"
        connector = aiohttp.TCPConnector(ssl=CLIENT_TLS, family=socket.AF_INET)
        async with aiohttp.ClientSession(address, connector=connector, raise_for_status=True) as session:
            yield session
    finally:
        await runner.cleanup()


@plain_and_tls
def test_aiohttp_get_answers_on_a_kept_connection(aiohttp, tls):
    peers = set()

    async def hello(request):
        peers.add(request.transport.get_extra_info("peername"))
        return aiohttp.web.json_response({"query": dict(request.query), "secure": request.secure})

    async def main():
        async with aiohttp_session(aiohttp, hello, tls) as session:
            for number in range(20):
                async with session.get("/", params={"number": number}) as response:
                    assert await response.json() == {"query": {"number": str(number)}, "secure": tls}
        assert len(peers) == 1

    run(main)


@plain_and_tls
def test_aiohttp_post_carries_a_large_body_both_ways(aiohttp, tls):
    async def echo(request):
        body = await request.read()
        assert body == LARGE
        return aiohttp.web.Response(body=body)

    async def main():
        body = io.BytesIO(LARGE)
        async with aiohttp_session(aiohttp, echo, tls) as session, session.post("/", data=body) as response:
            assert await response.read() == LARGE

    run(main)


@plain_and_tls
def test_aiohttp_streams_while_the_request_still_comes(aiohttp, tls):
    async def echo(request):
        response = aiohttp.web.StreamResponse()
        await response.prepare(request)
        async for piece in request.content.iter_chunked(PIECE):
            await response.write(piece)
        await response.write_eof()
        return response

    async def main():
        answering = asyncio.Event()

        async def upload():
            first, *others = pieces_of(LARGE)
            yield first
            await answering.wait()
            for piece in others:
                yield piece

        async with aiohttp_session(aiohttp, echo, tls) as session, session.post("/", data=upload()) as response:
            assert_poolio(response.connection.transport)
            answering.set()
            assert b"".join([piece async for piece in response.content.iter_any()]) == LARGE

    run(main)


@plain_and_tls
@pytest.mark.parametrize("debug", [False, True], ids=["", "debug"])     # asyncio looks at the socket only then
def test_aiohttp_file_is_sent_whole(aiohttp, debug, tls, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(LARGE)

    async def file(request):
        return aiohttp.web.FileResponse(path)

    async def main():
        asyncio.get_running_loop().set_debug(debug)
        async with aiohttp_session(aiohttp, file, tls) as session:
            for _ in range(2):
                async with session.get("/") as response:
                    assert await response.read() == LARGE
            async with session.get("/", headers={"Range": "bytes=1000-1999"}) as response:
                assert await response.read() == LARGE[1000:2000]

    run(main)


@plain_and_tls
def test_aiohttp_websocket_echoes_and_closes(aiohttp, tls):
    closed_with = []

    async def echo(request):
        channel = aiohttp.web.WebSocketResponse()
        await channel.prepare(request)
        async for message in channel:
            await (channel.send_str if message.type is aiohttp.WSMsgType.TEXT else channel.send_bytes)(message.data)
        closed_with.append(channel.close_code)
        return channel

    async def main():
        async with aiohttp_session(aiohttp, echo, tls) as session, session.ws_connect("/") as channel:
            for text in ("", "one", "ünïcode" * 10_000):
                await channel.send_str(text)
                assert await channel.receive_str() == text
            await channel.send_bytes(MESSAGE)
            assert await channel.receive_bytes() == MESSAGE
            await channel.close(code=4000)
            assert channel.close_code == aiohttp.WSCloseCode.OK      # aiohttp's own answer to any close
        assert closed_with == [4000]

    run(main)


# --- uvicorn with httptools -----------------------------------------------------------------------------------

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
WHO = ("poolio.loops.event_loop.EventLoop poolio.wire.stream.StreamTransport "
       "uvicorn.protocols.http.httptools_impl.RequestResponseCycle")


@contextlib.asynccontextmanager
async def uvicorn_port(folder, stop=signal.SIGINT, status=0):
    (folder / "echo_app.py").write_text(ECHO_APP)
    command = (
        sys.executable, "-W", "error", "-m", "uvicorn", "--app-dir", folder, "echo_app:app", "--port", "0",
        "--loop", "poolio:new_event_loop", "--http", "httptools", "--ws", "none", "--lifespan", "off",
        "--no-access-log", "--no-use-colors",
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


# --- websockets -----------------------------------------------------------------------------------------------

@contextlib.asynccontextmanager
async def websockets_client(websockets, handler, tls):
    """Serve the handler; yields a connected client."""
    async with websockets.asyncio.server.serve(handler, "127.0.0.1", 0, ssl=SERVER_TLS if tls else None) as server:
        port = server.sockets[0].getsockname()[1]
        options = {"ssl": CLIENT_TLS, "server_hostname": "localhost"} if tls else {}
        address = f"{'wss' if tls else 'ws'}://127.0.0.1:{port}"
        async with websockets.asyncio.client.connect(address, proxy=None, **options) as client:
            assert_poolio(client.transport)
            yield client


@plain_and_tls
def test_websockets_text_and_a_megabyte_come_back(websockets, tls):
    async def echo(connection):
        assert_poolio(connection.transport)
        async for message in connection:
            await connection.send(message)

    async def main():
        async with websockets_client(websockets, echo, tls) as client:
            for message in ("", "one", "ünïcode" * 10_000, b"", MESSAGE):
                await client.send(message)
                assert await client.recv() == message
            await client.send(pieces_of(MESSAGE))
            assert await client.recv() == MESSAGE
            await (await client.ping(b"there?"))

    run(main)


@plain_and_tls
def test_websockets_close_handshake_tells_both_ends(websockets, tls):
    async def main():
        seen = asyncio.get_running_loop().create_future()

        async def wait(connection):
            await connection.wait_closed()
            seen.set_result((connection.close_code, connection.close_reason))

        async with websockets_client(websockets, wait, tls) as client:
            await client.close(4001, "enough")
            assert (client.close_code, client.close_reason) == await seen == (4001, "enough")

    run(main)


@plain_and_tls
def test_websockets_client_gets_what_came_before_the_server_closed(websockets, tls):
    async def send_and_close(connection):
        for piece in pieces_of(LARGE):
            await connection.send(piece)

    async def main():
        async with websockets_client(websockets, send_and_close, tls) as client:
            assert b"".join([piece async for piece in client]) == LARGE
            assert client.close_code == 1000

    run(main)


# --- redis-py against redis-server ----------------------------------------------------------------------------

@contextlib.asynccontextmanager
async def redis_client(redis, folder):
    """Start redis-server; yields a client of one connection."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
    with reserved_port() as port:
        command = (program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no",
                   "--dir", folder)
        async with (
            serving(command, "Ready to accept connections", signal.SIGTERM),
            redis.asyncio.Redis(host="127.0.0.1", port=port, single_connection_client=True) as client,
        ):
            assert_poolio(client.connection._writer.transport)
            yield client


def test_redis_large_value_comes_back(redis, tmp_path):
    async def main():
        async with redis_client(redis, tmp_path) as client:
            for value in (b"", b"hello", LARGE):
                assert await client.set("key", value)
                assert await client.get("key") == value
            assert await client.strlen("key") == len(LARGE)
            assert await client.getrange("key", 1000, 1999) == LARGE[1000:2000]

    run(main)


def test_redis_pipeline_answers_in_order(redis, tmp_path):
    async def main():
        async with redis_client(redis, tmp_path) as client:
            async with client.pipeline(transaction=True) as pipeline:
                for number in range(5000):
                    pipeline.set(f"key {number}", LARGE[:number])
                assert await pipeline.execute() == [True] * 5000
            async with client.pipeline(transaction=False) as pipeline:
                for number in range(5000):
                    pipeline.get(f"key {number}")
                assert await pipeline.execute() == [LARGE[:number] for number in range(5000)]

    run(main)


def test_redis_subscriber_gets_every_message_in_order(redis, tmp_path):
    async def main():
        async with redis_client(redis, tmp_path) as client, client.pubsub() as channel:
            await channel.subscribe("news")
            assert (await channel.get_message(timeout=30))["type"] == "subscribe"
            messages = [b"%d" % number for number in range(200)] + [LARGE, b"end"]
            for message in messages:
                assert await client.publish("news", message) == 1
            assert_poolio(channel.connection._writer.transport)
            received = [(await channel.get_message(timeout=30))["data"] for _ in messages]
            assert received == messages

    run(main)


# --- asyncpg against PostgreSQL -------------------------------------------------------------------------------

every_wire = pytest.mark.parametrize("wire", ["unix", "tcp", "tls"])


def postgres_program(name):
    """Where it is: in PATH, or in the newest of Debian's folders."""
    folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: float(path.split("/")[4]))
    program = shutil.which(name) or shutil.which(name, path=os.pathsep.join(reversed(folders)))
    if program is None:
        pytest.skip(f"PostgreSQL's {name} is not installed (Debian: apt-get install postgresql)")
    return program


def other_user():
    """How to start PostgreSQL, which refuses to be root: as whom."""
    if os.geteuid():
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    pytest.skip("PostgreSQL refuses to be root, and there is no user postgres or nobody")


@pytest.fixture(scope="module")
def cluster():
    """A folder with a new database cluster in "data", and a certificate; both are those of the user who serves it."""
    initdb, user = postgres_program("initdb"), other_user()
    with tempfile.TemporaryDirectory(prefix="poolio-") as folder:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(f"{folder}/authority.pem")
        certificate = f"{folder}/certificate.pem"
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
        os.chmod(certificate, 0o600)
        if user:
            for path in (folder, certificate):
                os.chown(path, user["user"], user["group"])
        command = (initdb, "--pgdata", f"{folder}/data", "--username", "postgres", "--auth", "trust", "--no-locale",
                   "--encoding", "UTF8", "--no-sync")
        subprocess.run(command, cwd=folder, timeout=100, check=True, stdout=subprocess.DEVNULL, **user)
        yield folder


@contextlib.asynccontextmanager
async def postgres(asyncpg, cluster, wire):
    """Start PostgreSQL; yields a pool of connections to it."""
    async def check(connection):
        assert_poolio(connection._transport)

    with reserved_port() as port:
        settings = ["listen_addresses=127.0.0.1", f"unix_socket_directories={cluster}", "fsync=off"]
        if wire == "tls":
            settings += ["ssl=on", *(f"ssl_{part}_file={cluster}/certificate.pem" for part in ("cert", "key"))]
            # without this the client asks for TLS on "tcp", too, is refused, and goes on with the same transport
            options = {"ssl": ssl.create_default_context(cafile=f"{cluster}/authority.pem")}
        else:
            options = {}
        command = [postgres_program("postgres"), "-D", f"{cluster}/data", "-p", str(port)]
        for setting in settings:
            command += ["-c", setting]
        host = cluster if wire == "unix" else "127.0.0.1"
        async with (
            serving(command, "ready to accept connections", signal.SIGINT, cwd=cluster, **other_user()),
            asyncpg.create_pool(host=host, port=port, user="postgres", database="postgres", init=check, min_size=1,
                                max_size=8, **options) as pool,
        ):
            yield pool


@every_wire
def test_asyncpg_prepared_statement_takes_and_returns_what_it_was_given(asyncpg, cluster, wire):
    async def main():
        async with postgres(asyncpg, cluster, wire) as pool, pool.acquire() as connection:
            tls = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            assert await connection.fetchval(tls) is (wire == "tls")
            statement = await connection.prepare("SELECT $1::int8, $2::text, $3::bytea, $4::float8[]")
            for number in range(100):
                row = (number << 40, "ünïcode" * number, LARGE[:number], [number / 7] * number)
                assert tuple(await statement.fetchrow(*row)) == row

    run(main)


@every_wire
def test_asyncpg_transaction_commits_or_leaves_nothing(asyncpg, cluster, wire):
    async def main():
        async with postgres(asyncpg, cluster, wire) as pool, pool.acquire() as connection:
            await connection.execute("CREATE TEMPORARY TABLE t (n int)")
            with pytest.raises(asyncpg.DivisionByZeroError):
                async with connection.transaction():
                    await connection.execute("INSERT INTO t VALUES (1)")
                    await connection.execute("SELECT 1 / 0")
            async with connection.transaction():
                await connection.executemany("INSERT INTO t VALUES ($1)", [(number,) for number in range(2, 1000)])
                numbers = [row["n"] async for row in connection.cursor("SELECT n FROM t ORDER BY n", prefetch=7)]
            assert numbers == list(range(2, 1000))

    run(main)


@every_wire
def test_asyncpg_copies_and_large_values_come_back(asyncpg, cluster, wire):
    async def main():
        async with postgres(asyncpg, cluster, wire) as pool, pool.acquire() as connection:
            assert await connection.fetchval("SELECT $1::bytea", LARGE) == LARGE
            await connection.execute("CREATE TEMPORARY TABLE t (n int, piece bytea)")
            rows = list(enumerate(pieces_of(LARGE)))
            await connection.copy_records_to_table("t", records=rows)
            assert [tuple(row) for row in await connection.fetch("SELECT n, piece FROM t ORDER BY n")] == rows
            out, again = io.BytesIO(), io.BytesIO()
            await connection.copy_from_table("t", output=out, format="binary")
            await connection.execute("TRUNCATE t")
            out.seek(0)
            await connection.copy_to_table("t", source=out, format="binary")
            await connection.copy_from_table("t", output=again, format="binary")
            assert again.getvalue() == out.getvalue()
            assert len(again.getvalue()) > len(LARGE)

    run(main)


@every_wire
def test_asyncpg_pool_serves_many_tasks_at_once(asyncpg, cluster, wire):
    async def main():
        async with postgres(asyncpg, cluster, wire) as pool:
            async def ask(size):
                assert await pool.fetchval("SELECT $1::bytea", LARGE[:size]) == LARGE[:size]

            await asyncio.gather(*(ask(size) for size in range(0, 200_000, 1001)))

    run(main)


@every_wire
def test_asyncpg_connection_goes_on_after_a_query_that_timed_out(asyncpg, cluster, wire):
    async def main():
        async with postgres(asyncpg, cluster, wire) as pool, pool.acquire() as connection:
            with pytest.raises(TimeoutError):
                await connection.execute("SELECT pg_sleep(100)", timeout=0.1)
            assert await connection.fetchval("SELECT 1") == 1

    run(main)


@every_wire
def test_asyncpg_listener_hears_what_another_connection_says(asyncpg, cluster, wire):
    async def main():
        heard = asyncio.Queue()

        def hear(connection, speaker, channel, text):
            heard.put_nowait(text)

        texts = [str(number) for number in range(100)]
        async with postgres(asyncpg, cluster, wire) as pool, pool.acquire() as listener:
            await listener.add_listener("news", hear)
            for text in texts:
                await pool.execute("SELECT pg_notify('news', $1)", text)
            assert [await heard.get() for _ in texts] == texts
            await listener.remove_listener("news", hear)

    run(main)
