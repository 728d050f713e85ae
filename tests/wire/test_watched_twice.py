"""One descriptor watched twice: what asyncio refuses is refused, and what it allows works."""

import asyncio
import os
import socket

import pytest
from kit.pairs import Recorder, linked, on, pair, received_by, shrink_kernel_buffers, turns
from kit.wires import BLOCK, OURS, net

import poolio

model_and_ours = on("asyncio", *OURS)
loops_with_one_watcher = on("asyncio", *[name for name in OURS if name != "poolio-on-uvloop"])


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(BLOCK[:3_000_000])
    with open(path, "rb") as opened:
        yield opened


async def sendfile(loop_name, transport, file):
    if loop_name in OURS and loop_name != "poolio":
        return await transport._adapter.sendfile(transport, file)
    return await asyncio.get_running_loop().sendfile(transport, file)


@model_and_ours
async def test_reading_is_resumed_while_a_file_is_sent(loop_name, file):
    protocol, peer = await linked()
    with peer:
        shrink_kernel_buffers(protocol.transport, peer)
        sending = asyncio.ensure_future(sendfile(loop_name, protocol.transport, file))
        await turns(10)
        assert not sending.done()
        protocol.transport.resume_reading()
        peer.sendall(b"from the peer")
        while protocol.received != b"from the peer":
            await asyncio.sleep(0)
        assert await received_by(peer, 3_000_000) == BLOCK[:3_000_000]
        assert await sending == 3_000_000
        peer.sendall(b", afterwards")
        while protocol.received != b"from the peer, afterwards":
            await asyncio.sleep(0)
        protocol.transport.write(b"end")
        assert await received_by(peer, 3) == b"end"
        protocol.transport.abort()
        await protocol.ended


@on(*OURS)
async def test_stream_that_is_read_while_a_file_is_sent(loop_name, file):
    """A poolio.StreamReader resumes reading by itself."""
    async with pair(limit=1000) as ((reader, writer), (other, answers)):
        answers.write(BLOCK[:10_000])
        while len(reader.chain) < 2000:
            await asyncio.sleep(0)
        sending = asyncio.ensure_future(sendfile(loop_name, writer.transport, file))
        await turns(5)
        assert await reader.readexactly(10_000) == BLOCK[:10_000]
        assert await other.readexactly(3_000_000) == BLOCK[:3_000_000]
        await sending
        answers.write(b"still there")
        assert await reader.readexactly(11) == b"still there"


@loops_with_one_watcher
async def test_descriptor_of_a_paused_transport_is_not_watched_by_others(loop_name):
    protocol, peer = await linked(poolio.Protocol if loop_name in OURS else Recorder)
    with peer:
        loop = asyncio.get_running_loop()
        number = protocol.transport.get_extra_info("socket").fileno()
        protocol.transport.pause_reading()
        for watch in (loop.add_writer, loop.add_reader):
            with pytest.raises(RuntimeError, match="is used by transport"):
                watch(number, int)
        protocol.transport.write(b"written")
        assert await received_by(peer, 7) == b"written"
        protocol.transport.abort()
        await turns(5)


@on(*OURS)
async def test_socket_of_a_transport_is_not_given_to_another():
    """As on asyncio since CPython 3.12."""
    ours, peer = socket.socketpair()
    with peer:
        ours.setblocking(False)
        peer.settimeout(10)
        transport, protocol = await net().create_unix_connection(Recorder, sock=ours)
        with pytest.raises(RuntimeError, match="is used by transport"):
            await net().create_unix_connection(Recorder, sock=ours)
        with pytest.raises((RuntimeError, ValueError)):
            await net().create_datagram_endpoint(Recorder, sock=ours)
        transport.write(b"alive")
        assert peer.recv(10) == b"alive"
        transport.abort()
        await protocol.ended


@on(*OURS)
async def test_transport_is_aborted_while_a_file_is_sent_the_connection_ends(loop_name, file):
    protocol, peer = await linked()
    with peer:
        shrink_kernel_buffers(protocol.transport, peer)
        sending = asyncio.ensure_future(sendfile(loop_name, protocol.transport, file))
        await turns(10)
        protocol.transport.abort()
        await protocol.ended
        with pytest.raises(OSError):
            await sending
        assert len(await received_by(peer)) < 3_000_000


@on(*OURS)
async def test_number_closed_while_watched_and_used_by_a_transport_meanwhile_can_be_watched_again(loop_name):
    if loop_name != "poolio":
        pytest.skip("on other loops add_reader() is theirs")
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    loop.add_reader(reading, int)
    os.close(reading)
    ours, peer = socket.socketpair()
    with peer:
        ours.setblocking(False)
        assert ours.fileno() == reading
        transport, protocol = await net().create_unix_connection(Recorder, sock=ours)
        transport.abort()
        await protocol.ended
        called = asyncio.Event()
        again, other = os.pipe()
        assert again == reading
        loop.add_reader(again, called.set)
        os.write(other, b"x")
        await asyncio.wait_for(called.wait(), 5)
        loop.remove_reader(again)
        for number in (writing, again, other):
            os.close(number)


@on(*OURS)
async def test_socket_closed_by_the_factory_is_an_error():
    ours, peer = socket.socketpair()

    def factory():
        ours.close()
        return Recorder()

    with peer:
        ours.setblocking(False)
        with pytest.raises((OSError, ValueError)):
            await net().create_unix_connection(factory, sock=ours)
