"""A small DNS responder: python examples/dns.py 5353, then: dig @127.0.0.1 -p 5353 poolio.test"""

import asyncio
import contextlib
import socket
import struct
import sys
from typing import Any

import poolio

HOSTS = {b"poolio.test": "192.0.2.1", b"slab.poolio.test": "192.0.2.2"}
HEADER_BYTES, LABEL_BYTES, NAME_BYTES, TTL_SECONDS = 12, 63, 255, 60
TYPE_A = CLASS_IN = 1
ANSWERED, REFUSED, NO_SUCH_NAME = 0x8400, 0x8005, 0x8403  # flags: a response, authoritative, and the result
SAME_NAME = 0xC000 | HEADER_BYTES  # a pointer to where the question has it


def name_at(query: poolio.Buffer, at: int) -> tuple[bytes, int]:
    labels = []
    while length := query.read_u8(at):
        if length > LABEL_BYTES or at > NAME_BYTES:
            raise ValueError("not a name")
        labels.append(bytes(query[at + 1:at + 1 + length]).lower())
        at += 1 + length
    return b".".join(labels), at + 1


def answer(query: poolio.Buffer) -> bytes | None:
    try:
        flags, questions = query.read_u16be(2), query.read_u16be(4)
        name, end = name_at(query, HEADER_BYTES)
        wanted = query.read_u16be(end), query.read_u16be(end + 2)
    except (IndexError, ValueError):
        return None
    if flags & 0x8000 or questions != 1:  # answers must not be answered
        return None
    address = HOSTS.get(name) if wanted == (TYPE_A, CLASS_IN) else None
    result = ANSWERED if name in HOSTS else NO_SUCH_NAME if name.endswith(b"poolio.test") else REFUSED
    header = struct.pack(">6H", query.read_u16be(0), result | flags & 0x0100, 1, address is not None, 0, 0)
    message = header + bytes(query[HEADER_BYTES:end + 4])
    if address is not None:
        message += struct.pack(">3HIH4s", SAME_NAME, *wanted, TTL_SECONDS, 4, socket.inet_aton(address))
    return message


class Responder(poolio.DatagramProtocol):
    def datagrams_received(self, batch: list[tuple[poolio.Buffer, Any]]) -> None:
        self.transport.sendmany((message, sender) for query, sender in batch if (message := answer(query)))


async def serve(port: int) -> None:
    transport, _ = await poolio.create_datagram_endpoint(Responder, local_addr=("127.0.0.1", port))
    print(f"listening on 127.0.0.1:{transport.get_extra_info('sockname')[1]}, Ctrl-C stops", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        poolio.run(serve(int(sys.argv[1])))
