"""What a loop leaves behind when it is closed: servers that nobody has closed listen no more."""

import asyncio
import gc
import socket
import warnings

import pytest
from kit.echoes import Echo
from kit.wires import OURS, net, run

import poolio


@pytest.fixture
def no_collection():
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(autouse=True)
def unclosed_servers_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


async def serve(port):
    server = await net().create_server(Echo, "127.0.0.1", port)
    return server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("loop_name", ("asyncio", "uvloop", *OURS))
def test_server_that_nobody_closed_the_next_run_can_bind_its_port(loop_name, no_collection):
    ports = [0]

    async def main():
        ports.append(await serve(ports[-1]))

    for _ in range(3):
        run(loop_name, main)
    assert ports[1] == ports[2] == ports[3]


@pytest.mark.parametrize("loop_name", OURS)
def test_server_that_nobody_closed_refuses_after_its_loop(loop_name, no_collection):
    ports = []

    async def main():
        ports.append(await serve(0))

    run(loop_name, main)
    with socket.socket() as peer:
        assert peer.connect_ex(("127.0.0.1", ports[0])) != 0


@pytest.mark.parametrize("loop_name", OURS)
def test_connections_of_a_closed_loop_end_without_a_crash(loop_name):
    kept = []

    async def main():
        server = await net().create_server(Echo, "127.0.0.1", 0)
        kept.append(await net().create_connection(poolio.Protocol, *server.sockets[0].getsockname()))
        await asyncio.sleep(0)

    run(loop_name, main)
    transport, _ = kept[0]
    assert transport.get_extra_info("peername") is not None
    assert repr(transport)
