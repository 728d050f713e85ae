"""Inbox: what comes with a datagram besides its bytes, and what stays behind when it has gone."""

import array
import os
import socket

from kit.endpoints import (
    Batches,
    Recorder,
    batches_into,
    contents,
    cut,
    endpoint,
    message,
    own_endpoints,
    plain,
    trains,
)
from kit.faults import descriptors
from kit.wires import eventually

import poolio

SO_TIMESTAMP = 29
SIZES = (8, 101, 61, 77, 93, 61, 45)


@own_endpoints
async def test_sender_after_a_datagram_without_room_is_its_own(loop_name, make_pool):
    """Two from one sender, the first of which is lost, come after one from another sender."""
    pool = make_pool(slab_size=65536, max_bytes=65536)
    async with endpoint(batches_into(pool)) as (transport, protocol, address):
        with plain() as one, plain() as other:
            one.sendto(b"one", address)
            other.sendto(bytes(40_000), address)
            other.sendto(b"other", address)
            received = await protocol.until(2)
            assert [(bytes(data), sender) for data, sender in received] == [
                (b"one", one.getsockname()), (b"other", other.getsockname())]
        assert [type(exc) for exc in protocol.errors] == [poolio.PoolExhausted]
        assert transport.statistics().unplaced == 1
        received.clear()


@own_endpoints
async def test_trains_are_cut_right_beside_other_notes_of_the_kernel(loop_name):
    """A socket that somebody has made may ask for time stamps."""
    sock = plain()
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMP, 1)
    async with endpoint(Batches, sock=sock) as (_, protocol, address):
        with plain() as peer:
            peer.connect(address)
            with trains(peer, 100):
                peer.send(message(1, 1000))
            assert contents(await protocol.until(10)) == cut(message(1, 1000), 100)


@own_endpoints
async def test_descriptors_of_a_unix_peer_are_not_taken(loop_name):
    """A datagram that carries one arrives; the descriptor is not installed here."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    async with endpoint(Recorder, sock=ours) as (_, protocol, _):
        with theirs, open(os.devnull) as null:
            before = descriptors()
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null.fileno()]))]
            theirs.sendmsg([b"with a descriptor"], rights)
            assert contents(await protocol.until(1)) == [b"with a descriptor"]
            assert descriptors() == before
        assert protocol.errors == []


@own_endpoints
async def test_on_release_leaves_nothing_between_packed_datagrams(loop_name, make_pool):
    pool = make_pool(slab_size=65536, zeroing="on_release")
    secret = b"SECRET:)" * 13
    async with endpoint(batches_into(pool)) as (_, protocol, address):
        with plain() as peer:
            for number in range(60):                     # slots shrink to about this
                peer.sendto(bytes(64), address)
                await protocol.until(number + 1)
            for size in SIZES:
                peer.sendto(secret[:size], address)
            await protocol.until(60 + len(SIZES))
        protocol.received.clear()
        for _ in range(20):
            assert bytes(pool.alloc_unsafe(4096)) == bytes(4096)


@own_endpoints
async def test_what_was_read_before_a_pause_goes_to_the_next_protocol_as_it_wants_it(loop_name):
    class Pausing(Recorder):
        def datagram_received(self, data, address):
            super().datagram_received(data, address)
            self.transport.pause_reading()

    received = []

    class OnlyBatches:
        def datagrams_received(self, batch):
            received.extend((type(data), bytes(data)) for data, _ in batch)

        def connection_lost(self, exc):
            pausing.connection_lost(exc)

    async with endpoint(Pausing) as (transport, pausing, address):
        with plain() as peer:
            for number in range(3):
                peer.sendto(message(number, 10), address)
            await pausing.until(1)
            transport.set_protocol(OnlyBatches())
            transport.resume_reading()
            await eventually(lambda: len(received) == 2)
        assert received == [(poolio.Buffer, message(1, 10)), (poolio.Buffer, message(2, 10))]
        transport.set_protocol(pausing)
