"""An echo server on all cores: python examples/workers.py 8888, then kill a worker, or -HUP or -TERM the parent"""

import asyncio
import os
import socket
import sys

import poolio


class Echo(poolio.Protocol):
    def data_received(self, buf: poolio.Buffer) -> None:
        self.write(b"%d: " % os.getpid())
        self.write(buf)


async def app(sock: socket.socket) -> asyncio.Server:
    return await poolio.create_server(Echo, sock=sock)


def tell(sock: socket.socket) -> None:
    print(f"listening on 127.0.0.1:{sock.getsockname()[1]}, parent {os.getpid()}, Ctrl-C stops", flush=True)


if __name__ == "__main__":
    poolio.serve(app, f"127.0.0.1:{sys.argv[1]}", grace=10, on_ready=tell)
