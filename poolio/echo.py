"""Owns `python -m poolio echo`: an echo server on poolio's transports, on the loop that one wants to look at."""

import argparse
import asyncio
import importlib.util
import signal
import sys

import poolio

LOOPS = ("poolio", "asyncio", "uvloop")


class Echo(poolio.Protocol):
    """Sends back what it gets, and reads no faster than its peer does."""

    def data_received(self, buf: poolio.Buffer) -> None:
        self.write(buf)

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()


async def serve(args: argparse.Namespace) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    if args.unix:
        server = await poolio.create_unix_server(Echo, args.unix, backlog=args.backlog)
    else:
        server = await poolio.create_server(Echo, args.host, args.port, backlog=args.backlog)
    where = args.unix or ":".join(map(str, server.sockets[0].getsockname()[:2]))
    print(f"echo on {where}, loop {args.loop}; Ctrl-C stops", flush=True)
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
    args = parser.parse_args(arguments)
    if importlib.util.find_spec(args.loop) is None:
        print(f"poolio echo: {args.loop} is not installed: pip install 'poolio[uvloop]'", file=sys.stderr)
        return 2
    factory = importlib.import_module(args.loop).new_event_loop
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(serve(args))
    except OSError as exc:
        print(f"poolio echo: cannot serve: {exc}", file=sys.stderr)
        return 1
    return 0
