"""An echo server on pooled slices: python examples/echo_server.py --port 8888, then: nc 127.0.0.1 8888"""

import argparse
import asyncio
import importlib
import signal
from typing import ClassVar

import poolio


class Echo(poolio.Protocol):
    connected: ClassVar[set[poolio.Protocol]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.connected.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.connected.discard(self)

    def data_received(self, buf: poolio.Buffer) -> None:
        self.write(buf)

    def pause_writing(self) -> None:
        self.transport.pause_reading()  # a peer that does not read is not read from

    def resume_writing(self) -> None:
        self.transport.resume_reading()


async def serve(host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(Echo, host, port)
    print(f"listening on {host}:{server.sockets[0].getsockname()[1]}, Ctrl-C stops", flush=True)
    await stop.wait()
    server.close()
    for echo in tuple(Echo.connected):
        echo.transport.abort()
    await server.wait_closed()
    print("stopped", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8888, help="0 takes a free one")
    parser.add_argument("--zeroing", choices=("never", "on_alloc", "on_release"), default="never")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    args = parser.parse_args()
    Echo.pool = poolio.Pool(zeroing=args.zeroing)
    with asyncio.Runner(loop_factory=importlib.import_module(args.loop).new_event_loop) as runner:
        runner.run(serve(args.host, args.port))


if __name__ == "__main__":
    main()
