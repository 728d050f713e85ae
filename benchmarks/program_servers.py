"""Which servers of other authors are compared? For each loop a process: -m benchmarks.program_servers KIND ROW.

KIND is a name of SERVERS and the size of an answer, uvicorn13 for example; ROW is a loop of peers.py. Each server is
used as its documentation shows, on the transports of the loop (so picows without aiofastnet's), with the least that
answers: no access log, no middleware, no compression. It pins itself to the first allowed core, prints its port, and
ends with its standard input. What it answers is checked by ask.c.
"""

import argparse
import asyncio
import contextlib
import importlib
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.harness import split_kind
from benchmarks.peers import LOOPS, factory
from benchmarks.servers import WARMING_BLOCK_BYTES, pin_to_first_core

PERIOD = 251  # of a body over HTTP: byte i is i mod 251
HOST = "127.0.0.1"
Serving = contextlib.AbstractAsyncContextManager[Any]  # gives an asyncio.Server, or what looks like one


def body_of(size: int) -> bytes:
    return (bytes(range(PERIOD)) * (size // PERIOD + 1))[:size]


@contextlib.asynccontextmanager
async def uvicorn(size: int) -> AsyncIterator[Any]:
    uvicorn: Any = importlib.import_module("uvicorn")
    started = asyncio.Event()
    body = body_of(size)
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % size)]

    class Server(uvicorn.Server):  # type: ignore[misc]
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            started.set()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    server = Server(uvicorn.Config(
        app, port=0, http="httptools", ws="none", lifespan="off", log_level="warning", access_log=False))
    task = asyncio.create_task(server.serve())
    await started.wait()
    yield server.servers[0]
    server.should_exit = True
    await task


@contextlib.asynccontextmanager
async def aiohttp(size: int) -> AsyncIterator[Any]:
    web = importlib.import_module("aiohttp.web")
    body = body_of(size)

    async def hello(request: Any) -> Any:
        return web.Response(body=body, content_type="text/plain")

    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    yield site._server
    await runner.cleanup()


@contextlib.asynccontextmanager
async def websockets(size: int) -> AsyncIterator[Any]:
    serve = importlib.import_module("websockets.asyncio.server").serve

    async def echo(connection: Any) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(echo, HOST, 0, compression=None, ping_interval=None) as server:
        yield server


@contextlib.asynccontextmanager
async def picows(size: int) -> AsyncIterator[Any]:
    picows: Any = importlib.import_module("picows")

    class Echo(picows.WSListener):  # type: ignore[misc]
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.msg_type == picows.WSMsgType.CLOSE:
                transport.send_close()
                transport.disconnect()
            else:
                transport.send(frame.msg_type, frame.get_payload_as_bytes())

    server = await picows.ws_create_server(lambda request: Echo(), HOST, 0, use_aiofastnet=False)
    yield server
    server.close()


@dataclass(frozen=True)
class Server:
    serve: Callable[[int], Serving]  # with the size of an answer
    asked: str  # ask.c's kind, without the size
    needs: tuple[str, ...]  # modules


SERVERS = {
    "uvicorn": Server(uvicorn, "http", ("uvicorn", "httptools")),
    "aiohttp": Server(aiohttp, "http", ("aiohttp",)),
    "websockets": Server(websockets, "websocket", ("websockets",)),
    "picows": Server(picows, "websocket", ("picows",)),
}


async def serve(kind: str) -> None:
    name, size, _ = split_kind(kind, tuple(SERVERS))
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    async with SERVERS[name].serve(size) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await ended.wait()
    loop.remove_reader(sys.stdin.fileno())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind")
    parser.add_argument("row", choices=LOOPS)
    args = parser.parse_args()
    pin_to_first_core()
    bytearray(WARMING_BLOCK_BYTES)  # asyncio's transports receive cheaply only after a block of that size was freed
    with asyncio.Runner(loop_factory=factory(args.row)) as runner:
        runner.run(serve(args.kind))


if __name__ == "__main__":
    main()
