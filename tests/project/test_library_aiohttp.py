"""aiohttp on poolio.EventLoop, unchanged, against real peers: every byte is checked."""

import asyncio
import contextlib
import io
import socket

import pytest
from kit.libraries import LARGE, MESSAGE, PIECE, assert_poolio, library, pieces_of, plain_and_tls, run
from kit.wires import CLIENT_TLS, SERVER_TLS

aiohttp = library("aiohttp", "aiohttp.web")


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
