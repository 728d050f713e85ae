"""Which echo servers are compared? For each row a process: -m benchmarks.servers ROW [PEM [idle]], ends with stdin.

All echo what they receive and nothing else: no backpressure, no framing; COUNTING do something with it, CLOSERS close
behind it, ANSWERS copy it into fresh memory first. The client has one message outstanding on each connection, so no
queue grows beyond it. The server pins itself to the first allowed core and prints its port.

"one bytearray" is what a careful author writes by hand on asyncio: 64 KiB for each connection, kept for its life. Up
to CPython 3.11 the transport copies what it can't send at once, so a view of the bytearray may be written; later ones
keep the view, so there a bytearray of which something is still unsent is left to the transport and replaced. Nothing
is copied that needs no copy. "C epoll, static buffer" (limit.c) is what nobody can undercut: one epoll_wait, one recv
and one send, no state for a connection; it has no heap to warm, and its idle connections cost the kernel only.

With a PEM file of key and certificate it serves TLS: asyncio's transports under the standard library's ssl, the others
with their own; the limit is limit_tls.c, with OpenSSL. "idle" is for the limit: its connections keep no buffers, as
those of Python's `ssl` keep none.
"""

import argparse
import asyncio
import contextlib
import importlib
import os
import resource
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import poolio
from benchmarks.counting import CountingEcho, CountingPooledEcho

OWN_BUFFER_BYTES = 64 << 10
FRESH_BUFFER_BYTES = 256 << 10  # what asyncio itself asks for at each read, and poolio's slab
WARMING_BLOCK_BYTES = 1 << 20
READ_BYTES = 65536  # of a stream, at most in one call
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


class ClosingEcho(PlainEcho):
    def data_received(self, data: bytes) -> None:
        self.transport.write(data)
        self.transport.close()


class ClosingPooledEcho(PooledEcho):
    def data_received(self, buf: poolio.Buffer) -> None:
        self.write(buf)
        self.transport.close()


def pooled(zeroing: str) -> Callable[[], asyncio.BaseProtocol]:
    PooledEcho.pool = poolio.Pool(zeroing=zeroing)  # type: ignore[arg-type]
    return PooledEcho


def answering(allocate: Callable[[int], Any], base: type[Any]) -> Callable[[], asyncio.BaseProtocol]:
    """An echo that writes each answer into memory of its own, allocated by this function."""

    class AnsweringEcho(base):  # type: ignore[misc]
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast(asyncio.Transport, transport)

        def data_received(self, data: Any) -> None:
            answer = allocate(len(data))
            answer[:] = data
            self.transport.write(answer)

    return AnsweringEcho


@dataclass(frozen=True)
class Row:
    serve: Callable[[ssl.SSLContext | None], None]
    needs: tuple[str, ...] = ()  # modules


class FastNet:
    """aiofastnet's servers on the running loop, called as a loop's or asyncio's."""

    async def create_server(self, *arguments: Any, **options: Any) -> Any:
        create = importlib.import_module("aiofastnet").create_server
        return await create(asyncio.get_running_loop(), *arguments, **options)

    async def start_server(self, *arguments: Any, **options: Any) -> Any:
        start = importlib.import_module("aiofastnet").start_server
        return await start(asyncio.get_running_loop(), *arguments, **options)


def needs_of(loop: str, net: Any) -> tuple[str, ...]:
    return (loop, "aiofastnet") if isinstance(net, FastNet) else (loop,)


def on_loop(
    name: str, protocol: Callable[[], Callable[[], asyncio.BaseProtocol]], heap: str = "warm", net: Any = None,
) -> Row:
    """A row served by a protocol on the transports of an event loop, or on those of `net`. A warm heap: one block of
    1 MiB was dropped before serving."""

    def serve_on_loop(context: ssl.SSLContext | None) -> None:
        loops, factory = importlib.import_module(name), protocol()
        if heap == "warm":
            bytearray(WARMING_BLOCK_BYTES)
        with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=loops.new_event_loop) as runner:
            runner.run(serve(factory, net, context))

    return Row(serve_on_loop, needs_of(name, net))


async def echo_stream(reader: Any, writer: Any) -> None:
    try:
        while data := await reader.read(READ_BYTES):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


def streams_on_loop(name: str, module: Any) -> Row:
    """A row served by streams, asyncio's or poolio's: module.start_server()."""

    def serve_on_loop(context: ssl.SSLContext | None) -> None:
        bytearray(WARMING_BLOCK_BYTES)
        factory = importlib.import_module(name).new_event_loop
        with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=factory) as runner:
            runner.run(serve(None, module, context))

    return Row(serve_on_loop, needs_of(name, module))


def become_the_limit(context: ssl.SSLContext | None) -> None:
    """Run limit.c or limit_tls.c instead of this interpreter, on the core that it was pinned to; both are compiled."""
    from benchmarks import places  # here, as no other row's process needs it

    programs = places.programs()
    if context is None:
        os.execv(programs / "limit", ["limit"])
    os.execv(programs / "limit_tls", ["limit_tls", *sys.argv[2:]])


def become_the_closing_limit(context: ssl.SSLContext | None) -> None:
    from benchmarks import places

    os.execv(places.programs() / "limit", ["limit", "closing"])


LIMIT = "C epoll, static buffer"
ROWS = {
    LIMIT: Row(become_the_limit),
    "asyncio Protocol, cold heap": on_loop("asyncio", lambda: PlainEcho, heap="cold"),
    "asyncio Protocol, warm heap": on_loop("asyncio", lambda: PlainEcho),
    "asyncio, fresh bytearray a read": on_loop("asyncio", lambda: FreshBytearrayEcho),
    "asyncio, one bytearray a connection": on_loop("asyncio", lambda: OwnBytearrayEcho),
    "uvloop Protocol": on_loop("uvloop", lambda: PlainEcho),
    "rloop Protocol": on_loop("rloop", lambda: PlainEcho),
    "aiofastnet, asyncio": on_loop("asyncio", lambda: PlainEcho, net=FastNet()),
    "aiofastnet, uvloop": on_loop("uvloop", lambda: PlainEcho, net=FastNet()),
    "poolio never, asyncio": on_loop("asyncio", lambda: pooled("never")),
    "poolio on_alloc, asyncio": on_loop("asyncio", lambda: pooled("on_alloc")),
    "poolio on_release, asyncio": on_loop("asyncio", lambda: pooled("on_release")),
    "poolio never, uvloop": on_loop("uvloop", lambda: pooled("never")),
    "poolio on_alloc, uvloop": on_loop("uvloop", lambda: pooled("on_alloc")),
    "poolio on_release, uvloop": on_loop("uvloop", lambda: pooled("on_release")),
    "poolio transports, asyncio": on_loop("asyncio", lambda: pooled("never"), net=poolio),
    "poolio transports, uvloop": on_loop("uvloop", lambda: pooled("never"), net=poolio),
    "poolio.EventLoop": on_loop("poolio", lambda: pooled("never")),
    "poolio.EventLoop, on_alloc": on_loop("poolio", lambda: pooled("on_alloc")),
    "poolio.EventLoop, on_release": on_loop("poolio", lambda: pooled("on_release")),
    "poolio.EventLoop, fresh bytearray a read": on_loop("poolio", lambda: FreshBytearrayEcho),
    "poolio.EventLoop, asyncio.Protocol": on_loop("poolio", lambda: PlainEcho),
    "asyncio Streams": streams_on_loop("asyncio", asyncio),
    "uvloop Streams": streams_on_loop("uvloop", asyncio),
    "rloop Streams": streams_on_loop("rloop", asyncio),
    "aiofastnet Streams, uvloop": streams_on_loop("uvloop", FastNet()),
    "poolio streams, asyncio": streams_on_loop("asyncio", poolio),
    "poolio streams, uvloop": streams_on_loop("uvloop", poolio),
    "poolio streams, EventLoop": streams_on_loop("poolio", poolio),
}
# Their handlers count, sum, keep the last message and log (counting.py): the price of a handler that does something.
COUNTING = {
    "asyncio Protocol, counting": on_loop("asyncio", lambda: CountingEcho),
    "uvloop Protocol, counting": on_loop("uvloop", lambda: CountingEcho),
    "rloop Protocol, counting": on_loop("rloop", lambda: CountingEcho),
    "aiofastnet, asyncio, counting": on_loop("asyncio", lambda: CountingEcho, net=FastNet()),
    "aiofastnet, uvloop, counting": on_loop("uvloop", lambda: CountingEcho, net=FastNet()),
    "poolio transports, asyncio, counting": on_loop("asyncio", lambda: CountingPooledEcho, net=poolio),
    "poolio transports, uvloop, counting": on_loop("uvloop", lambda: CountingPooledEcho, net=poolio),
    "poolio.EventLoop, counting": on_loop("poolio", lambda: CountingPooledEcho),
    "poolio.EventLoop, asyncio.Protocol, counting": on_loop("poolio", lambda: CountingEcho),
}
# They close behind their first answer. rloop is not among them: rloop 0.5.0 leaves such a connection open.
CLOSING = {
    LIMIT: f"{LIMIT}, closing", **{row: f"{row}, closing" for row in (
        "asyncio Protocol, warm heap", "uvloop Protocol", "aiofastnet, uvloop", "poolio transports, asyncio",
        "poolio transports, uvloop", "poolio.EventLoop", "poolio.EventLoop, asyncio.Protocol",
    )}
}
CLOSERS = {
    "C epoll, static buffer, closing": Row(become_the_closing_limit),
    "asyncio Protocol, warm heap, closing": on_loop("asyncio", lambda: ClosingEcho),
    "uvloop Protocol, closing": on_loop("uvloop", lambda: ClosingEcho),
    "aiofastnet, uvloop, closing": on_loop("uvloop", lambda: ClosingEcho, net=FastNet()),
    "poolio transports, asyncio, closing": on_loop("asyncio", lambda: ClosingPooledEcho, net=poolio),
    "poolio transports, uvloop, closing": on_loop("uvloop", lambda: ClosingPooledEcho, net=poolio),
    "poolio.EventLoop, closing": on_loop("poolio", lambda: ClosingPooledEcho),
    "poolio.EventLoop, asyncio.Protocol, closing": on_loop("poolio", lambda: ClosingEcho),
}
# These write each answer into fresh memory, and are no part of ROWS, whose servers send back what they have received.
ANSWERS = {
    "alloc_unsafe, EventLoop": on_loop("poolio", lambda: answering(poolio.alloc_unsafe, poolio.Protocol)),
    "alloc, EventLoop": on_loop("poolio", lambda: answering(poolio.alloc, poolio.Protocol)),
    "bytearray, EventLoop": on_loop("poolio", lambda: answering(bytearray, asyncio.Protocol)),
    "bytearray, asyncio": on_loop("asyncio", lambda: answering(bytearray, asyncio.Protocol)),
    "bytearray, uvloop": on_loop("uvloop", lambda: answering(bytearray, asyncio.Protocol)),
}


def is_about_zeroing(row: str) -> bool:
    """Whether it differs from another row in how memory is zeroed alone: the part zeroing measures it."""
    return "on_alloc" in row or "on_release" in row or row == "poolio.EventLoop, fresh bytearray a read"


def pin_to_first_core() -> None:
    cores = os.sched_getaffinity(0)
    if len(cores) > 1:
        os.sched_setaffinity(0, {min(cores)})


async def serve(
    factory: Callable[[], asyncio.BaseProtocol] | None, net: Any, context: ssl.SSLContext | None,
) -> None:
    """Protocols of this factory, or streams if it is None; on the transports of `net`, or of the loop if it is None."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    if factory is None:
        server = await net.start_server(echo_stream, "127.0.0.1", 0, backlog=2048, ssl=context)
    else:
        server = await (net or loop).create_server(factory, "127.0.0.1", 0, backlog=2048, ssl=context)
    loop.add_reader(sys.stdin.fileno(), ended.set)
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    loop.remove_reader(sys.stdin.fileno())
    server.close()


def context_of(pem: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("row", choices=ROWS | COUNTING | CLOSERS | ANSWERS)
    parser.add_argument("pem", nargs="?")
    parser.add_argument("idle", nargs="?", choices=("idle",))
    args = parser.parse_args()
    pin_to_first_core()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    (ROWS | COUNTING | CLOSERS | ANSWERS)[args.row].serve(context_of(args.pem) if args.pem else None)


if __name__ == "__main__":
    main()
