"""Owns the network stacks that docs/comparison.md compares, behind one face, and what is tried on each: its rows.

A row is an async function of a Stack. It returns if the stack has what the row says, and raises or returns False if it
has not. What is not installed is left out. Called by the test of that page.
"""

import asyncio
import contextlib
import importlib
import pathlib
import socket
import ssl
import tempfile

import trustme

import poolio

SECONDS = 10                # what has not come until then does not come
TCP_INFO_DATA_SEGS_IN = 152     # where tcpi_data_segs_in lies in struct tcp_info: 4 bytes
BLOCK = bytes(range(256)) * 400


class Stack:
    """What makes connections and servers: functions of a module, or methods of the running loop."""

    def __init__(self, new_loop, module=None):
        self.new_loop, self.module = new_loop, module

    def __getattr__(self, name):
        return getattr(self.module or asyncio.get_running_loop(), name)


class OnLoop:
    """The functions of a module that takes the loop as its first argument."""

    def __init__(self, module):
        self.module = module

    def __getattr__(self, name):
        function = getattr(self.module, name)

        def with_loop(*args, **options):
            return function(asyncio.get_running_loop(), *args, **options)

        return with_loop


def stacks():
    found = {"poolio": Stack(poolio.new_event_loop, poolio), "asyncio": Stack(asyncio.SelectorEventLoop)}
    for name in ("uvloop", "rloop", "aiofastnet"):
        with contextlib.suppress(ImportError):
            library = importlib.import_module(name)
            found[name] = (Stack(asyncio.SelectorEventLoop, OnLoop(library)) if name == "aiofastnet"
                           else Stack(library.new_event_loop))
    return found


class Keeper(asyncio.Protocol):
    """Keeps what comes, answers all of it, and says when it is made and lost."""

    def __init__(self):
        self.made, self.got = asyncio.Event(), asyncio.Queue()

    def connection_made(self, transport):
        self.transport = transport
        self.made.set()

    def data_received(self, data):
        self.got.put_nowait(bytes(data))


class Echo(Keeper):
    def data_received(self, data):
        self.transport.write(data)


async def say(transport, client, data=b"hello"):
    transport.write(data)
    got = b""
    while len(got) < len(data):
        got += await client.got.get()
    assert got == data
    transport.close()


@contextlib.asynccontextmanager
async def closing(server):
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()


# --- the rows -----------------------------------------------------------------------------------------------


async def tcp(stack):
    async with closing(await stack.create_server(Echo, "127.0.0.1", 0)) as address:
        await say(*await stack.create_connection(Keeper, *address))


async def unix_sockets(stack):
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder) / "echo")
        async with closing(await stack.create_unix_server(Echo, path)):
            await say(*await stack.create_unix_connection(Keeper, path))


async def own_room(stack):
    class Room(asyncio.BufferedProtocol):
        def __init__(self):
            self.room, self.got = bytearray(100), asyncio.Queue()

        def get_buffer(self, hint):
            return self.room

        def buffer_updated(self, size):
            self.got.put_nowait(bytes(self.room[:size]))

    async with closing(await stack.create_server(Echo, "127.0.0.1", 0)) as address:
        await say(*await stack.create_connection(Room, *address))


def contexts():
    ca = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.issue_cert("localhost").configure_cert(server)
    ca.configure_trust(client)
    return server, client


async def tls(stack):
    server, client = contexts()
    async with closing(await stack.create_server(Echo, "127.0.0.1", 0, ssl=server)) as address:
        await say(*await stack.create_connection(Keeper, *address, ssl=client, server_hostname="localhost"))


async def upgrade_to_tls(stack):
    server, client = contexts()
    made = asyncio.get_running_loop().create_future()

    class Upgraded(Echo):
        def connection_made(self, transport):
            super().connection_made(transport)
            if not made.done():
                made.set_result(self)

    async with closing(await stack.create_server(Upgraded, "127.0.0.1", 0)) as address:
        transport, protocol = await stack.create_connection(Keeper, *address)
        other = await made
        upgraded, secure = await asyncio.gather(
            stack.start_tls(other.transport, other, server, server_side=True),
            stack.start_tls(transport, protocol, client, server_hostname="localhost"))
        other.transport = upgraded
        await say(secure, protocol)


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self):
        self.got = asyncio.Queue()

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.got.put_nowait((bytes(data), address))


async def udp(stack):
    here, mine = await stack.create_datagram_endpoint(Datagrams, local_addr=("127.0.0.1", 0))
    there, _ = await stack.create_datagram_endpoint(Datagrams, remote_addr=here.get_extra_info("sockname"))
    there.sendto(b"hello")
    assert (await mine.got.get())[0] == b"hello"
    here.close()
    there.close()


async def batches_of_datagrams(stack):
    _, _ = stack.module.create_datagram_endpoint, stack.module.DatagramProtocol.datagrams_received
    here, _ = await stack.create_datagram_endpoint(stack.module.DatagramProtocol, local_addr=("127.0.0.1", 0))
    here.sendmany([(b"hello", here.get_extra_info("sockname"))] * 3)
    here.close()


async def sendfile(stack):
    with tempfile.TemporaryFile() as file:
        file.write(BLOCK)
        file.flush()
        async with closing(await stack.create_server(Echo, "127.0.0.1", 0)) as address:
            transport, client = await stack.create_connection(Keeper, *address)
            send = getattr(stack.module, "sendfile", asyncio.get_running_loop().sendfile)
            await send(transport, file, 0, fallback=False)
            got = b""
            while len(got) < len(BLOCK):
                got += await client.got.get()
            assert got == BLOCK
            transport.close()


async def subprocesses(stack):
    assert not isinstance(stack.module, OnLoop)
    child = await asyncio.create_subprocess_exec("echo", "hello", stdout=asyncio.subprocess.PIPE)
    assert (await child.communicate())[0] == b"hello\n"


async def writes_of_a_callback_in_one_call(stack):
    class Answers(Keeper):
        def data_received(self, data):
            for part in (b"one", b"two", b"three"):
                self.transport.write(part)

    async with closing(await stack.create_server(Answers, "127.0.0.1", 0)) as address:
        with socket.create_connection(address) as client:
            client.setblocking(False)
            await asyncio.get_running_loop().sock_sendall(client, b"?")
            got = b""
            while len(got) < 11:
                got += await asyncio.get_running_loop().sock_recv(client, 100)
            return int.from_bytes(client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)[
                TCP_INFO_DATA_SEGS_IN:TCP_INFO_DATA_SEGS_IN + 4], "little") == 1


async def on_another_loop(stack):
    """Called on uvloop's loop, where only functions of a module do something of their own."""
    assert stack.module is not None
    async with closing(await stack.create_server(Echo, "127.0.0.1", 0)) as address:
        transport, client = await stack.create_connection(Keeper, *address)
        assert "uvloop" not in type(transport).__module__
        await say(transport, client)


async def slices_of_pooled_memory(stack):
    class Slices(stack.module.Protocol):
        def __init__(self):
            self.got = asyncio.Queue()

        def data_received(self, data):
            self.got.put_nowait(data)

    async with closing(await stack.create_server(Echo, "127.0.0.1", 0)) as address:
        transport, client = await stack.create_connection(Slices, *address)
        transport.write(b"hello")
        got = await client.got.get()
        transport.close()
        return got[1:].slab is got.slab


async def frames(stack):
    return stack.module.LengthPrefixed(4).feed(b"\0\0\0\5hello")[0] == b"hello"


async def limits_of_servers(stack):
    async with closing(await stack.create_server(Echo, "127.0.0.1", 0, max_connections=1, idle_timeout=60)):
        pass


async def workers(stack):
    return callable(stack.serve)


async def own_tls(stack):
    server, client = contexts()
    async with closing(await stack.create_server(Echo, "127.0.0.1", 0, ssl=server)) as address:
        transport, protocol = await stack.create_connection(Keeper, *address, ssl=client, server_hostname="localhost")
        is_own = "asyncio" not in type(transport).__module__
        await say(transport, protocol)
        return is_own
