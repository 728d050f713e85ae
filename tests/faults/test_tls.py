"""TLS that goes wrong, on real sockets: garbage in every phase, truncated records, resets, stalls, an end without a
close_notify. The other side's application hears of it once, the exception handler only of what is no usual end of a
connection, and a server goes on serving.

asyncio's own transports run the same tests: TLS is the standard library's.
"""

import asyncio
import contextlib
import socket
import ssl

import pytest
from kit.faults import KINDS, Watch, half_close, read_to_the_end, reset
from kit.pairs import on, turns
from kit.wires import BLOCK, CLIENT_TLS, OURS, SERVER_TLS, eventually, net

import poolio

every_loop = on("asyncio", *OURS)
GARBAGE = bytes(range(0x80, 0x100))              # no type of a record is 0x80
# a record of handshake data that says it is 512 bytes long, and is not what it says
WRONG_RECORD = b"\x16\x03\x01\x02\x00" + b"\x01" * 512
TRUNCATED_RECORD = b"\x17\x03\x03\x40\x00" + b"\x00" * 100


class Served(KINDS["pooled"]):
    made: list

    def __init__(self):
        super().__init__()
        self.made.append(self)

    def data_received(self, data):
        self.received += data
        self.transport.write(bytes(data))


@contextlib.asynccontextmanager
async def tls_server(patience=None):
    """(address, protocols made): it serves an honest client at the end, whatever happened before.

    patience  seconds for a handshake; then there is no honest client, who may need longer on a slow machine
    """
    cls = type("Served", (Served,), {"made": []})
    server = await net().create_server(cls, "127.0.0.1", 0, ssl=SERVER_TLS, ssl_handshake_timeout=patience)
    address = server.sockets[0].getsockname()
    try:
        yield address, cls.made
        if patience is None:
            client = KINDS["bytes"]()
            transport, _ = await net().create_connection(
                lambda: client, *address, ssl=CLIENT_TLS, server_hostname="localhost")
            transport.write(b"honest")
            await eventually(lambda: client.received == b"honest")
            transport.close()
            await client.ended
    finally:
        server.close()
    for protocol in cls.made:
        if protocol.calls:
            await protocol.ended
            assert [protocol.calls.count(name) for name in ("made", "lost")] == [1, 1]


class Client:
    """A TLS client on a plain socket, of which each byte on the wire can be held back or replaced."""

    def __init__(self, address):
        self.sock = socket.create_connection(address)
        self.sock.settimeout(20)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = CLIENT_TLS.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def records(self):
        """What it would send now."""
        return self.outgoing.read()

    def hello(self):
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.records()

    async def handshake(self):
        loop = asyncio.get_running_loop()
        self.sock.sendall(self.hello())
        while True:
            self.incoming.write(await loop.run_in_executor(None, self.sock.recv, 1 << 16))
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
                break
        self.sock.sendall(self.records())

    def encrypt(self, data):
        self.tls.write(data)
        return self.records()


async def ends(sock):
    """The other side has closed, or reset, by the time this returns."""
    await asyncio.get_running_loop().run_in_executor(None, read_to_the_end, sock)


def is_tls_error(exc):
    return exc is None or isinstance(exc, OSError)           # ssl.SSLError is one


@pytest.mark.parametrize("first, then", (
    ("garbage", "stall"), ("garbage", "reset"), ("wrong record", "half_close"), ("HTTP", "half_close"),
    ("half a hello", "half_close"), ("half a hello", "reset"), ("half a hello", "stall"), ("nothing", "half_close"),
    ("nothing", "reset"), ("nothing", "stall")))
@every_loop
async def test_tls_no_handshake_the_application_never_hears_of_it(loop_name, first, then):
    watch = Watch()
    async with tls_server(0.05 if then == "stall" else None) as (address, made):
        client = Client(address)
        sent = {
            "garbage": GARBAGE, "wrong record": WRONG_RECORD, "HTTP": b"GET / HTTP/1.1\r\n\r\n",
            "half a hello": client.hello()[:100], "nothing": b"",
        }[first]
        client.sock.sendall(sent)
        if then == "half_close":
            half_close(client.sock)
            await ends(client.sock)
        elif then == "reset":
            reset(client.sock)
            await eventually(lambda: made)
        else:
            await ends(client.sock)
        client.sock.close()
        await turns(5)
        assert made[0].calls == []
    assert all(issubclass(kind, OSError) for kind in watch.errors())


@pytest.mark.parametrize("fault", ("garbage", "half_close", "reset", "stall"))
@every_loop
async def test_tls_fault_in_mid_handshake(loop_name, fault):
    """The server has answered the hello, the client's Finished never comes."""
    watch = Watch()
    async with tls_server(0.2 if fault == "stall" else None) as (address, made):
        client = Client(address)
        client.sock.sendall(client.hello())
        assert await first_answer(client.sock)
        if fault == "garbage":
            client.sock.sendall(GARBAGE)
        elif fault == "half_close":
            half_close(client.sock)
        elif fault == "reset":
            reset(client.sock)
        if fault != "reset":
            await ends(client.sock)
        client.sock.close()
        await turns(5)
        assert made[0].calls == []
    assert all(issubclass(kind, OSError) for kind in watch.errors())


async def first_answer(sock):
    return await asyncio.get_running_loop().run_in_executor(None, sock.recv, 1 << 16)


@pytest.mark.parametrize("fault", ("garbage", "changed record", "truncated record", "no close_notify", "reset"))
@every_loop
async def test_tls_fault_after_the_handshake(loop_name, fault):
    """What came before it has arrived; nothing of what is wrong does."""
    watch = Watch()
    async with tls_server() as (address, made):
        client = Client(address)
        await client.handshake()
        client.sock.sendall(client.encrypt(b"before"))
        await eventually(lambda: made and made[0].received == b"before")
        record = client.encrypt(b"never" * 100)
        wrong = {
            "garbage": GARBAGE, "changed record": record[:-1] + bytes([record[-1] ^ 1]),
            "truncated record": TRUNCATED_RECORD, "no close_notify": b"", "reset": b"",
        }[fault]
        client.sock.sendall(wrong)
        if fault == "reset":
            reset(client.sock)
        else:
            if fault in ("truncated record", "no close_notify"):
                half_close(client.sock)
            await ends(client.sock)
        client.sock.close()
        exc = await made[0].ended
        assert is_tls_error(exc)
        if fault in ("garbage", "changed record"):
            assert isinstance(exc, ssl.SSLError)
        if fault == "reset":
            assert isinstance(exc, ConnectionResetError)
        assert made[0].received == b"before"
    assert all(issubclass(kind, OSError) for kind in watch.errors())


@pytest.mark.parametrize("fault", ("garbage", "reset", "half_close"))
@every_loop
async def test_tls_client_server_answers_with_a_fault_connecting_raises(loop_name, fault):
    watch = Watch()
    loop = asyncio.get_running_loop()
    made = []

    def factory():
        made.append(KINDS["pooled"]())
        return made[-1]

    with socket.create_server(("127.0.0.1", 0)) as listener:
        connecting = asyncio.ensure_future(net().create_connection(
            factory, *listener.getsockname(), ssl=CLIENT_TLS, server_hostname="localhost"))
        peer, _ = await loop.run_in_executor(None, listener.accept)
        assert await loop.run_in_executor(None, peer.recv, 1)
        if fault == "garbage":
            peer.sendall(GARBAGE)
        elif fault == "reset":
            reset(peer)
        else:
            half_close(peer)
        with pytest.raises(OSError):
            await connecting
        peer.close()
    assert made[0].calls == []
    assert all(issubclass(kind, OSError) for kind in watch.errors())


@pytest.mark.parametrize("fault", ("garbage", "reset", "half_close", "abort"))
@on(*OURS)
async def test_start_tls_fault_instead_of_the_handshake_raises(loop_name, fault):
    """The transport is closed, start_tls() raises; our own abort is no error."""
    watch = Watch()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        protocol = KINDS["pooled"]()
        transport, _ = await net().create_connection(lambda: protocol, *listener.getsockname())
        peer, _ = listener.accept()
    starting = asyncio.ensure_future(
        net().start_tls(transport, protocol, CLIENT_TLS, server_hostname="localhost"))
    await turns()
    assert not starting.done()
    if fault == "garbage":
        peer.sendall(GARBAGE)
    elif fault == "reset":
        reset(peer)
    elif fault == "half_close":
        half_close(peer)
    else:
        transport.abort()
    if fault == "abort":
        assert await starting is None                   # as of asyncio's own transports
    else:
        with pytest.raises(OSError):
            await starting
    if fault != "reset":
        await ends(peer)
    peer.close()
    assert transport.is_closing()
    assert protocol.received == b""
    assert all(issubclass(kind, OSError) for kind in watch.errors())


@pytest.mark.parametrize("fault", ("garbage", "truncated record", "reset", "abort"))
@on(*OURS)
async def test_tls_stream_fault_while_a_task_reads(loop_name, fault):
    """The reader raises or is at its end, with what was complete before."""
    watch = Watch()
    results = asyncio.get_running_loop().create_future()

    async def serve(reader, writer):
        first = await reader.readexactly(6)
        try:
            if fault == "abort":
                asyncio.get_running_loop().call_soon(writer.transport.abort)
            results.set_result((bytes(first), await reader.readexactly(100)))
        except (OSError, asyncio.IncompleteReadError) as exc:
            results.set_result((bytes(first), exc))
        finally:
            writer.close()

    server = await poolio.start_server(serve, "127.0.0.1", 0, ssl=SERVER_TLS)
    client = Client(server.sockets[0].getsockname())
    await client.handshake()
    client.sock.sendall(client.encrypt(b"before"))
    await turns(5)
    if fault == "reset":
        reset(client.sock)
    elif fault != "abort":
        client.sock.sendall(GARBAGE if fault == "garbage" else TRUNCATED_RECORD)
        half_close(client.sock)
    first, second = await results
    assert first == b"before"
    if fault == "garbage":
        assert isinstance(second, ssl.SSLError)
    elif fault == "reset":
        assert isinstance(second, ConnectionResetError)
    else:
        assert isinstance(second, asyncio.IncompleteReadError) and second.partial == b""
    client.sock.close()
    server.close()
    await server.wait_closed()
    assert all(issubclass(kind, OSError) for kind in watch.errors())


@every_loop
async def test_tls_peer_sends_one_byte_at_a_time(loop_name):
    watch = Watch()
    async with tls_server() as (address, made):
        client = Client(address)
        for byte in client.hello():
            client.sock.send(bytes([byte]))
            await asyncio.sleep(0)
        client.incoming.write(await first_answer(client.sock))
        client.tls.do_handshake()
        for byte in client.records() + client.encrypt(BLOCK[:50]):
            client.sock.send(bytes([byte]))
            await asyncio.sleep(0)
        await eventually(lambda: made and made[0].received == BLOCK[:50])
        client.sock.close()
    assert watch.errors() == []
