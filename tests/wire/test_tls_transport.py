"""poolio's TLS transport, on both engines: how reads may cut its records, what is wrong in them, flow, secrets,
callbacks of OpenSSL's, the choice of the engine.
"""

import asyncio
import contextlib
import gc
import os
import random
import socket
import ssl
import subprocess
import sys
import weakref

import pytest
from kit.memory import places_of
from kit.pairs import PooledRecorder, Recorder, collect_errors, on, turns
from kit.tlsbyhand import TLSByHand
from kit.tlspairs import each_engine, secured
from kit.wires import BLOCK, CLIENT_TLS, OURS, SERVER_TLS, _authority, eventually, net

import poolio
from poolio.memory.slab import BUILD_VARIANT
from poolio.wire.openssl import engine_name, why_not_direct
from poolio.wire.tlstransport import make_secure

pytestmark = pytest.mark.usefixtures("default_pool_is_left_as_it_was")


class Room(asyncio.BufferedProtocol, Recorder):
    """It gives seven bytes of room at a time."""

    def get_buffer(self, sizehint):
        self.room = bytearray(7)
        return self.room

    def buffer_updated(self, count):
        self.received += self.room[:count]


FACTORIES = (PooledRecorder, Recorder, Room)


def context_of_server(**attributes):
    """A copy of SERVER_TLS with attributes of its own."""
    return with_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), **attributes)


def with_certificate(context, **attributes):
    _authority.issue_cert("localhost").configure_cert(context)
    for name, value in attributes.items():
        setattr(context, name, value)
    return context


# --- records and reads --------------------------------------------------------------------------------------------

@each_engine
@pytest.mark.parametrize("factory", FACTORIES)
@on("poolio")
async def test_each_cut_of_two_records_into_two_reads_is_delivered_whole(engine, factory, force):
    force(engine)
    async with secured(factory) as (protocol, peer):
        for number in range(2 * (5 + 1 + 16 + 9) + 1):
            peer.object.write(b"123456789")
            peer.object.write(b"abcdefghi")
            data = peer.to_send()
            peer.writer.write(data[:number])
            await turns(4)
            peer.writer.write(data[number:])
            await eventually(lambda: len(protocol.received) >= 18)
            assert bytes(protocol.received) == b"123456789abcdefghi"
            protocol.received.clear()


@each_engine
@on("poolio")
async def test_handshake_byte_by_byte_is_done_and_what_follows_it_is_delivered(engine, force):
    force(engine)
    made = []
    server = await net().create_server(
        lambda: made.append(PooledRecorder()) or made[-1], "127.0.0.1", 0, ssl=SERVER_TLS)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    peer = TLSByHand(reader, writer)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while not peer._shake():
        for byte in peer.to_send():
            writer.write(bytes([byte]))
            await turns(1)
        await peer._more()
    peer.object.write(b"at once")
    for byte in peer.to_send():
        writer.write(bytes([byte]))
        await turns(1)
    await eventually(lambda: made[0].received == b"at once")
    made[0].transport.abort()
    writer.close()
    server.close()
    await server.wait_closed()


@each_engine
@pytest.mark.parametrize("cut", range(0, 520, 37))
@on("poolio")
async def test_handshake_in_two_reads_cut_anywhere_is_done(engine, cut, force):
    force(engine)
    server = await net().create_server(PooledRecorder, "127.0.0.1", 0, ssl=SERVER_TLS)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    peer = TLSByHand(reader, writer)
    hello = peer.to_send()
    writer.write(hello[:cut])
    await turns(4)
    writer.write(hello[cut:])
    await peer.handshake()
    writer.write(peer.to_send())
    writer.close()
    server.close()
    await server.wait_closed()


@each_engine
@pytest.mark.parametrize("seed", range(20))
@on("poolio")
async def test_flipped_bit_of_a_record_ends_in_an_ssl_error_and_delivers_nothing_wrong(engine, seed, force):
    force(engine)
    collect_errors()
    dice = random.Random(seed)
    async with secured() as (protocol, peer):
        peer.write(b"right")
        await eventually(lambda: protocol.received == b"right")
        peer.object.write(BLOCK[:300])
        record = bytearray(peer.to_send())
        at = dice.randrange(5, len(record))             # the length of a record would be waited for
        record[at] ^= 1 << dice.randrange(8)
        peer.writer.write(bytes(record))
        assert isinstance(await protocol.ended, ssl.SSLError)
        assert protocol.received == b"right"


@each_engine
@on("poolio")
async def test_flipped_bits_of_a_hello_fail_the_handshake_or_nothing(engine, force):
    force(engine)
    collect_errors()
    dice = random.Random(1)
    server = await net().create_server(PooledRecorder, "127.0.0.1", 0, ssl=SERVER_TLS)
    for _ in range(60):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        hello = bytearray(TLSByHand(reader, writer).to_send())
        hello[dice.randrange(len(hello))] ^= 1 << dice.randrange(8)
        writer.write(bytes(hello))
        writer.write_eof()
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 5)
        writer.close()
    server.close()
    await asyncio.wait_for(server.wait_closed(), 5)


@each_engine
@on(*OURS)
async def test_kernel_tls_that_is_asked_for_is_refused_and_all_is_as_without_it(engine, force):
    """SSL_OP_ENABLE_KTLS: OpenSSL asks the BIO whether the kernel can take over, and goes on by itself."""
    force(engine)
    context = context_of_server()
    context.options |= 1 << 3
    async with secured(context=context) as (protocol, peer):
        asked = protocol.transport.get_extra_info("sslcontext").options & 1 << 3
        assert asked or ssl.OPENSSL_VERSION_INFO < (3,)
        protocol.write(BLOCK[:300_000])
        assert await peer.read(300_000) == BLOCK[:300_000]
        peer.write(BLOCK[:300_000])
        await eventually(lambda: protocol.received == BLOCK[:300_000])
        protocol.transport.close()
        await peer.read_end()
        assert await protocol.ended is None


# --- flow ----------------------------------------------------------------------------------------------------------

@each_engine
@pytest.mark.parametrize("factory", FACTORIES)
@on(*OURS)
async def test_paused_protocol_is_given_nothing_and_then_all_that_has_come(engine, factory, force):
    force(engine)
    async with secured(factory) as (protocol, peer):
        protocol.transport.pause_reading()
        peer.write(b"first")
        peer.write(BLOCK[:100_000])
        await turns(10)
        assert protocol.received == b"" and not protocol.transport.carrier.is_reading()
        protocol.transport.resume_reading()
        await eventually(lambda: len(protocol.received) == 100_005)
        assert protocol.received == b"first" + BLOCK[:100_000]


@each_engine
@pytest.mark.parametrize("factory", FACTORIES)
@on(*OURS)
async def test_protocol_that_pauses_in_each_callback_is_given_all_in_order(engine, factory, force):
    force(engine)

    class Pausing(factory):
        def note(self):
            self.transport.pause_reading()
            asyncio.get_running_loop().call_soon(self.transport.resume_reading)

        def data_received(self, data):
            super().data_received(data)
            self.note()

        def buffer_updated(self, count):
            super().buffer_updated(count)
            self.note()

    size = 2_000 if factory is Room else 400_000
    async with secured(Pausing) as (protocol, peer):
        peer.write(BLOCK[:size])
        await eventually(lambda: len(protocol.received) == size)
        assert protocol.received == BLOCK[:size]


@each_engine
@on(*OURS)
async def test_ciphertext_is_bounded_and_marks_count_what_was_written(engine, force):
    force(engine)
    async with secured() as (protocol, peer):
        transport = protocol.transport
        transport.set_write_buffer_limits(high=1_000_000)
        protocol.write(BLOCK)
        await turns(3)
        assert protocol.calls[-1] == "pause"
        assert transport.carrier.get_write_buffer_size() < 300_000
        assert 0 < transport.get_write_buffer_size() <= len(BLOCK)
        transport.check()
        assert await peer.read(len(BLOCK)) == BLOCK
        await eventually(lambda: protocol.calls[-1] == "resume")
        assert transport.get_write_buffer_size() == 0


@each_engine
@on(*OURS)
async def test_close_with_a_backlog_sends_all_of_it_and_then_the_close_notify(engine, force):
    force(engine)
    async with secured() as (protocol, peer):
        protocol.write(BLOCK)
        protocol.transport.close()
        assert await peer.read(len(BLOCK)) == BLOCK
        await peer.read_end()
        assert await protocol.ended is None


@each_engine
@on(*OURS)
async def test_after_close_nothing_is_delivered_and_the_peers_close_notify_ends_it(engine, force):
    force(engine)
    async with secured() as (protocol, peer):
        protocol.transport.close()
        peer.write(b"too late")
        await turns(5)
        assert protocol.calls == ["made"] and protocol.received == b""
        with pytest.raises(ssl.SSLWantReadError):
            peer.object.unwrap()
        peer.writer.write(peer.to_send())
        assert await protocol.ended is None
        assert protocol.received == b""


@each_engine
@on(*OURS)
async def test_peer_that_ends_and_does_not_read_is_cut_off_when_the_shutdown_takes_too_long(engine, force):
    """TLS is at its end on both sides, but what was sent stays in the carrier's queue."""
    force(engine)
    async with secured(ssl_shutdown_timeout=0.05) as (protocol, peer):
        peer.writer.transport.pause_reading()
        while not protocol.transport.carrier.get_write_buffer_size():
            protocol.write(BLOCK[:16_384])
        with pytest.raises(ssl.SSLWantReadError):
            peer.object.unwrap()
        peer.writer.write(peer.to_send())
        assert isinstance(await protocol.ended, TimeoutError)
        assert "eof" in protocol.calls


@each_engine
@on(*OURS)
async def test_transport_is_closing_as_soon_as_its_carrier_has_failed(engine, force):
    force(engine)
    async with secured() as (protocol, _):
        protocol.transport.carrier.get_extra_info("socket").shutdown(socket.SHUT_WR)
        protocol.write(b"nobody gets this")
        assert protocol.transport.get_write_buffer_size() == 0 and protocol.transport.is_closing()
        assert isinstance(await protocol.ended, BrokenPipeError)


@pytest.mark.skipif(sys.version_info < (3, 15, 2), reason="older ones' create_connection() leaves a cycle of its own")
@each_engine
@on(*OURS)
async def test_failed_verification_leaves_no_cycle(engine, force):
    force(engine)
    made = []
    server = await net().create_server(Recorder, "127.0.0.1", 0, ssl=SERVER_TLS)
    gc.disable()
    try:
        with pytest.raises(ssl.SSLCertVerificationError):
            await net().create_connection(
                remembered(made, Recorder), *server.sockets[0].getsockname(), ssl=ssl.create_default_context(),
                server_hostname="localhost")
        await turns(3)
        assert [reference() for reference in made] == [None]
    finally:
        gc.enable()
        server.close()


def remembered(made, factory):
    """factory() with weak references to what it has made in `made`."""
    def make():
        protocol = factory()
        made.append(weakref.ref(protocol))
        return protocol
    return make


@each_engine
@pytest.mark.parametrize("pauses", (False, True))
@on(*OURS)
async def test_protocol_that_raises_is_reported_alike_whether_it_has_paused_before_or_not(engine, pauses, force):
    force(engine)
    errors = collect_errors()

    class Raising(Room):
        def buffer_updated(self, count):
            if self.received or not pauses:
                raise ZeroDivisionError
            super().buffer_updated(count)
            self.transport.pause_reading()
            asyncio.get_running_loop().call_soon(self.transport.resume_reading)

    async with secured(Raising) as (protocol, peer):
        peer.write(b"more than seven bytes")
        assert isinstance(await protocol.ended, ZeroDivisionError)
        assert [error["message"] for error in errors] == ["Fatal error: protocol.data_received() call failed."]


# --- memory --------------------------------------------------------------------------------------------------------

@each_engine
@on(*OURS[:1])
async def test_transports_that_are_gone_leave_nothing(engine, force):
    force(engine)
    protocol = Recorder()

    def make(count):
        for _ in range(count):
            make_secure(asyncio.get_running_loop(), protocol, SERVER_TLS, server_side=True)
        gc.collect()
        return sys.getallocatedblocks()

    before = make(100)
    assert make(1000) - before < 100


KEEPER = """
import ssl, sys, poolio

class Keeper(poolio.Protocol):
    pool = poolio.Pool(zeroing="on_release")
    kept = None

    def data_received(self, buf):
        if self.kept is None:
            self.kept = buf
        elif buf == b"send":
            self.write(self.kept)
        else:
            self.kept = None
        self.write(b"done")

async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1])
    server = await poolio.create_server(Keeper, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

poolio.run(main())
"""


@pytest.mark.skipif(BUILD_VARIANT == "sanitize", reason="the sanitizer's shadow memory is too large to look through")
@pytest.mark.skipif(ssl.OPENSSL_VERSION_INFO < (3,), reason="OpenSSL 1.1.1 keeps what it has decrypted")
@pytest.mark.parametrize("version", (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3))
def test_on_release_a_secret_that_came_and_went_over_tls_is_gone(version, tmp_path):
    _authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _authority.configure_trust(context)
    context.maximum_version = version
    secret = os.urandom(32)
    environment = {**os.environ, "POOLIO_TLS_ENGINE": ""}       # MemoryBIO is not wiped
    keeper = subprocess.Popen(
        [sys.executable, "-c", KEEPER, tmp_path / "pem"], stdout=subprocess.PIPE, env=environment)
    with keeper, contextlib.ExitStack() as at_end:
        at_end.callback(keeper.kill)
        plain = at_end.enter_context(socket.create_connection(("127.0.0.1", int(keeper.stdout.readline()))))
        peer = at_end.enter_context(context.wrap_socket(plain, server_hostname="localhost"))
        for sent, places in ((secret, 1), (b"send", 1), (b"drop", 0)):
            peer.sendall(sent)
            answer = b""
            while not answer.endswith(b"done"):
                answer += peer.recv(100)
            assert places_of(keeper.pid, secret) == places, sent


# --- callbacks of OpenSSL's ---------------------------------------------------------------------------------------

@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")      # so the ssl module reports it
@each_engine
@on("poolio")
async def test_sni_callback_that_raises_fails_the_handshake(engine, force):
    force(engine)
    collect_errors()

    def raising(sslobj, name, context):
        raise ZeroDivisionError

    with pytest.raises((ssl.SSLError, AssertionError)):
        async with secured(context=context_of_server(sni_callback=raising)):
            pass


@each_engine
@pytest.mark.parametrize("version", (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3))
@on("poolio")
async def test_sni_callback_swaps_the_context(engine, version, force):
    force(engine)
    other = context_of_server(maximum_version=version)

    def swapping(sslobj, name, context):
        sslobj.context = other

    async with secured(context=context_of_server(sni_callback=swapping, maximum_version=version)) as (protocol, peer):
        assert protocol.transport.get_extra_info("ssl_object").context is other
        peer.write(b"hello")
        await eventually(lambda: protocol.received == b"hello")
        protocol.write(b"answer")
        assert await peer.read(6) == b"answer"


@on("poolio")
async def test_message_callback_is_called_for_each_record_on_memorybio(force):
    seen = []
    context = context_of_server(_msg_callback=lambda *record: seen.append(record))
    async with secured(context=context) as (protocol, peer):
        assert protocol.transport.get_extra_info("tls_engine") == "memorybio"
        before = len(seen)
        peer.write(b"hello")
        await eventually(lambda: protocol.received == b"hello" and len(seen) > before)


# --- the engine ----------------------------------------------------------------------------------------------------

@each_engine
@on(*OURS)
async def test_engine_is_the_one_that_the_environment_says(engine, force):
    force(engine)
    async with secured() as (protocol, _):
        assert protocol.transport.get_extra_info("tls_engine") == engine


def test_engine_that_does_not_exist_is_refused(force):
    force("gnutls")
    with pytest.raises(ValueError, match="POOLIO_TLS_ENGINE must be one of openssl, memorybio, not 'gnutls'"):
        engine_name()


def test_openssl_can_be_called_directly_on_the_pythons_that_are_tested():
    assert why_not_direct() == ""


@on("poolio")
async def test_contexts_that_are_not_plain_have_memorybio(force):
    class Reading(ssl.SSLObject):
        def read(self, *arguments):
            return super().read(*arguments)

    context = with_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), sslobject_class=Reading)
    async with secured(context=context) as (protocol, peer):
        assert protocol.transport.get_extra_info("tls_engine") == "memorybio"
        peer.write(b"hello")
        await eventually(lambda: protocol.received == b"hello")


@each_engine
@on(*OURS)
async def test_ssl_object_may_outlive_the_connection(engine, force):
    force(engine)
    async with secured() as (protocol, peer):
        kept = protocol.transport.get_extra_info("ssl_object")
        peer.write(b"hello")
        await eventually(lambda: protocol.received == b"hello")
    protocol.transport = None
    assert kept.version() == "TLSv1.3" and kept.cipher()
    with pytest.raises(ssl.SSLError):
        kept.read(1)


@each_engine
@on(*OURS)
async def test_session_is_resumed(engine, force):
    force(engine)
    server = await net().create_server(PooledRecorder, "127.0.0.1", 0, ssl=context_of_server())
    address = server.sockets[0].getsockname()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    session = None
    for is_resumed in (False, True):
        class Resuming(ssl.SSLContext):
            def wrap_bio(self, *arguments, **options):
                return context.wrap_bio(*arguments, **options, session=session)  # noqa: B023
        transport, _ = await net().create_connection(Recorder, *address, ssl=Resuming(ssl.PROTOCOL_TLS_CLIENT))
        sslobj = transport.get_extra_info("ssl_object")
        assert sslobj.session_reused is is_resumed
        session = sslobj.session
        transport.abort()
    server.close()
    await server.wait_closed()


def test_tls_transport_says_what_it_is():
    environment = {name: value for name, value in os.environ.items() if name != "POOLIO_TLS_ENGINE"}
    said = subprocess.run(
        [sys.executable, "-m", "poolio", "info"], env=environment, capture_output=True, text=True, check=True).stdout
    assert f"OpenSSL called directly, with {ssl.OPENSSL_VERSION}" in said


@on(*OURS)
async def test_transport_is_an_asyncio_transport_and_names_its_carrier():
    async with secured() as (protocol, _):
        assert isinstance(protocol.transport, asyncio.Transport)
        assert "ssl" in protocol.transport.__class__.__name__.lower()          # what CPython's tests look for
        assert "TLSTransport over <poolio.StreamTransport fd=" in repr(protocol.transport)
        assert protocol.transport.get_extra_info("socket") is not None
        with pytest.raises(NotImplementedError):
            protocol.transport.write_eof()
        assert not protocol.transport.can_write_eof()
        assert CLIENT_TLS is not protocol.transport.get_extra_info("sslcontext") is SERVER_TLS
        assert isinstance(poolio.alloc(1), poolio.Buffer)
