"""Owns `python -m poolio echo`: an echo server on poolio's transports, on the loop that --loop names."""

import argparse
import asyncio
import importlib.util
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import poolio

LOOPS = ("poolio", "asyncio", "uvloop")


class Echo(poolio.Protocol):
    """Sends back what it receives, and reads no faster than its peer does."""

    def data_received(self, buf: poolio.Buffer) -> None:
        self.write(buf)

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()


def serve_workers(args: argparse.Namespace, loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def app(sock: socket.socket) -> AbstractAsyncContextManager[object]:
        return await poolio.create_server(Echo, sock=sock)

    def tell(sock: socket.socket) -> None:
        print(f"echo on {where(sock)}, loop {args.loop}, workers {args.workers}; Ctrl-C stops", flush=True)

    address = f"unix:{args.unix}" if args.unix else f"{f'[{args.host}]' if ':' in args.host else args.host}:{args.port}"
    poolio.serve(app, address, workers=args.workers, grace=0, backlog=args.backlog, loop_factory=loop_factory,
                 on_ready=tell)


def where(sock: socket.socket) -> str:
    name = sock.getsockname()
    return name if isinstance(name, str) else ":".join(map(str, name[:2]))


async def serve(args: argparse.Namespace) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    if args.unix:
        server = await poolio.create_unix_server(Echo, args.unix, backlog=args.backlog)
    else:
        server = await poolio.create_server(Echo, args.host, args.port, backlog=args.backlog)
    print(f"echo on {where(server.sockets[0])}, loop {args.loop}; Ctrl-C stops", flush=True)
    await ended.wait()
    server.close()
    server.abort_clients()
    await server.wait_closed()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m poolio echo", description="An echo server on poolio's transports.")
    parser.add_argument("--loop", choices=LOOPS, default="poolio", help="that they run on (default %(default)s)")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8888, help="0 takes a free one (default %(default)s)")
    parser.add_argument("--unix", metavar="PATH", help="serve a unix socket instead")
    parser.add_argument("--backlog", type=int, default=2048, help="default %(default)s")
    parser.add_argument("--workers", type=int, metavar="N", help="that many processes, with poolio.serve()")
    args = parser.parse_args(arguments)
    if importlib.util.find_spec(args.loop) is None:
        print(f"poolio echo: {args.loop} is not installed: pip install 'poolio[uvloop]'", file=sys.stderr)
        return 2
    factory = importlib.import_module(args.loop).new_event_loop
    try:
        if args.workers is not None:
            serve_workers(args, factory)
        else:
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(serve(args))
    except (OSError, ValueError) as exc:
        print(f"poolio echo: cannot serve: {exc}", file=sys.stderr)
        return 1
    return 0
