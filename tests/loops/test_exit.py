"""Programs that end with much open: on poolio they print nothing that the same program does not print on asyncio.

Each program opens connections, servers, streams and datagram endpoints in every state, and ends in one of several ways.
When the interpreter ends, the names of a module are None before the last objects go. What is printed is compared by its
kind: `ResourceWarning: unclosed transport` is one, whatever the transport.
"""

import functools
import itertools
import re
import subprocess
import sys
import textwrap

import pytest
from kit.wires import OURS, pairwise

OPENING = """
    import asyncio, builtins, socket, ssl, sys, threading
    import poolio, trustme, uvloop

    name = sys.argv[1]
    makers = {"poolio": poolio.new_event_loop, "poolio-on-uvloop": uvloop.new_event_loop}
    new_loop = makers.get(name, asyncio.new_event_loop)
    streams = asyncio if name == "asyncio" else poolio
    kept = []
    authority = trustme.CA()
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server_tls)
    client_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client_tls)

    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
        def data_received(self, data):
            self.transport.write(data)

    class Deaf(Echo):
        def connection_made(self, transport):
            transport.pause_reading()

    class Datagrams(asyncio.DatagramProtocol):
        pass

    class Framed(Echo):
        pass

    if name != "asyncio":
        class Framed(poolio.FramedProtocol):
            codec = poolio.LengthPrefixed(4)

    def net():
        return poolio if name.startswith("poolio-on") else asyncio.get_running_loop()

    async def connected(factory, **options):
        tls = {"ssl": client_tls, "server_hostname": "localhost"} if options else {}
        server = await net().create_server(factory, "127.0.0.1", 0, **options)
        transport, protocol = await net().create_connection(factory, *server.sockets[0].getsockname(), **tls)
        kept.append((server, transport, protocol))
        return transport, protocol

    async def serve(reader, writer):
        kept.append((reader, writer))
        await reader.read(100)

    async def open_streams(**options):
        tls = {"ssl": client_tls, "server_hostname": "localhost"} if options else {}
        server = await streams.start_server(serve, "127.0.0.1", 0, **options)
        reader, writer = await streams.open_connection(*server.sockets[0].getsockname(), **tls)
        kept.append((server, reader, writer, asyncio.ensure_future(reader.readexactly(10))))

    async def connections():
        # for which no task waits
        transport, protocol = await connected(Echo)
        transport.write(b"x")
        transport, protocol = await connected(Echo)
        protocol.myself = protocol
        kept.pop()
        transport, protocol = await connected(Deaf)
        transport.write(bytes(1 << 23))
        transport, protocol = await connected(Echo)
        transport.write(b"x")
        transport.close()
        transport, protocol = await connected(Framed)
        transport.write(b"\\0\\0\\0\\5ab")
        transport, protocol = await connected(Echo, ssl=server_tls)
        transport.write(b"x")
        transport, _ = await net().create_datagram_endpoint(Datagrams, local_addr=("127.0.0.1", 0))
        sender, _ = await net().create_datagram_endpoint(
            Datagrams, remote_addr=transport.get_extra_info("sockname"))
        sender.sendto(b"x")
        kept.append((transport, sender))
        for sock in socket.socketpair():
            kept.append(await net().create_unix_connection(Echo, sock=sock))
        for _ in range(10):
            await asyncio.sleep(0)

    async def tasks():
        # that wait for data, and for connections that have not begun
        await open_streams()
        await open_streams(ssl=server_tls)
        silent = socket.create_server(("127.0.0.1", 0))
        kept.append((silent, asyncio.ensure_future(net().create_connection(
            Echo, *silent.getsockname(), ssl=client_tls, server_hostname="localhost"))))
        silent.setblocking(False)
        kept.append(await asyncio.get_running_loop().sock_accept(silent))
        server = await net().create_server(Echo, "127.0.0.1", 0)
        kept.append((server, socket.create_connection(server.sockets[0].getsockname())))
        await asyncio.sleep(0)

    open_all = globals()[sys.argv[2]]
"""

WHAT = ("connections", "tasks")
ENDINGS = {
    "the run ends": """
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(open_all())
    """,
    "the run raises": """
        async def main():
            await open_all()
            raise ZeroDivisionError
        with asyncio.Runner(loop_factory=new_loop) as runner:
            try:
                runner.run(main())
            except ZeroDivisionError:
                pass
    """,
    "a callback exits": """
        async def main():
            await open_all()
            asyncio.get_running_loop().call_soon(sys.exit)
            await asyncio.sleep(60)
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
    """,
    "the loop is open": """
        loop = new_loop()
        loop.run_until_complete(open_all())
    """,
    "the loop is open, and kept till the last": """
        builtins.kept = sys.kept = kept
        builtins.loop = loop = new_loop()
        loop.run_until_complete(open_all())
    """,
    "the loop is closed": """
        loop = new_loop()
        loop.run_until_complete(open_all())
        loop.close()
    """,
    "the loop is closed, its connections kept till the last": """
        builtins.kept = sys.kept = kept
        loop = new_loop()
        loop.run_until_complete(open_all())
        loop.close()
    """,
    "the loop runs in a daemon thread": """
        async def main():
            await open_all()
            ready.set()
        loop, ready = new_loop(), threading.Event()
        kept.append(loop.create_task(main()))
        threading.Thread(target=loop.run_forever, daemon=True).start()
        ready.wait()
    """,
}


FLAGS = ((), ("-X", "dev"))
# of all combinations those in which every pair of two is; and every ending of connections
ROWS = sorted({*pairwise(OURS, WHAT, tuple(ENDINGS), FLAGS), *itertools.product(OURS, WHAT[:1], ENDINGS, FLAGS[:1])})


@functools.cache
def outcome(loop_name, what, ending, flags):
    """(status, output, the kinds of lines that it prints to stderr, and these lines)."""
    program = textwrap.dedent(OPENING) + textwrap.dedent(ENDINGS[ending])
    done = subprocess.run(
        [sys.executable, *flags, "-c", program, loop_name, what], capture_output=True, text=True, timeout=120)
    kinds = {kind(line) for line in done.stderr.splitlines() if is_told(line)}
    return done.returncode, done.stdout, kinds, done.stderr


def is_told(line):
    """Not what belongs to another line, and what debug mode says of slow callbacks."""
    return line.strip() and not line.startswith(
        (" ", "task: ", "source_traceback: ", "ResourceWarning: Enable tracemalloc", "Executing "))


def kind(line):
    """A line without what is different each time, and without what it is about."""
    line = re.sub(r"^\S*:\d+: ", "", line)              # where it was
    return re.split(r"[<(]|'", line)[0].strip()


@pytest.mark.parametrize("loop_name, what, ending, flags", ROWS)
def test_program_that_ends_prints_what_it_prints_on_asyncio(loop_name, what, ending, flags):
    status, output, kinds, errors = outcome(loop_name, what, ending, flags)
    model = outcome("asyncio", what, ending, flags)
    assert (status, output) == model[:2], errors
    assert kinds <= model[2], errors
