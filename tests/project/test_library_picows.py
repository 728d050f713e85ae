"""picows on poolio.EventLoop, unchanged, against real peers: every byte is checked.

While the transport's get_write_buffer_size() is 0, picows sends on the socket by itself, and gives the transport only
what the kernel did not take. So a transport must hold nothing back while it says 0, or messages change places.
By default aiofastnet makes picows' transports; then poolio's loop watches their sockets.
"""

import asyncio
import contextlib
import socket

import pytest
from kit.libraries import LARGE, assert_poolio, library, plain_and_tls, run
from kit.wires import CLIENT_TLS, SERVER_TLS

import poolio

picows = library("picows")
either_transport = pytest.mark.parametrize("options", [{"use_aiofastnet": False}, {}], ids=["poolio", "aiofastnet"])
MESSAGES = (b"small", LARGE, b"", LARGE[:70_000], b"end")


def assert_transport(transport, options):
    if options:
        assert_poolio(transport)
    else:
        assert type(asyncio.get_running_loop()) is poolio.EventLoop
        assert type(transport).__module__.startswith("aiofastnet.")


def listener_type(picows, options):
    """What both ends do: they greet at once, and keep what comes in a queue."""
    class Listener(picows.WSListener):
        def on_ws_connected(self, transport):
            assert_transport(transport.underlying_transport, options)
            self.received = asyncio.Queue()
            transport.send(picows.WSMsgType.TEXT, b"hello")

        def on_ws_frame(self, transport, frame):
            self.received.put_nowait(frame.get_payload_as_bytes())

    return Listener


@contextlib.asynccontextmanager
async def picows_client(picows, server_type, tls, options):
    """Serve listeners of the type; yields a client's transport and the queue of what it gets."""
    server = await picows.ws_create_server(
        lambda request: server_type(), "127.0.0.1", 0, ssl=SERVER_TLS if tls else None, **options)
    port = server.sockets[0].getsockname()[1]
    transport, client = await picows.ws_connect(
        listener_type(picows, options), f"{'wss' if tls else 'ws'}://localhost:{port}", family=socket.AF_INET,
        ssl_context=CLIENT_TLS if tls else None, **options)
    try:
        yield transport, client.received
    finally:
        transport.disconnect()
        await transport.wait_disconnected()
        server.close()
        await server.wait_closed()


@plain_and_tls
@either_transport
def test_picows_greetings_come_first_and_answers_in_order(picows, options, tls):
    class Answering(listener_type(picows, options)):
        def on_ws_frame(self, transport, frame):
            payload = frame.get_payload_as_bytes()
            transport.send(picows.WSMsgType.BINARY, payload)
            transport.send(picows.WSMsgType.BINARY, b"%d" % len(payload))

    async def main():
        async with picows_client(picows, Answering, tls, options) as (transport, received):
            for message in MESSAGES:
                transport.send(picows.WSMsgType.BINARY, message)
            expected = [b"hello"]
            for message in (b"hello", *MESSAGES):
                expected += [message, b"%d" % len(message)]
            assert [await received.get() for _ in expected] == expected

    run(main)


@plain_and_tls
@either_transport
def test_picows_what_was_written_to_the_transport_goes_before_what_picows_sends(picows, options, tls):
    # two frames of one byte, which picows knows nothing of, then one of its own
    class Mixing(listener_type(picows, options)):
        def on_ws_frame(self, transport, frame):
            for number in range(100):
                transport.underlying_transport.write(b"\x82\x01%c\x82\x01%c" % (number, number + 100))
                transport.send(picows.WSMsgType.BINARY, b"%d" % number)

    async def main():
        async with picows_client(picows, Mixing, tls, options) as (_, received):
            assert await received.get() == b"hello"
            for number in range(100):
                answer = [await received.get() for _ in range(3)]
                assert answer == [b"%c" % number, b"%c" % (number + 100), b"%d" % number]

    run(main)


@plain_and_tls
@either_transport
def test_picows_client_gets_what_came_before_the_server_closed(picows, options, tls):
    class Leaving(listener_type(picows, options)):
        def on_ws_frame(self, transport, frame):
            transport.send(picows.WSMsgType.BINARY, LARGE)
            transport.send_close(picows.WSCloseCode.GOING_AWAY, b"enough")
            transport.disconnect()

    async def main():
        async with picows_client(picows, Leaving, tls, options) as (transport, received):
            assert [await received.get() for _ in range(2)] == [b"hello", LARGE]
            await transport.wait_disconnected()
            assert transport.close_handshake.recv.code is picows.WSCloseCode.GOING_AWAY

    run(main)
