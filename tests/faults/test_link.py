"""Real packets over a bad link: lost, delayed, overtaken, twice; and a link that is cut. See link.py.

TCP hides all that from who reads the stream: every byte arrives, in order. UDP does not: what arrives is whole.
"""

import asyncio
import collections
import contextlib
import hashlib
import socket

import pytest
from kit.echoes import Echo
from kit.faults import KINDS
from kit.link import Link, why_not
from kit.pairs import closed, on, turns
from kit.wires import BLOCK, OURS, eventually, net

import poolio

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))
LINKS = {
    "lossy": {"lost": 0.03, "delay": 0.001},
    "reordering": {"late": 0.2, "delay": 0.002},
    "duplicating": {"duplicated": 0.2, "delay": 0.001},
    "all of it": {"lost": 0.02, "late": 0.1, "duplicated": 0.1, "delay": 0.001},
}
every_link = pytest.mark.parametrize("kind", LINKS)
SIZE = 300_000
SO_RCVBUFFORCE = 33         # root may exceed net.core.rmem_max


def happened(link, kind):
    """Did the link do what it is for?"""
    return all(link.counts[what] > 0 for what in ("lost", "late", "duplicated") if what in LINKS[kind])


@contextlib.asynccontextmanager
async def over(link, factory, client_factory):
    """The client's protocol, connected over the link to a server of the factory; what is left of that is aborted."""
    listener = link.right.socket(socket.SOCK_STREAM)
    listener.listen(8)
    server = await poolio.create_server(factory, sock=listener)
    ours = link.left.socket(socket.SOCK_STREAM)
    await asyncio.get_running_loop().sock_connect(ours, listener.getsockname())
    _, protocol = await net().create_connection(client_factory, sock=ours)
    try:
        yield protocol
    finally:
        server.close()
        server.abort_clients()
        await server.wait_closed()


@every_link
@on(*OURS[:2])
async def test_link_echo_every_byte_comes_back_in_order(kind, loop_name):
    with Link(**LINKS[kind]) as link:
        async with over(link, Echo, KINDS["pooled"]) as client:
            client.transport.write(BLOCK[:SIZE])
            await eventually(lambda: len(client.received) >= SIZE)
            assert client.received == BLOCK[:SIZE]
            client.transport.close()
            assert await client.ended is None
    assert happened(link, kind)


@every_link
@on(*OURS[:1])
async def test_link_streams_every_frame_arrives(kind, loop_name):
    codec = poolio.LengthPrefixed(4)
    sizes = [1, 10_000, 70, 99_000, 3000, 0, 50_000] * 2

    async def serve(reader, writer):
        async for frame in reader.frames(codec):
            writer.write_frame(codec, len(frame).to_bytes(4, "big"), hashlib.sha256(frame).digest())
            await writer.drain()
        writer.close()

    with Link(seed=2, **LINKS[kind]) as link:
        async with over(link, lambda: poolio.StreamProtocol(serve), poolio.StreamProtocol) as client:
            reader, writer = client.reader, client.take_writer()
            for number, size in enumerate(sizes):
                writer.write_frame(codec, BLOCK[number:number + size])
                await writer.drain()
            writer.write_eof()
            answers = [bytes(answer) async for answer in reader.frames(codec)]
            assert answers == [
                size.to_bytes(4, "big") + hashlib.sha256(BLOCK[number:number + size]).digest()
                for number, size in enumerate(sizes)]
            await closed(writer)
    assert happened(link, kind)


@every_link
@on(*OURS[:1])
async def test_link_datagrams_that_arrive_are_whole(kind, loop_name):
    """Each once, but for those that the link has doubled; none that was not sent, and all that it has let through."""
    class Collect(poolio.DatagramProtocol):
        def datagrams_received(self, batch):
            received.update(bytes(data) for data, _ in batch)

    received = collections.Counter()
    sent = [number.to_bytes(4, "big") + BLOCK[number:number + 10 + number * 3] for number in range(450)]
    with Link(seed=3, **LINKS[kind]) as link:
        receiver = link.right.socket(socket.SOCK_DGRAM)
        receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 21)
        target, _ = await net().create_datagram_endpoint(Collect, sock=receiver)
        sender, _ = await net().create_datagram_endpoint(
            asyncio.DatagramProtocol, sock=link.left.socket(socket.SOCK_DGRAM))
        for message in sent:                            # fewer than the 500 that the device's own queue takes
            sender.sendto(message, receiver.getsockname())
        await eventually(lambda: link.counts["sent"] >= len(sent))
        through = len(sent) - link.counts["lost"] + link.counts["duplicated"]
        await eventually(lambda: received.total() + target.statistics().kernel_drops >= through)
        assert target.statistics().kernel_drops == 0
        sender.close()
        target.close()
        await turns()
    assert set(received) <= set(sent)
    assert received.total() == through
    assert max(received.values()) <= 2
    assert happened(link, kind)


@on(*OURS[:2])
async def test_link_is_cut_the_connection_times_out(loop_name):
    """TCP_USER_TIMEOUT ends it: connection_lost() with TimeoutError. What had arrived stays."""
    with Link(delay=0.0005) as link:
        async with over(link, KINDS["pooled"], KINDS["pooled"]) as client:
            sock = client.transport.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 200)
            client.transport.write(b"arrives")
            await eventually(lambda: link.counts["sent"] >= 5)
            link.is_cut = True
            client.transport.write(b"never")
            assert isinstance(await client.ended, TimeoutError)
            assert client.calls == ["made", "lost"]
