"""What a TLS peer can make poolio allocate, compute and keep, on both engines. The records that no library would send
are forged.

Memory is what C code has of the heap, OpenSSL and slabs included; work is counted. Where OpenSSL itself sets the bound,
the test shows that it does.
"""

import asyncio
import gc
import socket
import ssl

import pytest
from kit.memory import heap_bytes
from kit.pairs import (
    PooledRecorder,
    Recorder,
    collect_errors,
    listed_in,
    needs_own_transports,
    on,
    shrink_kernel_buffers,
    turns,
)
from kit.tlsforged import (
    ALERT,
    CLIENT_HELLO,
    DATA,
    HANDSHAKE,
    NO_RENEGOTIATION,
    USER_CANCELED,
    WARNING,
    each_version,
    forging,
    message,
)
from kit.tlspairs import each_engine
from kit.wires import BLOCK, CLIENT_TLS, OURS, SERVER_TLS, _authority, eventually, net

from poolio.memory.slab import BUILD_VARIANT

pytestmark = [needs_own_transports, pytest.mark.usefixtures("default_pool_is_left_as_it_was")]
ONE = OURS[:1]
READ = 262_144              # bytes that one read brings at most
ANSWERS = 65_536            # bytes of TLS's own answers that may wait for the peer to read them
UPDATES = 20_000 if BUILD_VARIANT != "sanitize" else 5_000     # answers of 540 KB; to forge them is slow there
HIGH = 65_536               # bytes of ciphertext above which a transport encrypts nothing
LATEST, OLDER = ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2


class Counting(PooledRecorder):
    callbacks = 0

    def data_received(self, data):
        self.callbacks += 1
        super().data_received(data)


def context_of_server(**attributes):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _authority.issue_cert("localhost").configure_cert(context)
    for name, value in attributes.items():
        setattr(context, name, value)
    return context


# --- answers of TLS itself --------------------------------------------------------------------------------------------

class Echoing(PooledRecorder):
    def data_received(self, data):
        super().data_received(data)
        self.transport.write(data)


class Closing(PooledRecorder):
    def data_received(self, data):
        self.transport.close()


class ClosingBehindMuch(PooledRecorder):
    def data_received(self, data):
        self.transport.write(BLOCK[:1_000_000])
        self.transport.close()


@each_engine
@pytest.mark.parametrize("factory", (PooledRecorder, Echoing, Closing, ClosingBehindMuch))
@on(*ONE)
async def test_key_updates_of_a_peer_that_reads_no_answer_queue_64_kib_and_a_read(engine, factory, force):
    """Before it reads on they are answered no more, and all that it has sent is there when it does."""
    force(engine)
    async with forging(LATEST, factory, ssl_shutdown_timeout=60) as (protocol, peer):
        carrier = protocol.transport.carrier
        shrink_kernel_buffers(carrier, peer.writer.get_extra_info("socket"))
        peer.writer.transport.pause_reading()
        peer.writer.write(b"".join(peer.record(DATA, b"x") + peer.key_update(asks=True) for _ in range(UPDATES)))
        await eventually(lambda: not carrier.is_reading())
        await turns(100)
        assert ANSWERS < carrier.get_write_buffer_size() <= 2 * HIGH + ANSWERS + READ
        assert not carrier.is_reading()
        if factory is PooledRecorder:
            for end in (carrier, peer.writer):
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            peer.writer.transport.resume_reading()
            reading = asyncio.ensure_future(peer.reader.readexactly(UPDATES * 27))
            await eventually(lambda: len(protocol.received) == UPDATES)
            await eventually(carrier.is_reading)
            await reading


@each_engine
@on(*ONE)
async def test_key_updates_that_ask_for_nothing_keep_nothing(engine, force):
    force(engine)
    async with forging(LATEST) as (protocol, peer):
        updates = b"".join(peer.key_update(asks=False) for _ in range(UPDATES)) + peer.record(DATA, b"x")
        before = heap_bytes()
        peer.writer.write(updates)
        await eventually(lambda: protocol.received == b"x")
        assert protocol.transport.carrier.get_write_buffer_size() == 0
        assert heap_bytes() - before < 2 * READ + len(updates)


@each_engine
@on(*ONE)
async def test_renegotiation_is_refused_each_time_and_costs_no_handshake(engine, force):
    force(engine)
    context = context_of_server()
    async with forging(OLDER, context=context) as (protocol, peer):
        if ssl.OPENSSL_VERSION_INFO < (3,):
            pytest.skip("OpenSSL 1.1.1 renegotiates")
        hello = message(CLIENT_HELLO, bytes(200))
        peer.writer.write(b"".join(peer.record(HANDSHAKE, hello) for _ in range(2_000)) + peer.record(DATA, b"x"))
        await eventually(lambda: protocol.received == b"x")
        assert context.session_stats()["accept_good"] == 1


# --- records that bring nothing ---------------------------------------------------------------------------------------

USELESS = {
    "empty": (DATA, b"", 32), "warnings": (ALERT, bytes([WARNING, USER_CANCELED]), 4),
}


@each_engine
@each_version
@pytest.mark.parametrize("kind, content, most", USELESS.values(), ids=USELESS)
@on(*ONE)
async def test_useless_records_in_a_row_end_their_connection(engine, version, kind, content, most, force):
    force(engine)
    collect_errors()
    async with forging(version, Counting) as (protocol, peer):
        row = b"".join(peer.record(kind, content) for _ in range(most))
        peer.writer.write(row + peer.record(DATA, b"x"))
        await eventually(lambda: protocol.received == b"x")             # so many are allowed
        peer.writer.write(b"".join(peer.record(kind, content) for _ in range(10_000)))
        assert isinstance(await protocol.ended, ssl.SSLError)
        assert protocol.callbacks == 1


SENSELESS = {
    "a message that nobody asked for": (LATEST, HANDSHAKE, message(CLIENT_HELLO, bytes(9))),
    "the beginning of one of 16 MB": (LATEST, HANDSHAKE, b"\x0b\xff\xff\xff" + bytes(1000)),
    "a request to say hello, to a server": (OLDER, HANDSHAKE, message(0, b"")),
    "another warning": (LATEST, ALERT, bytes([WARNING, NO_RENEGOTIATION])),
    "a type that does not exist": (LATEST, 99, b"x"),
}


@each_engine
@pytest.mark.parametrize("version, kind, content", SENSELESS.values(), ids=SENSELESS)
@on(*ONE)
async def test_senseless_record_ends_its_connection_and_keeps_nothing(engine, version, kind, content, force):
    force(engine)
    collect_errors()
    async with forging(version) as (protocol, peer):
        before = heap_bytes()
        peer.writer.write(peer.record(kind, content))
        assert isinstance(await protocol.ended, ssl.SSLError)
        assert protocol.received == b""
        assert heap_bytes() - before < READ


@each_engine
@each_version
@on(*ONE)
async def test_records_of_one_byte_come_together_a_callback_for_each_read(engine, version, force):
    """20,000 of them: as a callback, or as an object, each would be far dearer than its 22 bytes."""
    force(engine)
    async with forging(version, Counting) as (protocol, peer):
        protocol.transport.pause_reading()
        data = b"".join(peer.record(DATA, b"x") for _ in range(20_000))
        peer.writer.write(data)
        await turns(10)
        protocol.transport.resume_reading()
        before = heap_bytes()
        await eventually(lambda: len(protocol.received) == 20_000)
        assert protocol.callbacks <= 20
        assert heap_bytes() - before < 4 * READ


@each_engine
@on(*ONE)
async def test_data_behind_a_close_notify_is_never_delivered(engine, force):
    force(engine)
    async with forging(LATEST) as (protocol, peer):
        data = peer.record(DATA, b"x") + peer.record(ALERT, bytes([WARNING, 0]))
        peer.writer.write(data + b"".join(peer.record(DATA, b"late") for _ in range(5_000)))
        assert await protocol.ended is None
        assert protocol.received == b"x"


# --- handshakes -------------------------------------------------------------------------------------------------------

def plain_record(content):
    """One that is not encrypted yet."""
    return bytes([HANDSHAKE, 3, 1]) + len(content).to_bytes(2, "big") + content


def hello():
    """The message of a client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        CLIENT_TLS.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()[5:]


def beginning_of_a_hello(size):
    return b"\1" + size.to_bytes(3, "big")


LARGEST_HELLO = 131_000
UNFINISHED = {
    "nothing": lambda: b"",
    "a hello that is answered": lambda: plain_record(hello()),
    "a length": lambda: plain_record(beginning_of_a_hello(LARGEST_HELLO)),
    "all but a byte": lambda: b"".join(map(plain_record, (
        beginning_of_a_hello(LARGEST_HELLO) + bytes(999), *[bytes(10_000)] * 13))),
}


@each_engine
@pytest.mark.parametrize("sent", UNFINISHED.values(), ids=UNFINISHED)
@on(*ONE)
async def test_unfinished_handshake_costs_512_kib_at_most_with_openssls_memory(engine, sent, force):
    force(engine)
    made, peers = [], []
    server = await net().create_server(listed_in(made), "127.0.0.1", 0, ssl=SERVER_TLS)
    for number in range(21):
        if number == 1:                                                 # the first one makes what all share
            gc.collect()
            before = heap_bytes()
        peers.append(socket.create_connection(server.sockets[0].getsockname()))
        peers[-1].sendall(sent())
        await turns(20)
    await eventually(lambda: len(made) == 21)
    await turns(20)
    assert heap_bytes() - before < 20 * (1 << 19)
    assert all(protocol.calls == [] for protocol in made)
    for peer in peers:
        peer.close()
    server.close()
    await turns(20)


@each_engine
@on(*ONE)
async def test_hello_of_more_than_131396_bytes_is_refused(engine, force):
    force(engine)
    collect_errors()
    server = await net().create_server(PooledRecorder, "127.0.0.1", 0, ssl=SERVER_TLS)
    before = heap_bytes()
    for size in (131_397, (1 << 24) - 1):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(plain_record(beginning_of_a_hello(size)))
        alert = await reader.read()
        assert alert[0] == ALERT and alert[-2] != WARNING
        writer.close()
    assert heap_bytes() - before < 2 * READ
    server.close()
    await server.wait_closed()


@each_engine
@on(*ONE)
async def test_hello_in_fragments_of_one_byte_is_answered_like_any_other(engine, force):
    """Each is a record of its own, and a read of its own: one step of the handshake each."""
    force(engine)
    server = await net().create_server(PooledRecorder, "127.0.0.1", 0, ssl=SERVER_TLS)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    for byte in hello():
        writer.write(plain_record(bytes([byte])))
        await turns(1)
    assert (await reader.readexactly(1))[0] == HANDSHAKE
    writer.transport.abort()
    server.close()
    await turns(5)


@each_engine
@on(*ONE)
async def test_certificates_of_more_than_100_kib_are_refused(engine, force, tmp_path):
    """A client of a hostile server; a server that asks for certificates has the same limit."""
    force(engine)
    collect_errors()
    issued = _authority.issue_cert("localhost")
    chain = issued.cert_chain_pems[0].bytes() + _authority.cert_pem.bytes() * 300
    (tmp_path / "pem").write_bytes(issued.private_key_pem.bytes() + chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem")
    server = await asyncio.get_running_loop().create_server(Recorder, "127.0.0.1", 0, ssl=context)
    with pytest.raises(ssl.SSLError, match="EXCESSIVE_MESSAGE_SIZE"):
        await net().create_connection(
            Recorder, *server.sockets[0].getsockname(), ssl=CLIENT_TLS, server_hostname="localhost")
    server.close()
    await server.wait_closed()


@each_engine
@on(*ONE)
async def test_tickets_that_a_server_sends_by_the_thousand_are_not_kept(engine, force):
    force(engine)
    server = await net().create_server(Greeting, "127.0.0.1", 0, ssl=context_of_server(num_tickets=5_000))
    held = []
    for _ in range(2):
        client = Recorder()
        transport, _ = await net().create_connection(
            lambda: client, *server.sockets[0].getsockname(), ssl=CLIENT_TLS, server_hostname="localhost")  # noqa: B023
        await eventually(lambda: client.received == b"behind them")     # noqa: B023
        transport.abort()
        await client.ended
        gc.collect()
        held.append(heap_bytes())
    assert held[1] - held[0] < READ
    server.close()
    await server.wait_closed()


class Greeting(Recorder):
    def connection_made(self, transport):
        super().connection_made(transport)
        transport.write(b"behind them")
