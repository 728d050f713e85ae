"""Which servers that receive datagrams are compared? For each row and kind: -m benchmarks.endpoints KIND ROW.

It ends with its standard input. KIND is floodN, trainsN, pacedN or flowsN, as flood.c sends it. Every server, the C
ones too, counts the datagrams, adds up their first bytes and keeps the last one; so each datagram is looked into, at
the price of one item. A first byte of 255 marks a question, which is answered with the question, the count and the
sum, and the last datagram; flood.c compares. In flows a datagram is sent back to its sender, one by one in the loop
unless the row says sendmany. What is compared is how a datagram comes to that loop. Every socket asks for a receive
buffer of 4 MiB (the kernel's rmem_max may give less, to all of them the same).

The rows in C (dgram.c) block in their call, with no event loop and no address made: "C recvfrom" is what every other
row is divided by; "C recvmmsg" takes up to 32 in a call, "C UDP_GRO" a train in a call, of trains only.
"""

import argparse
import asyncio
import importlib
import os
import re
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import poolio
from benchmarks.servers import WARMING_BLOCK_BYTES, pin_to_first_core

RCVBUF_BYTES = 4 << 20
START_SECONDS = 10  # to make an endpoint, which takes milliseconds
QUESTION = 0xFF


class Counting:
    count = total = 0
    last: Any = b""
    transport: Any

    def answer(self, question: Any, address: Any) -> None:
        figures = b"%d %d\n" % (self.count, self.total)
        self.transport.sendto(bytes(question) + figures + bytes(self.last), address)


class Receiver(Counting, asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        first = data[0]
        if first == QUESTION:
            self.answer(data, address)
            return
        self.count += 1
        self.total += first
        self.last = data


class Echo(Receiver):
    def datagram_received(self, data: bytes, address: Any) -> None:
        first = data[0]
        if first == QUESTION:
            self.answer(data, address)
            return
        self.count += 1
        self.total += first
        self.last = data
        self.transport.sendto(data, address)


class BatchReceiver(Counting, poolio.DatagramProtocol):
    def datagrams_received(self, batch: list[Any]) -> None:
        count, total, last = self.count, self.total, self.last
        for data, address in batch:
            first = data[0]
            if first == QUESTION:
                self.count, self.total, self.last = count, total, last
                self.answer(data, address)
                continue
            count += 1
            total += first
            last = data
        self.count, self.total, self.last = count, total, last


class BatchEcho(Counting, poolio.DatagramProtocol):
    def datagrams_received(self, batch: list[Any]) -> None:
        count, total, last, send = self.count, self.total, self.last, self.transport.sendto
        for data, address in batch:
            first = data[0]
            if first == QUESTION:
                self.count, self.total, self.last = count, total, last
                self.answer(data, address)
                continue
            count += 1
            total += first
            last = data
            send(data, address)
        self.count, self.total, self.last = count, total, last


class WholeBatchEcho(BatchReceiver):
    def datagrams_received(self, batch: list[Any]) -> None:
        before = self.count
        super().datagrams_received(batch)
        if self.count - before < len(batch):
            batch = [pair for pair in batch if pair[0][0] != QUESTION]
        if batch:
            self.transport.sendmany(batch)


@dataclass(frozen=True)
class Row:
    """A library's endpoint on a loop, or a method of dgram.c. An echo is a protocol of its own, not a test in it."""

    kinds: tuple[str, ...]
    method: str = ""  # of dgram.c
    loop: str = "asyncio"
    library: str = ""  # the loop's own if empty
    receiver: Callable[[], Any] = Receiver
    echo: Callable[[], Any] = Echo

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.loop, self.library)))


BASELINE = "C recvfrom"
ONE_WAY, FLOWS = ("flood", "trains", "paced"), ("flows",)
ALL = ONE_WAY + FLOWS
ROWS = {
    BASELINE: Row(ALL, "recvfrom"),
    "C recvmmsg": Row(ALL, "recvmmsg"),
    "C UDP_GRO": Row(("trains",), "gro"),
    "asyncio": Row(ALL),
    "uvloop": Row(ALL, loop="uvloop"),
    "rloop": Row(ALL, loop="rloop"),
    "aiofastnet, asyncio": Row(ALL, library="aiofastnet"),
    "aiofastnet, uvloop": Row(ALL, loop="uvloop", library="aiofastnet"),
    "poolio bytes, EventLoop": Row(ALL, loop="poolio"),
    "poolio, asyncio": Row(ALL, library="poolio", receiver=BatchReceiver, echo=BatchEcho),
    "poolio, uvloop": Row(ALL, loop="uvloop", library="poolio", receiver=BatchReceiver, echo=BatchEcho),
    "poolio, EventLoop": Row(
        ALL, loop="poolio", library="poolio", receiver=BatchReceiver, echo=BatchEcho),
    "poolio sendmany, EventLoop": Row(FLOWS, loop="poolio", library="poolio", echo=WholeBatchEcho),
}


def name_of(kind: str) -> str:
    return re.sub(r"\d+$", "", kind)


async def endpoint(row: Row, kind: str) -> asyncio.DatagramTransport:
    loop = asyncio.get_running_loop()
    factory = row.echo if name_of(kind) in FLOWS else row.receiver
    address = ("127.0.0.1", 0)
    async with asyncio.timeout(START_SECONDS):
        if row.library == "aiofastnet":
            create = importlib.import_module("aiofastnet").create_datagram_endpoint
            transport, _ = await create(loop, factory, local_addr=address)
        else:
            net: Any = poolio if row.library else loop
            transport, _ = await net.create_datagram_endpoint(factory, local_addr=address)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RCVBUF_BYTES)
    return cast(asyncio.DatagramTransport, transport)


async def serve(row: Row, kind: str) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    transport = await endpoint(row, kind)
    loop.add_reader(sys.stdin.fileno(), ended.set)
    print(transport.get_extra_info("sockname")[1], flush=True)
    await ended.wait()
    loop.remove_reader(sys.stdin.fileno())
    transport.close()


def become_the_limit(kind: str, method: str) -> None:
    """Run dgram.c instead of this interpreter, on the core that it was pinned to; the harness has compiled it."""
    from benchmarks import places  # here, as no other row's process needs it

    program = places.programs() / "dgram"
    os.execv(program, [str(program), kind, method])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind")
    parser.add_argument("row", choices=ROWS)
    args = parser.parse_args()
    row = ROWS[args.row]
    pin_to_first_core()
    if row.method:
        become_the_limit(args.kind, row.method)
    bytearray(WARMING_BLOCK_BYTES)  # asyncio's transports receive cheaply only after a block of that size was freed
    with asyncio.Runner(loop_factory=importlib.import_module(row.loop).new_event_loop) as runner:
        runner.run(serve(row, args.kind))


if __name__ == "__main__":
    main()
