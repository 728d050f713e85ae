"""open_connection() and start_server() from end to end, also over TLS and unix sockets.

Where asyncio promises the same, asyncio's own streams run the same test: then the test is right about asyncio.
"""

import asyncio
import contextlib
import gc
import socket
import warnings

import pytest
from kit.faults import reset_at_close
from kit.pairs import closed, collect_errors, on, on_ends, pair, turns
from kit.wires import (
    BLOCK,
    CLIENT_TLS,
    OURS,
    PLAIN_LOOPS,
    SERVER_TLS,
    eventually,
)

import poolio

pytestmark = pytest.mark.usefixtures("default_pool_is_left_as_it_was")
BOTH_STREAMS = pytest.mark.parametrize("streams", (asyncio, poolio), ids=("asyncio", "poolio"))


async def echo_line(reader, writer):
    writer.write(await reader.readline())
    await writer.drain()
    await closed(writer)


@contextlib.asynccontextmanager
async def serving(streams, handler, **options):
    """A server of asyncio's or poolio's; yields connect(**options) -> (reader, writer)."""
    server = await streams.start_server(handler, "127.0.0.1", 0, **options)
    address = server.sockets[0].getsockname()
    try:
        yield lambda **options: streams.open_connection(*address, **options)
    finally:
        server.close()
        await server.wait_closed()


@BOTH_STREAMS
@pytest.mark.parametrize("form", ("coroutine", "callback", "method"))
@on(*PLAIN_LOOPS)
async def test_start_server_calls_the_handler_for_each_connection(streams, form):
    errors = collect_errors()
    tasks = []

    class Server:
        async def handle(self, reader, writer):
            await echo_line(reader, writer)

    def callback(reader, writer):
        tasks.append(asyncio.ensure_future(echo_line(reader, writer)))

    handler = {"coroutine": echo_line, "callback": callback, "method": Server().handle}[form]
    async with serving(streams, handler) as connect:
        for _ in range(3):
            reader, writer = await connect()
            writer.write(b"hello\nrest")
            assert await reader.readline() == b"hello\n"
            assert await reader.read() == b""
            await closed(writer)
        await asyncio.gather(*tasks)
    assert errors == []


@BOTH_STREAMS
@pytest.mark.parametrize("tls", (False, True), ids=("plain", "tls"))
@on(*PLAIN_LOOPS)
async def test_unix_server_and_connection_echo_a_line(streams, tls, tmp_path):
    errors = collect_errors()
    path = str(tmp_path / "socket")
    server = await streams.start_unix_server(echo_line, path, **({"ssl": SERVER_TLS} if tls else {}))
    options = {"ssl": CLIENT_TLS, "server_hostname": "localhost"} if tls else {}
    reader, writer = await streams.open_unix_connection(path, **options)
    writer.write(b"hello\n")
    assert await reader.readline() == b"hello\n"
    assert (writer.get_extra_info("sslcontext") is not None) == tls
    await closed(writer)
    server.close()
    await server.wait_closed()
    assert errors == []


@BOTH_STREAMS
@on(*PLAIN_LOOPS)
async def test_tls_from_the_start_echoes_until_the_end(streams):
    errors = collect_errors()

    async def echo(reader, writer):
        while data := await reader.read(100_000):
            writer.write(data)
            await writer.drain()
        await closed(writer)

    async with serving(streams, echo, ssl=SERVER_TLS) as connect:
        reader, writer = await connect(ssl=CLIENT_TLS, server_hostname="localhost")
        assert writer.get_extra_info("sslcontext") is CLIENT_TLS
        assert not writer.can_write_eof()
        for size in (1, 100_000, 1_000_000):
            writer.write(BLOCK[:size])
            assert await reader.readexactly(size) == BLOCK[:size]
        await closed(writer)
    assert errors == []


@BOTH_STREAMS
@on(*PLAIN_LOOPS)
async def test_tls_peer_closes_the_reader_is_at_its_end(streams):
    async def answer(reader, writer):
        writer.write(b"answer")
        await closed(writer)

    async with serving(streams, answer, ssl=SERVER_TLS) as connect:
        reader, writer = await connect(ssl=CLIENT_TLS, server_hostname="localhost")
        assert await reader.read() == b"answer"
        assert reader.at_eof()
        await closed(writer)


@BOTH_STREAMS
@pytest.mark.parametrize("first", ("client", "server"))
@on(*PLAIN_LOOPS)
async def test_tls_closed_twice_nothing_is_reported(streams, first):
    errors = collect_errors()
    served = asyncio.get_running_loop().create_future()

    async def handler(reader, writer):
        served.set_result(writer)
        await reader.read()

    async with serving(streams, handler, ssl=SERVER_TLS) as connect:
        _, writer = await connect(ssl=CLIENT_TLS, server_hostname="localhost")
        writers = [writer, await served]
        for one in writers if first == "client" else writers[::-1]:
            one.close()
            one.close()
            await closed(one)
    assert errors == []


@BOTH_STREAMS
@on(*PLAIN_LOOPS)
async def test_nobody_listens_open_connection_raises(streams):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    with pytest.raises(ConnectionRefusedError):
        await streams.open_connection(*address)


@on_ends
async def test_peer_resets_reads_raise_its_error(streams):
    async with pair(streams) as ((_, writer), (reader, _)):
        reset_at_close(writer.get_extra_info("socket"))
        waiting = asyncio.create_task(reader.readexactly(5))
        await turns()
        writer.transport.abort()
        for call in (waiting, reader.read(), reader.readline()):
            with pytest.raises(ConnectionResetError):
                await call
        assert isinstance(reader.exception(), ConnectionResetError)


@BOTH_STREAMS
@on(*PLAIN_LOOPS)
async def test_handler_fails_it_is_reported_and_the_connection_closed(streams):
    errors = collect_errors()

    async def fail(reader, writer):
        await reader.read(1)
        raise ZeroDivisionError

    async with serving(streams, fail) as connect:
        reader, writer = await connect()
        writer.write(b"x")
        assert await reader.read() == b""
        await closed(writer)
        await eventually(lambda: errors)
    assert [(one["message"], type(one["exception"])) for one in errors] == [
        ("Unhandled exception in client_connected_cb", ZeroDivisionError)]
    errors.clear()


@on(*PLAIN_LOOPS)
async def test_callback_fails_it_is_reported_and_the_connection_closed():
    errors = collect_errors()

    def fail(reader, writer):
        raise ZeroDivisionError

    async with serving(poolio, fail) as connect:
        reader, writer = await connect()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        await closed(writer)
        await eventually(lambda: errors)
    assert [type(one["exception"]) for one in errors] == [ZeroDivisionError]
    errors.clear()


@on(*PLAIN_LOOPS)
async def test_handler_is_cancelled_the_connection_is_closed_and_nothing_reported():
    errors = collect_errors()
    seen = []

    async def handler(reader, writer):
        seen.append(asyncio.current_task())
        await reader.read()

    async with serving(poolio, handler) as connect:
        reader, writer = await connect()
        await eventually(lambda: seen)
        seen[0].cancel()
        assert await reader.read() == b""
        await closed(writer)
    assert seen[0].cancelled()
    assert errors == []


@on(*OURS[:1])
async def test_handler_drops_its_writer_open_it_warns_and_closes():
    dropped = asyncio.get_running_loop().create_future()

    async def drop(reader, writer):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del writer, reader
            await turns()
            gc.collect()
            dropped.set_result([str(one.message) for one in caught])

    server = await poolio.start_server(drop, "127.0.0.1", 0)
    _, writer = await poolio.open_connection(*server.sockets[0].getsockname())
    messages = await dropped
    server.close()
    server.abort_clients()
    await closed(writer)
    await server.wait_closed()
    assert [message for message in messages if message.startswith("unclosed <poolio.StreamWriter")]
