"""AdaptedLoop: asyncio's own code connects, serves, sends files and starts TLS on poolio's transports."""

import asyncio
import socket

import pytest
from kit.echoes import Echo
from kit.faults import read_to_the_end
from kit.pairs import Recorder, linked
from kit.wires import BLOCK, CLIENT_TLS, SERVER_TLS, eventually

import poolio


def run(main, timeout=60):
    async def bounded():
        return await asyncio.wait_for(main(), timeout)
    return poolio.run(bounded())


def test_streams_servers_and_connections_are_on_poolios_transports():
    async def main():
        kinds = []

        async def serve(reader, writer):
            kinds.append(type(writer.transport))
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        kinds.append(type(writer.transport))

        async def feed():
            writer.write(BLOCK)
            await writer.drain()
            writer.write_eof()

        feeding = asyncio.ensure_future(feed())
        assert await reader.read() == BLOCK
        await feeding
        writer.close()
        await writer.wait_closed()
        server.close()
        assert kinds == [poolio.wire.stream.StreamTransport] * 2
    run(main)


def test_connect_accepted_socket_and_start_tls():
    async def main():
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, ours)
        echoing = Echo()
        client_transport, client = await loop.create_unix_connection(Recorder, sock=theirs)
        secured, _ = await asyncio.gather(
            loop.start_tls(client_transport, client, CLIENT_TLS, server_hostname="localhost"),
            loop.start_tls(transport, echoing, SERVER_TLS, server_side=True))
        echoing.connection_made(_)
        client.connection_made(secured)
        secured.write(BLOCK[:200_000])
        await eventually(lambda: len(client.received) == 200_000)
        assert client.received == BLOCK[:200_000]
        secured.close()
        await client.ended
    run(main)


@pytest.mark.parametrize("fallback", (False, True))
def test_sendfile_sends_the_file_between_writes(tmp_path, fallback):
    path = tmp_path / "file"
    path.write_bytes(BLOCK)

    async def main():
        loop = asyncio.get_running_loop()

        class Sending(Recorder):
            pass

        protocol, peer = await linked(Sending)
        transport = protocol.transport
        if fallback:
            transport = FallbackOnly(transport)
        transport.write(b"before ")
        with path.open("rb") as file:
            sending = asyncio.ensure_future(loop.sendfile(transport, file))
            receiving = loop.run_in_executor(None, read_to_the_end, peer)
            assert await sending == len(BLOCK)
        transport.write(b" after")
        transport.close()
        assert await receiving == b"before " + BLOCK + b" after"
        await protocol.ended
        peer.close()

    class FallbackOnly:
        """The transport, without its native sendfile()."""

        _sendfile_compatible = asyncio.constants._SendfileMode.FALLBACK
        __class__ = asyncio.transports._FlowControlMixin

        def __init__(self, transport):
            self._transport = transport

        def __getattr__(self, name):
            return getattr(self._transport, name)

    run(main)


def test_add_reader_on_a_transports_descriptor_is_refused():
    async def main():
        loop = asyncio.get_running_loop()
        protocol, peer = await linked()
        with peer:
            with pytest.raises(RuntimeError, match="is used by transport"):
                loop.add_reader(protocol.transport._sock_fd, print)
            protocol.transport.abort()
            await protocol.ended
    run(main)
