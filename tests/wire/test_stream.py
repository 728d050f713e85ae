"""StreamTransport: what it is, what it tells about its connection, and what becomes of it when it is left open.

Where asyncio promises the same, asyncio's own transport runs the same test: then the test is right about asyncio.
"""

import asyncio
import gc
import socket
import warnings

import pytest
from kit.pairs import (
    PooledRecorder,
    Recorder,
    every_transport,
    linked,
    listed_in,
    own_transports,
    received_by,
)
from kit.wires import BLOCK, eventually, net, run

import poolio

# --- what it is ---------------------------------------------------------------------------------------------

@own_transports
def test_isinstance_asyncio_transport(loop_name):
    async def main():
        protocol, peer = await linked()
        with peer:
            assert isinstance(protocol.transport, asyncio.Transport)
            assert type(protocol.transport).__module__ == "poolio.wire.stream"
            protocol.transport.abort()
            await protocol.ended
    run(loop_name, main)


@every_transport
@pytest.mark.parametrize("host", ("127.0.0.1", "::1"))
def test_extra_info_names_both_ends_also_afterwards(loop_name, host):
    async def main():
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listener = socket.create_server((host, 0), family=family)
        except OSError:
            pytest.skip(f"no address {host} on this machine")
        made = []
        server = await net().create_server(listed_in(made), sock=listener)
        transport, client = await net().create_connection(Recorder, *listener.getsockname()[:2])
        await eventually(lambda: made and made[0].calls == ["made"])
        accepted = made[0].transport
        for one, other in ((transport, accepted), (accepted, transport)):
            assert one.get_extra_info("sockname") == other.get_extra_info("peername")
            sock = one.get_extra_info("socket")
            assert (sock.getsockname(), sock.getpeername()) == (
                one.get_extra_info("sockname"), one.get_extra_info("peername"))
            # asyncio forgets it where it did not make the listening socket itself
            assert loop_name == "asyncio" or sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert one.get_extra_info("nonsense", 5) == 5
        names = accepted.get_extra_info("sockname"), accepted.get_extra_info("peername")
        transport.close()
        await client.ended
        await made[0].ended
        assert (accepted.get_extra_info("sockname"), accepted.get_extra_info("peername")) == names
        assert accepted.get_protocol() is None or loop_name == "asyncio"
        server.close()
        await server.wait_closed()
    run(loop_name, main)


@every_transport
def test_unix_extra_info_is_the_paths(loop_name, tmp_path):
    async def main():
        made = []
        path = str(tmp_path / "socket")
        server = await net().create_unix_server(listed_in(made), path)
        transport, client = await net().create_unix_connection(Recorder, path)
        await eventually(lambda: made and made[0].calls == ["made"])
        assert transport.get_extra_info("peername") == path
        assert made[0].transport.get_extra_info("sockname") == path
        assert made[0].transport.get_extra_info("peername") == ""
        transport.close()
        await client.ended
        await made[0].ended
        server.close()
        await server.wait_closed()
    run(loop_name, main)


@own_transports
def test_made_by_itself_raises(loop_name):
    with pytest.raises(TypeError, match="create_server"):
        poolio.wire.stream.StreamTransport()


# --- left open ------------------------------------------------------------------------------------------------

@every_transport
def test_dropped_while_paused_warns_and_closes(loop_name):
    async def main():
        protocol, peer = await linked()
        with peer:
            await asyncio.sleep(0.01)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                protocol.transport.pause_reading()
                del protocol
                gc.collect()
            assert [str(warning.message) for warning in caught if "unclosed transport" in str(warning.message)]
            assert await received_by(peer) == b""
    run(loop_name, main)


@own_transports
def test_loop_closed_with_connections_open_closes_them(loop_name, make_pool):
    pool = make_pool()
    peers = []

    async def main():
        server = await net().create_server(PooledRecorder, "127.0.0.1", 0)
        for _ in range(3):
            protocol, peer = await linked(PooledRecorder)
            protocol.pool = pool
            peers.append(peer)
            accepted = socket.create_connection(server.sockets[0].getsockname())
            accepted.settimeout(20)
            peers.append(accepted)
            accepted.sendall(b"x")
        await asyncio.sleep(0.05)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        run(loop_name, main)
        gc.collect()
    for peer in peers:
        with peer:
            assert peer.recv(10) == b""


@own_transports
def test_repr_tells_the_state(loop_name):
    async def main():
        protocol, peer = await linked()
        transport = protocol.transport
        with peer:
            assert "read=polling write=<idle, bufsize=0>" in repr(transport)
            transport.pause_reading()
            transport.write(BLOCK)
            assert "read=idle write=<polling" in repr(transport)
            transport.check()
            transport.close()
            assert "closing" in repr(transport)
            transport.abort()
            await protocol.ended
            assert repr(transport) == "<poolio.StreamTransport closed>"
    run(loop_name, main)
