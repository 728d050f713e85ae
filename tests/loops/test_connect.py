"""create_server(), create_connection() and the like, on every loop: asyncio's arguments, and TLS."""

import asyncio
import contextlib
import socket

import pytest
from kit.echoes import Echo
from kit.faults import descriptors
from kit.pairs import Recorder, listed_in, own_transports, received_by
from kit.wires import BLOCK, CLIENT_TLS, SERVER_TLS, eventually, run

import poolio
from poolio.wire.reactor import reactor_of


@pytest.fixture
def made():
    return []


@contextlib.asynccontextmanager
async def tls_echo(count, factory=None, **options):
    """A TLS server that echoes, and `count` connections to it: [(number, transport, protocol)]."""
    server = await poolio.create_server(factory or Echo, "127.0.0.1", 0, ssl=SERVER_TLS, **options)
    clients = []
    for number in range(count):
        transport, protocol = await poolio.create_connection(
            Recorder, *address_of(server), ssl=CLIENT_TLS, server_hostname="localhost")
        clients.append((number, transport, protocol))
    yield clients
    for _, transport, protocol in clients:
        transport.close()
        await protocol.ended
    server.close()
    await server.wait_closed()


def address_of(server):
    return server.sockets[0].getsockname()[:2]


@own_transports
def test_create_server_several_hosts_listens_on_each(loop_name, made):
    async def main():
        server = await poolio.create_server(listed_in(made), ["127.0.0.1", "127.0.0.2"], 0)
        assert sorted(sock.getsockname()[0] for sock in server.sockets) == ["127.0.0.1", "127.0.0.2"]
        assert server.get_loop() is asyncio.get_running_loop()
        for sock in server.sockets:
            transport, protocol = await poolio.create_connection(Recorder, *sock.getsockname())
            transport.close()
            await protocol.ended
        await eventually(lambda: len(made) == 2)
        server.close()
        await server.wait_closed()
        assert server.sockets == ()
    run(loop_name, main)


@own_transports
def test_create_server_start_serving_false_waits(loop_name, made):
    async def main():
        server = await poolio.create_server(listed_in(made), "127.0.0.1", 0, start_serving=False)
        assert not server.is_serving()
        with pytest.raises(ConnectionRefusedError):
            await poolio.create_connection(Recorder, *address_of(server))
        await server.start_serving()
        assert server.is_serving()
        transport, protocol = await poolio.create_connection(Recorder, *address_of(server))
        transport.close()
        await protocol.ended
        server.close()
        await server.wait_closed()
        assert not server.is_serving()
    run(loop_name, main)


@own_transports
def test_create_server_reuse_port_lets_two_listen(loop_name, made):
    async def main():
        first = await poolio.create_server(listed_in(made), "127.0.0.1", 0, reuse_port=True)
        second = await poolio.create_server(listed_in(made), *address_of(first), reuse_port=True)
        with pytest.raises(OSError, match="in use"):
            await poolio.create_server(listed_in(made), *address_of(first))
        for server in (first, second):
            server.close()
            await server.wait_closed()
    run(loop_name, main)


@own_transports
def test_create_connection_takes_a_socket_and_a_local_address(loop_name, made):
    async def main():
        server = await poolio.create_server(listed_in(made), "127.0.0.1", 0)
        sock = socket.create_connection(address_of(server))
        transport, protocol = await poolio.create_connection(Recorder, sock=sock)
        assert transport.get_extra_info("peername") == address_of(server)
        transport.close()
        await protocol.ended
        transport, protocol = await poolio.create_connection(
            Recorder, *address_of(server), local_addr=("127.0.0.3", 0))
        assert transport.get_extra_info("sockname")[0] == "127.0.0.3"
        transport.close()
        await protocol.ended
        with pytest.raises(ValueError, match="can not be specified"):
            await poolio.create_connection(Recorder, "127.0.0.1", 1, sock=sock)
        server.close()
        await server.wait_closed()
    run(loop_name, main)


@own_transports
def test_create_connection_happy_eyeballs_takes_the_address_that_answers(loop_name, made, monkeypatch):
    async def main():
        loop = asyncio.get_running_loop()
        server = await poolio.create_server(listed_in(made), "127.0.0.1", 0)
        host, port = address_of(server)
        dead = socket.create_server(("127.0.0.1", 0))
        refusing = dead.getsockname()[1]
        dead.close()

        async def two_addresses(*args, **options):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", number)) for number in (refusing, port)]

        if loop_name == "poolio-on-uvloop":
            transport, protocol = await poolio.create_connection(Recorder, host, port, happy_eyeballs_delay=0.05)
        else:
            monkeypatch.setattr(loop, "getaddrinfo", two_addresses)
            transport, protocol = await poolio.create_connection(
                Recorder, "two.example", port, happy_eyeballs_delay=0.05, interleave=1)
        assert transport.get_extra_info("peername") == (host, port)
        transport.close()
        await protocol.ended
        server.close()
        await server.wait_closed()
    run(loop_name, main)


@own_transports
def test_create_connection_cancelled_leaves_no_descriptor(loop_name):
    async def main():
        # a listener whose queue is full does not answer: the connection stays half open
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            with socket.create_connection(listener.getsockname()):
                reactor_of(asyncio.get_running_loop())      # it has a descriptor of its own
                before = descriptors()
                tasks = [asyncio.ensure_future(poolio.create_connection(Recorder, *listener.getsockname()))
                         for _ in range(5)]
                await asyncio.sleep(0.05)
                for task in tasks:
                    task.cancel()
                results = await asyncio.gather(*tasks, return_exceptions=True)
                for result in results:
                    if not isinstance(result, asyncio.CancelledError):
                        result[0].abort()
                        await result[1].ended
                assert any(isinstance(result, asyncio.CancelledError) for result in results)
                await asyncio.sleep(0.01)
                assert descriptors() <= before
    run(loop_name, main)


@own_transports
def test_unix_server_takes_the_place_of_a_stale_socket(loop_name, made, tmp_path):
    async def main():
        path = tmp_path / "socket"
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
        server = await poolio.create_unix_server(listed_in(made), path)
        transport, protocol = await poolio.create_unix_connection(Recorder, str(path))
        transport.write(b"x")
        await eventually(lambda: made and made[0].received == b"x")
        transport.close()
        await protocol.ended
        server.close()
        await server.wait_closed()
    run(loop_name, main)


@own_transports
def test_tls_server_with_a_plain_client_reports_and_goes_on(loop_name):
    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        server = await poolio.create_server(Echo, "127.0.0.1", 0, ssl=SERVER_TLS)
        with socket.create_connection(address_of(server)) as plain:
            plain.settimeout(20)
            plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
            await received_by(plain)
        transport, protocol = await poolio.create_connection(
            Recorder, *address_of(server), ssl=CLIENT_TLS, server_hostname="localhost")
        assert transport.get_extra_info("ssl_object").version().startswith("TLS")
        assert transport.get_extra_info("peername") == address_of(server)
        transport.write(BLOCK[:1_000_000])
        await eventually(lambda: len(protocol.received) == 1_000_000)
        assert protocol.received == BLOCK[:1_000_000]
        transport.close()
        await protocol.ended
        server.close()
        await server.wait_closed()
    run(loop_name, main)


@own_transports
def test_tls_handshake_that_never_comes_times_out(loop_name):
    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        server = await poolio.create_server(Echo, "127.0.0.1", 0, ssl=SERVER_TLS, ssl_handshake_timeout=0.05)
        with socket.create_connection(address_of(server)) as silent:
            silent.settimeout(20)
            assert await received_by(silent) == b""
        server.close()
        await server.wait_closed()
    run(loop_name, main)


@own_transports
def test_tls_connections_share_their_room_and_nothing_else(loop_name):
    """Many at once, contents checked: what arrives in the common room is decrypted before the next one receives."""
    async def main():
        async with tls_echo(10) as clients:
            for part in range(5):
                for number, transport, _ in clients:
                    transport.write(BLOCK[number + 100_000 * part:number + 100_000 * (part + 1)])
            await eventually(lambda: all(len(protocol.received) == 500_000 for _, _, protocol in clients))
            for number, _, protocol in clients:
                assert protocol.received == BLOCK[number:number + 500_000]
    run(loop_name, main)


@own_transports
@pytest.mark.parametrize("limit", (0, 1))
def test_tls_echo_with_tiny_write_limits_that_pauses_reading_goes_on(loop_name, limit):
    class Careful(Echo):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.set_write_buffer_limits(high=limit)

        def pause_writing(self):
            self.transport.pause_reading()

        def resume_writing(self):
            self.transport.resume_reading()

    async def main():
        async with tls_echo(1, Careful) as [(_, transport, protocol)]:
            for part in range(20):
                transport.write(BLOCK[100_000 * part:100_000 * (part + 1)])
            await eventually(lambda: len(protocol.received) == 2_000_000)
            assert protocol.received == BLOCK[:2_000_000]
    run(loop_name, main)
