"""Reactor: batches in which callbacks change the batch, used descriptor numbers, and loops that come and go."""

import asyncio
import gc
import os
import resource
import socket

import pytest
from kit.pairs import Recorder, connect_socket, every_transport, linked, own_transports
from kit.wires import BLOCK, eventually, net, run

import poolio
from poolio.wire.reactor import Reactor, reactor_of


async def many_linked(factory, count):
    return [await linked(factory) for _ in range(count)]


def make_readable(pairs, data=b"x"):
    """All peers send before the reactor looks again: the next pass has all of them in one batch."""
    for _, peer in pairs:
        peer.sendall(data)


@own_transports
@pytest.mark.parametrize("method", ("close", "abort", "pause_reading"))
def test_callback_ends_the_others_of_its_batch_none_is_called_again(loop_name, method):
    async def main():
        called = []

        class Ending(Recorder):
            def data_received(self, data):
                called.append(self)
                for protocol, _ in pairs:
                    if protocol is not self:
                        getattr(protocol.transport, method)()

        pairs = await many_linked(Ending, 20)
        make_readable(pairs)
        await eventually(lambda: called)
        await asyncio.sleep(0.01)
        assert len(called) == 1
        for protocol, peer in pairs:
            protocol.transport.abort()
            await protocol.ended
            peer.close()
    run(loop_name, main)


@own_transports
def test_descriptor_numbers_used_again_in_the_batch_get_no_foreign_events(loop_name):
    """Each callback closes a neighbour's descriptor for good and opens a new connection, which takes its number."""
    async def main():
        strays, fresh = [], []

        class New(Recorder):
            def data_received(self, data):
                strays.append(data)

        class Replacing(Recorder):
            def data_received(self, data):
                for protocol, _ in pairs:
                    number = protocol.transport._sock_fd
                    if protocol is not self and number >= 0 and not protocol.transport.is_closing():
                        protocol.transport.abort()
                        protocol.transport._call_connection_lost(None)      # now, not when the loop comes to it
                        ours, theirs = sorted(socket.socketpair(), key=lambda one: one.fileno() != number)
                        if ours.fileno() != number:         # a lower number was free
                            ours.close()
                            theirs.close()
                            return
                        ours.setblocking(False)
                        new = New()
                        poolio.wire.stream.open_transport(
                            reactor_of(asyncio.get_running_loop()), ours, new)._begin(None)
                        fresh.append((new, theirs))
                        return

        class Once(Replacing):
            def connection_lost(self, exc):
                if not self.ended.done():
                    self.ended.set_result(exc)

        pairs = await many_linked(Once, 30)
        make_readable(pairs)
        await eventually(lambda: len(fresh) >= 5)
        await asyncio.sleep(0.01)
        assert strays == []
        for protocol, peer in [*pairs, *fresh]:
            if protocol.transport._sock_fd >= 0:
                protocol.transport.abort()
                await protocol.ended
            peer.close()
    run(loop_name, main)


@every_transport
def test_server_closed_in_the_first_connection_made_all_that_were_accepted_are_served(loop_name):
    async def main():
        servers, served = [], []

        class Serving(Recorder):
            def connection_made(self, transport):
                super().connection_made(transport)
                served.append(self)
                servers[0].close()

        for _ in range(2):
            servers.append(await net().create_server(Serving, "127.0.0.1", 0, backlog=100))
        address = servers[0].sockets[0].getsockname()
        clients = [socket.create_connection(address) for _ in range(10)]
        await eventually(lambda: len(served) == 10)
        for client in clients:
            client.close()
        for protocol in served:
            await protocol.ended
        servers[1].close()
        await servers[0].wait_closed()
        await servers[1].wait_closed()
    run(loop_name, main)


@own_transports
def test_descriptors_are_all_given_back(loop_name):
    async def main():
        pairs = await many_linked(Recorder, 3)
        for protocol, peer in pairs:
            peer.close()
            await protocol.ended

    def descriptors():
        gc.collect()
        return set(os.listdir("/proc/self/fd"))

    run(loop_name, main)
    before = descriptors()
    for _ in range(3):
        run(loop_name, main)
    assert descriptors() == before


@own_transports
def test_reactor_is_one_a_loop(loop_name):
    async def main():
        loop = asyncio.get_running_loop()
        assert reactor_of(loop) is reactor_of(loop)
        assert reactor_of(loop).loop is loop
    run(loop_name, main)


def test_descriptor_closed_behind_our_back_is_left_to_its_next_owner():
    """A reader that was never removed must not take a later transport's registration away."""
    async def main():
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        loop.add_reader(number := ours.fileno(), lambda: None)
        ours.close()
        theirs.close()
        pair = socket.socketpair()
        (ours,) = (one for one in pair if one.fileno() == number)
        (theirs,) = (one for one in pair if one.fileno() != number)
        ours.setblocking(False)
        _, protocol = await connect_socket(Recorder, ours)
        loop._remove_reader(number)
        theirs.sendall(b"seen")
        await eventually(lambda: protocol.received == b"seen")
        theirs.close()
        await protocol.ended
    run("poolio", main)


def test_many_ready_at_once_are_all_served():
    """More than one batch of events."""
    count = 700
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 3 * count and hard != resource.RLIM_INFINITY and hard < 3 * count:
        pytest.skip(f"{3 * count} descriptors are needed, {hard} allowed")
    if soft < 3 * count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3 * count, hard))

    async def main():
        pairs = []
        for _ in range(count):
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            protocol = Recorder()
            waiter = asyncio.get_running_loop().create_future()
            poolio.wire.stream.open_transport(reactor_of(asyncio.get_running_loop()), ours, protocol, waiter)
            await waiter
            pairs.append((protocol, theirs))
        make_readable(pairs, BLOCK[:100])
        await eventually(lambda: all(protocol.received == BLOCK[:100] for protocol, _ in pairs))
        for protocol, peer in pairs:
            peer.close()
            await protocol.ended
    run("poolio", main)


def test_closed_reactor_has_no_descriptor():
    loop = poolio.new_event_loop()
    reactor = reactor_of(loop)
    assert reactor.fileno() >= 0
    loop.close()
    assert reactor.fileno() == -1
    assert isinstance(reactor, Reactor)
