"""StreamProtocol: it is made within a running loop, and serves on every loop, wire and pipe."""

import asyncio
import os

import pytest
from kit.pairs import closed, on
from kit.wires import (
    LOOPS,
    PLAIN_LOOPS,
    WIRES,
    Checker,
    listening,
    run,
)
from kit.wires import closed as checkers_closed

import poolio

pytestmark = pytest.mark.usefixtures("default_pool_is_left_as_it_was")


def test_protocol_made_without_a_running_loop_raises():
    with pytest.raises(RuntimeError, match="no running event loop"):
        poolio.StreamProtocol()


@pytest.mark.parametrize("loop_name", PLAIN_LOOPS)
def test_pipe_takes_a_stream_protocol(loop_name):
    async def main():
        ours, theirs = os.pipe()
        with open(ours, "rb", 0) as pipe:
            transport, protocol = await asyncio.get_running_loop().connect_read_pipe(
                lambda: poolio.StreamProtocol(limit=1), pipe)
            writer = protocol.take_writer()
            os.write(theirs, b"data")
            os.close(theirs)
            assert await protocol.reader.read() == b"data"
            writer.close()
            await writer.wait_closed()
            assert transport.is_closing()
    run(loop_name, main)


@pytest.mark.parametrize("wire", WIRES)
@on(*LOOPS)
async def test_stream_protocol_echoes_on_every_loop_and_wire(wire, make_pool):
    pool = make_pool()
    tasks = set()

    async def echo(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        await closed(writer)

    def connected(reader, writer):
        tasks.add(asyncio.ensure_future(echo(reader, writer)))

    async with listening(wire, lambda: poolio.StreamProtocol(connected, pool=pool)) as connect:
        clients = [(await connect(Checker))[1] for _ in range(3)]
        for size in (1, 4096, 300_000):
            await asyncio.gather(*(client.echo(size) for client in clients))
        await checkers_closed(clients)
        await asyncio.gather(*tasks)
    tasks.clear()
