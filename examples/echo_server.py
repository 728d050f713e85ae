"""An echo server on poolio's transports: python examples/echo_server.py --port 8888, then: nc 127.0.0.1 8888"""

import argparse
import asyncio
import signal

import poolio


class Echo(poolio.Protocol):
    def data_received(self, buf: poolio.Buffer) -> None:
        self.write(buf)

    def pause_writing(self) -> None:
        self.transport.pause_reading()  # a peer that does not read is not read from

    def resume_writing(self) -> None:
        self.transport.resume_reading()


async def serve(host: str, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await poolio.create_server(Echo, host, port)
    print(f"listening on {host}:{server.sockets[0].getsockname()[1]}, Ctrl-C stops", flush=True)
    await stop.wait()
    server.close()
    server.abort_clients()
    await server.wait_closed()
    print("stopped", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8888, help="0 takes a free one")
    parser.add_argument("--zeroing", choices=("never", "on_alloc", "on_release"), default="never")
    args = parser.parse_args()
    Echo.pool = poolio.Pool(zeroing=args.zeroing)
    poolio.run(serve(args.host, args.port))


if __name__ == "__main__":
    main()
