"""The contract of a TLS transport: the same scenario on asyncio's own TLS and on poolio's is told the same."""

import asyncio
import contextlib
import inspect
import socket
import ssl
import struct

import pytest
from kit.pairs import PooledRecorder, Recorder, collect_errors, linked, on, turns
from kit.tlspairs import Within, each_engine, secured, secured_twice
from kit.wires import CLIENT_TLS, OURS, SERVER_TLS, eventually, net

INFORMATION = ("sslcontext", "ssl_object", "peercert", "cipher", "compression", "socket", "peername", "sockname")
END = ("made", "eof", "lost")


def end_at_once(writer):
    """Let the other end have a reset."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def close_notify(protocol, peer):
    """The peer says that it closes, and waits."""
    with contextlib.suppress(ssl.SSLWantReadError):
        peer.object.unwrap()
    peer.writer.write(peer.to_send())


async def data_and_close_notify(protocol, peer):
    peer.object.write(b"last words")
    await close_notify(protocol, peer)


async def data_in_two_records_and_close_notify(protocol, peer):
    peer.object.write(b"last ")
    await data_and_close_notify(protocol, peer)


async def truncation(protocol, peer):
    peer.writer.write_eof()


async def data_and_truncation(protocol, peer):
    peer.write(b"data")
    peer.writer.write_eof()


async def end_within_a_record(protocol, peer):
    peer.object.write(b"never whole")
    peer.writer.write(peer.to_send()[:-3])
    peer.writer.write_eof()


async def reset_by_the_peer(protocol, peer):
    end_at_once(peer.writer)


async def abort(protocol, peer):
    protocol.transport.abort()
    protocol.transport.abort()


async def close_and_the_peers_close_notify(protocol, peer):
    protocol.transport.close()
    protocol.transport.close()
    await peer.read_end()


async def close_and_the_peers_end(protocol, peer):
    protocol.transport.close()
    peer.writer.write_eof()


async def close_and_abort(protocol, peer):
    protocol.transport.close()
    protocol.transport.abort()


async def answer_at_the_end(protocol, peer):
    protocol.eof_received = lambda: protocol.calls.append("eof") or protocol.transport.write(b"answer")
    await close_notify(protocol, peer)
    assert await peer.read(6) == b"answer"


async def true_at_the_end(protocol, peer):
    protocol.eof_received = lambda: protocol.calls.append("eof") or True
    await close_notify(protocol, peer)


async def wrong_record(protocol, peer):
    peer.writer.write(b"\x17\x03\x03\x00\x20" + bytes(32))


async def no_record(protocol, peer):
    peer.writer.write(b"GET / HTTP/1.1\r\n\r\n")


async def fatal_alert(protocol, peer):
    peer.writer.write(b"\x15\x03\x03\x00\x02\x02\x28")


SCENARIOS = (
    close_notify, data_and_close_notify, data_in_two_records_and_close_notify, truncation, data_and_truncation,
    end_within_a_record, reset_by_the_peer, abort, close_and_the_peers_close_notify, close_and_the_peers_end,
    close_and_abort, answer_at_the_end, true_at_the_end, wrong_record, no_record, fatal_alert,
)
# (calls, received, the exception's class) on asyncio, of which CPython 3.11 to 3.15 think alike
TOLD = {
    "close_notify": (END, b"", None), "data_and_close_notify": (END, b"last words", None),
    "data_in_two_records_and_close_notify": (END, b"last last words", None), "truncation": (END, b"", None),
    "data_and_truncation": (END, b"data", None), "end_within_a_record": (END, b"", None),
    "reset_by_the_peer": (("made", "lost"), b"", ConnectionResetError), "abort": (("made", "lost"), b"", None),
    "close_and_the_peers_close_notify": (END, b"", None), "close_and_the_peers_end": (END, b"", None),
    "close_and_abort": (("made", "lost"), b"", None), "answer_at_the_end": (END, b"", None),
    "true_at_the_end": (END, b"", None), "wrong_record": (("made", "lost"), b"", ssl.SSLError),
    "no_record": (("made", "lost"), b"", ssl.SSLError), "fatal_alert": (("made", "lost"), b"", ssl.SSLError),
}


@each_engine
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
@pytest.mark.parametrize("factory", (Recorder, PooledRecorder))
@on("asyncio", *OURS)
async def test_end_of_a_connection_is_told_as_on_asyncio(engine, scenario, factory, force):
    force(engine)
    collect_errors()
    async with secured(factory) as (protocol, peer):
        await scenario(protocol, peer)
        exc = await protocol.ended
        told = tuple(protocol.calls), bytes(protocol.received), None if exc is None else type(exc)
    calls, received, kind = TOLD[scenario.__name__]
    assert told[:2] == (calls, received)
    assert told[2] is kind or issubclass(told[2], kind)


@each_engine
@on("asyncio", *OURS)
async def test_information_is_there_when_the_connection_is_made(engine, force):
    force(engine)
    server = await net().create_server(Recorder, "127.0.0.1", 0, ssl=SERVER_TLS)
    transport, protocol = await net().create_connection(
        Recorder, *server.sockets[0].getsockname(), ssl=CLIENT_TLS, server_hostname="localhost")
    known = {name: transport.get_extra_info(name) for name in INFORMATION}
    assert {name: type(value).__name__ for name, value in known.items()} == {
        "sslcontext": "SSLContext", "ssl_object": "SSLObject", "peercert": "dict", "cipher": "tuple",
        "compression": "NoneType", "socket": "TransportSocket", "peername": "tuple", "sockname": "tuple"}
    assert transport.get_extra_info("nothing", 7) == 7
    transport.close()
    assert transport.is_closing()
    await protocol.ended
    server.close()
    await server.wait_closed()


@each_engine
@pytest.mark.parametrize("options, error", (
    ({"server_hostname": "elsewhere"}, ssl.SSLCertVerificationError),
    ({"server_hostname": "localhost", "ssl": True}, ssl.SSLCertVerificationError),
    ({}, ssl.SSLCertVerificationError),
), ids=str)
@on("asyncio", *OURS)
async def test_client_that_can_not_connect_gets_the_error_that_asyncio_raises(engine, options, error, force):
    force(engine)
    collect_errors()
    server = await net().create_server(Recorder, "127.0.0.1", 0, ssl=SERVER_TLS)
    with pytest.raises(error):
        await net().create_connection(Recorder, *server.sockets[0].getsockname(), **{"ssl": CLIENT_TLS, **options})
    server.close()
    await server.wait_closed()


@each_engine
@pytest.mark.parametrize("end", (end_at_once, asyncio.StreamWriter.close))
@on("asyncio", *OURS)
async def test_server_that_ends_within_the_handshake_is_a_reset(engine, end, force):
    force(engine)

    async def accept(reader, writer):
        await reader.read(1)
        end(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    with pytest.raises(ConnectionResetError):
        await net().create_connection(
            Recorder, *server.sockets[0].getsockname(), ssl=CLIENT_TLS, server_hostname="localhost")
    server.close()


@each_engine
@on("asyncio", *OURS)
async def test_handshake_that_takes_too_long_is_aborted(engine, force):
    force(engine)
    async def silent(reader, writer):
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    with pytest.raises(ConnectionAbortedError, match=r"SSL handshake is taking longer than 0\.05 seconds"):
        await net().create_connection(
            Recorder, *server.sockets[0].getsockname(), ssl=CLIENT_TLS, server_hostname="localhost",
            ssl_handshake_timeout=0.05)
    server.close()


@each_engine
@on("asyncio", *OURS)
async def test_shutdown_that_the_peer_does_not_answer_times_out(engine, force):
    force(engine)
    async with secured(ssl_shutdown_timeout=0.05) as (protocol, _):
        protocol.transport.close()
        assert isinstance(await protocol.ended, TimeoutError)


@each_engine
@on("asyncio", *OURS)
async def test_write_after_close_is_dropped_and_wrong_types_are_refused(engine, force):
    force(engine)
    async with secured(Recorder) as (protocol, peer):
        with pytest.raises(TypeError):
            protocol.transport.write("text")
        protocol.transport.write(b"")
        protocol.transport.write(b"sent")
        protocol.transport.close()
        protocol.transport.write(b"not sent")
        assert await peer.read(4) == b"sent"
        await peer.read_end()
        assert await protocol.ended is None


@each_engine
@on("asyncio", *OURS)
async def test_paused_protocol_learns_of_the_end_when_it_reads_again(engine, force):
    force(engine)
    async with secured(Recorder) as (protocol, peer):
        protocol.transport.pause_reading()
        await data_and_close_notify(protocol, peer)
        peer.writer.write_eof()
        await turns(10)
        assert protocol.received == b"" and protocol.calls == ["made"]
        protocol.transport.resume_reading()
        await protocol.ended
        assert protocol.received == b"last words" and protocol.calls == ["made", "eof", "lost"]


@each_engine
@on("asyncio", *OURS)
async def test_exception_of_data_received_ends_this_connection_with_it(engine, force):
    force(engine)
    handled = collect_errors()

    class Raising(Recorder):
        def data_received(self, data):
            raise ZeroDivisionError("on purpose")

    async with secured(Raising) as (protocol, peer):
        peer.write(b"data")
        assert isinstance(await protocol.ended, ZeroDivisionError)
        await eventually(lambda: handled)
        assert isinstance(handled[0]["exception"], ZeroDivisionError) and len(handled) == 1


# --- TLS in TLS -----------------------------------------------------------------------------------------------------

# On CPython 3.11 and the first of 3.12 asyncio's own TLS in TLS raises TypeError where it should tell the error.
TELLS = "exc" in inspect.signature(asyncio.sslproto.SSLProtocol._abort).parameters


async def answer_the_end(outer):
    """Pass over what is left of the outer connection until its close_notify, and answer that."""
    with contextlib.suppress(ssl.SSLError, OSError, AssertionError):
        while await Within(outer).read(10_000):
            pass
        outer.object.unwrap()
        outer.writer.write(outer.to_send())


async def outer_close_notify(protocol, peer):
    await close_notify(protocol, peer.reader.outer)


async def data_and_outer_close_notify(protocol, peer):
    peer.object.write(b"last words")
    peer.reader.outer.object.write(peer.to_send())
    await outer_close_notify(protocol, peer)


async def outer_wrong_record(protocol, peer):
    await wrong_record(protocol, peer.reader.outer)


async def both_answer(protocol, peer):
    protocol.transport.close()
    await peer.read_end()
    await peer.reader.outer.read_end()


TOLD_TWICE = {
    **TOLD, "outer_close_notify": (END, b"", None),
    "data_and_outer_close_notify": (END, b"last words", None), "both_answer": (END, b"", None),
    "outer_wrong_record": (("made", "lost"), b"", ssl.SSLError),
}
FAILING = (wrong_record, no_record, fatal_alert)
TWICE = [scenario for scenario in SCENARIOS if scenario not in FAILING]
TWICE += [outer_close_notify, data_and_outer_close_notify, outer_wrong_record, both_answer]


async def check_told_twice(scenario, factory):
    collect_errors()
    async with secured_twice(factory) as (protocol, peer):
        await scenario(protocol, peer)
        await answer_the_end(peer.reader.outer)
        exc = await protocol.ended
        calls, received, kind = TOLD_TWICE[scenario.__name__]
        assert (tuple(protocol.calls), bytes(protocol.received)) == (calls, received)
        assert (None if exc is None else type(exc)) is kind or issubclass(type(exc), kind)


@each_engine
@pytest.mark.parametrize("scenario", TWICE, ids=lambda scenario: scenario.__name__)
@pytest.mark.parametrize("factory", (Recorder, PooledRecorder))
@on("asyncio", *OURS)
async def test_end_of_tls_in_tls_is_told_as_on_asyncio(engine, scenario, factory, force):
    force(engine)
    await check_told_twice(scenario, factory)


@each_engine
@pytest.mark.parametrize("scenario", FAILING, ids=lambda scenario: scenario.__name__)
@pytest.mark.parametrize("factory", (Recorder, PooledRecorder))
@on(*("asyncio",) * TELLS, *OURS)
async def test_error_of_tls_in_tls_is_told_as_on_asyncio(engine, scenario, factory, force):
    force(engine)
    await check_told_twice(scenario, factory)


@each_engine
@on("asyncio", *OURS)
async def test_connection_lost_before_start_tls_has_begun_is_told(engine, force):
    force(engine)
    protocol, peer = await linked()
    with peer:
        upgrading = asyncio.ensure_future(net().start_tls(protocol.transport, protocol, SERVER_TLS, server_side=True))
        protocol.transport.abort()
        await asyncio.wait([upgrading])
        assert upgrading.result() is None
        assert await protocol.ended is None and protocol.calls == ["made", "lost"]
