"""Which echo servers are compared? One for each row; run as a child process: servers.py ROW, ends with its stdin.

All echo what they receive and nothing else: no backpressure, no framing. The client has one message outstanding on each
connection, so no queue grows beyond it. The server pins itself to the first allowed core and prints its port.

"one bytearray" is what a careful author writes by hand on asyncio: 64 KiB for each connection, kept for its life. Up
to CPython 3.11 the transport copies what it can't send at once, so a view of the bytearray may be written; later ones
keep the view, so there a bytearray of which something is still unsent is left to the transport and replaced. Nothing
is copied that needs no copy.
"""

import argparse
import asyncio
import contextlib
import importlib
import os
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import poolio

OWN_BUFFER_BYTES = 64 << 10
FRESH_BUFFER_BYTES = 256 << 10  # what asyncio itself asks for at each read, and poolio's slab
WARMING_BLOCK_BYTES = 1 << 20
TRANSPORT_KEEPS_VIEWS = sys.version_info >= (3, 12)


class PlainEcho(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class FreshBytearrayEcho(asyncio.BufferedProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> bytearray:
        self.buffer = bytearray(FRESH_BUFFER_BYTES)
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(memoryview(self.buffer)[:nbytes])
        del self.buffer


class OwnBytearrayEcho(asyncio.BufferedProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.make_buffer()

    def make_buffer(self) -> None:
        self.buffer = bytearray(OWN_BUFFER_BYTES)
        self.view = memoryview(self.buffer)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(self.view[:nbytes])
        if TRANSPORT_KEEPS_VIEWS and self.transport.get_write_buffer_size():
            self.make_buffer()


class PooledEcho(poolio.Protocol):
    def data_received(self, buf: poolio.Buffer) -> None:
        self.write(buf)


def pooled(zeroing: str) -> Callable[[], asyncio.BaseProtocol]:
    PooledEcho.pool = poolio.Pool(zeroing=zeroing)  # type: ignore[arg-type]
    return PooledEcho


@dataclass(frozen=True)
class Row:
    loop: str
    protocol: Callable[[], Callable[[], asyncio.BaseProtocol]]
    warm_heap: bool = True  # one dropped 1 MiB block before serving


ROWS = {
    "asyncio Protocol, cold heap": Row("asyncio", lambda: PlainEcho, warm_heap=False),
    "asyncio Protocol, warm heap": Row("asyncio", lambda: PlainEcho),
    "asyncio, fresh bytearray a read": Row("asyncio", lambda: FreshBytearrayEcho),
    "asyncio, one bytearray a connection": Row("asyncio", lambda: OwnBytearrayEcho),
    "uvloop Protocol": Row("uvloop", lambda: PlainEcho),
    "poolio never, asyncio": Row("asyncio", lambda: pooled("never")),
    "poolio on_alloc, asyncio": Row("asyncio", lambda: pooled("on_alloc")),
    "poolio on_release, asyncio": Row("asyncio", lambda: pooled("on_release")),
    "poolio never, uvloop": Row("uvloop", lambda: pooled("never")),
    "poolio on_alloc, uvloop": Row("uvloop", lambda: pooled("on_alloc")),
    "poolio on_release, uvloop": Row("uvloop", lambda: pooled("on_release")),
}
BASELINE = "asyncio, one bytearray a connection"


def pin_to_first_core() -> None:
    cores = os.sched_getaffinity(0)
    if len(cores) > 1:
        os.sched_setaffinity(0, {min(cores)})


async def serve(factory: Callable[[], asyncio.BaseProtocol]) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    server = await loop.create_server(factory, "127.0.0.1", 0, backlog=2048)
    loop.add_reader(sys.stdin.fileno(), ended.set)
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    loop.remove_reader(sys.stdin.fileno())
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("row", choices=ROWS)
    row = ROWS[parser.parse_args().row]
    pin_to_first_core()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    loops = importlib.import_module(row.loop)
    factory = row.protocol()
    if row.warm_heap:
        bytearray(WARMING_BLOCK_BYTES)
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=loops.new_event_loop) as runner:
        runner.run(serve(factory))


if __name__ == "__main__":
    main()
