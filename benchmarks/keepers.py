"""How is a little of much that is received kept? A process for each row: -m benchmarks.keepers ROW, prints JSON.

It receives MESSAGES of SIZE bytes from a socket pair, keeps every EVERYth, compares what it has kept, and prints by how
many KiB its resident memory has grown. Before that the pool gives its free memory back.
"""

import asyncio
import json
import pathlib
import socket
import struct
import sys
import threading
from collections.abc import Callable
from typing import Any

import poolio

MESSAGES, SIZE, EVERY, BLOCK = 1_000_000, 64, 1000, 1000


def message(number: int) -> bytes:
    return struct.pack(">Q", number) * (SIZE // 8)


def send_all(wire: socket.socket) -> None:
    for start in range(0, MESSAGES, BLOCK):
        wire.sendall(b"".join(map(message, range(start, start + BLOCK))))
    wire.close()


class Bytes(asyncio.Protocol):
    """Slices of bytes, which are copies."""

    def __init__(self, ended: "asyncio.Future[None]") -> None:
        self.kept: list[Any] = []
        self.ended, self.count, self.tail = ended, 0, b""

    def data_received(self, data: bytes) -> None:
        data = self.tail + data
        whole = len(data) // SIZE
        first = -self.count % EVERY
        self.kept += [data[at * SIZE:(at + 1) * SIZE] for at in range(first, whole, EVERY)]
        self.count += whole
        self.tail = data[whole * SIZE:]

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(None)


class Slices(poolio.FramedProtocol):
    def __init__(self, ended: "asyncio.Future[None]") -> None:
        super().__init__(poolio.FixedSize(SIZE))
        self.kept: list[Any] = []
        self.ended, self.count = ended, 0

    def keep(self, frame: Any) -> Any:
        return frame

    def frames_received(self, frames: list[Any]) -> None:
        self.kept += [self.keep(frame) for frame in frames[-self.count % EVERY::EVERY]]
        self.count += len(frames)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(None)


class Detached(Slices):
    def keep(self, frame: Any) -> Any:
        return frame.detach()


ROWS: dict[str, tuple[Callable[[], asyncio.AbstractEventLoop], Callable[[Any], Any]]] = {
    "bytes, asyncio": (asyncio.new_event_loop, Bytes),
    "poolio slices, EventLoop": (poolio.new_event_loop, Slices),
    "poolio detach(), EventLoop": (poolio.new_event_loop, Detached),
}


def resident_kib() -> int:
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


async def receive(protocol: Callable[[Any], Any]) -> int:
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    before = resident_kib()
    ours.setblocking(False)
    net: Any = poolio if issubclass(protocol, Slices) else loop  # type: ignore[arg-type]
    _, keeper = await net.create_unix_connection(lambda: protocol(ended), sock=ours)
    sender = threading.Thread(target=send_all, args=(theirs,))
    sender.start()
    await ended
    sender.join()
    kept = keeper.kept
    if keeper.count != MESSAGES or [bytes(item) for item in kept] != [message(i) for i in range(0, MESSAGES, EVERY)]:
        raise SystemExit("what was kept is not what was sent")
    poolio.default_pool().trim()
    return resident_kib() - before


def main() -> None:
    factory, protocol = ROWS[sys.argv[1]]
    with asyncio.Runner(loop_factory=factory) as runner:
        print(json.dumps({"kib": runner.run(receive(protocol))}))


if __name__ == "__main__":
    main()
