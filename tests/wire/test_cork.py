"""The cork of a callback is an optimisation that nobody can see: what was written has left, or is counted."""

import asyncio
import os

from kit.pairs import Recorder, linked, on, pair, received_by, turns
from kit.wires import LOOPS, OURS

every_loop = on(*LOOPS)
own_loop = on(*OURS[:1])


class Answering(Recorder):
    """Writes an answer, and then lets `act` do something with the transport, in the same callback."""

    act = staticmethod(lambda transport: None)

    def data_received(self, data):
        self.transport.write(b"header ")
        self.act(self.transport)


def answering(act, base=Recorder):
    return type("Answering", (Answering,), {"act": staticmethod(act)})


def descriptor_of(transport):
    return transport.get_extra_info("socket").fileno()


@every_loop
async def test_drain_in_a_task_what_was_written_has_left(loop_name):
    async with pair() as ((_, client), (reader, writer)):
        number = descriptor_of(writer)

        async def serve():
            await reader.read(1)                        # the task goes on in the reactor's dispatch
            writer.write(b"header ")
            await writer.drain()
            os.write(number, b"body")

        task = asyncio.ensure_future(serve())
        await turns()
        client.write(b"x")
        await task
        assert await client.protocol.reader.readexactly(11) == b"header body"


@every_loop
async def test_write_buffer_size_of_zero_the_kernel_has_all(loop_name):
    def act(transport):
        if transport.get_write_buffer_size() == 0:
            os.write(number, b"body")

    protocol, peer = await linked(answering(act))
    with peer:
        number = descriptor_of(protocol.transport)
        peer.sendall(b"x")
        assert await received_by(peer, 11) == b"header body"
        protocol.transport.abort()
        await protocol.ended


@every_loop
async def test_socket_is_asked_for_what_was_written_has_left(loop_name):
    protocol, peer = await linked(answering(lambda transport: os.write(descriptor_of(transport), b"body")))
    with peer:
        peer.sendall(b"x")
        assert await received_by(peer, 11) == b"header body"
        protocol.transport.abort()
        await protocol.ended


@own_loop
async def test_loop_that_a_callback_runs_sends_what_the_callback_wrote():
    """As nest_asyncio does: one turn of the loop within a callback."""
    def act(transport):
        loop._run_once()
        peer.setblocking(False)
        seen.append(peer.recv(100))

    seen, loop = [], asyncio.get_running_loop()
    protocol, peer = await linked(answering(act))
    with peer:
        loop.call_soon(int)                             # so that the turn does not wait
        peer.sendall(b"x")
        while not seen:
            loop.call_soon(int)
            await asyncio.sleep(0)
        assert seen == [b"header "]
        protocol.transport.abort()
        await protocol.ended
