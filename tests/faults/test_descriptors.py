"""No descriptor left, wherever one is needed: accepting, connecting, opening a datagram endpoint, a loop itself.

RLIMIT_NOFILE is lowered in a process of its own. test_listener.py has the plain case, for one listener; here: no busy
loop (calls are counted, not time), several listeners, streams, and what else needs a descriptor.
"""

import subprocess
import sys
import textwrap

import pytest

PRELUDE = """
    import asyncio, gc, os, resource, socket, sys
    import poolio
    from asyncio import constants
    constants.ACCEPT_RETRY_DELAY = 0.05         # instead of a second

    own = sys.argv[1] == "poolio"
    HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

    def used():
        return len(os.listdir("/proc/self/fd")) - 1         # without the one that lists

    def leave(count):
        highest = max(map(int, os.listdir("/proc/self/fd")))
        held.extend(os.dup(0) for _ in range(highest + 1 - used()))      # no gap below the limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + count, HARD))

    def give_back():
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, HARD))

    held = []
    handled = []

    class Echo(poolio.Protocol):
        def data_received(self, buf):
            self.write(buf)

    async def answer(client, data):
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, data)
        return await asyncio.wait_for(loop.sock_recv(client, 100), 20)

    def start(main):
        with asyncio.Runner(loop_factory=poolio.new_event_loop if own else asyncio.new_event_loop) as runner:
            loop = runner.get_loop()
            loop.set_exception_handler(lambda loop, context: handled.append(context))
            runner.run(main(loop, loop if own else poolio))
        print("done")
"""

ACCEPTING = """
    async def main(loop, net):
        servers = [await net.create_server(Echo, "127.0.0.1", 0) for _ in range(2)]
        addresses = [server.sockets[0].getsockname() for server in servers]
        standing = socket.create_connection(addresses[0])
        assert await answer(standing, b"stands") == b"stands"
        clients = [socket.create_connection(address) for address in addresses for _ in range(2)]
        leave(0)
        while len(handled) < 2:
            await asyncio.sleep(0.01)
        assert {context["message"] for context in handled} == {"socket.accept() out of system resource"}
        first = len(handled)
        retries = 0
        while retries < 4:                      # each listener tries once in a delay, and no more
            await asyncio.sleep(constants.ACCEPT_RETRY_DELAY)
            retries += 1
        assert 2 <= len(handled) <= first + 2 * (retries + 1), len(handled)
        assert await answer(standing, b"still") == b"still"
        give_back()
        for number, client in enumerate(clients):
            assert await answer(client, b"%d" % number) == b"%d" % number
            client.close()
        standing.close()
        for server in servers:
            server.close()
            await server.wait_closed()

    start(main)
"""

CLOSING_MEANWHILE = """
    async def main(loop, net):
        # a server that is closed while it waits for descriptors does not come back
        server = await net.create_server(Echo, "127.0.0.1", 0)
        client = socket.create_connection(server.sockets[0].getsockname())
        leave(0)
        while not handled:
            await asyncio.sleep(0.01)
        server.close()
        give_back()
        await server.wait_closed()
        await asyncio.sleep(2 * constants.ACCEPT_RETRY_DELAY)
        assert len(handled) == 1
        client.setblocking(False)
        try:
            assert await loop.sock_recv(client, 1) == b""
        except ConnectionResetError:
            pass
        client.close()

    start(main)
"""

STREAMS = """
    async def serve(reader, writer):
        writer.write(await reader.readline())
        writer.close()

    async def main(loop, net):
        server = await poolio.start_server(serve, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        clients = [socket.create_connection(address) for _ in range(3)]
        leave(1)                                # one of them is served; when it is done, the next one
        while not handled:
            await asyncio.sleep(0.01)
        for client in clients:
            assert await answer(client, b"line\\n") == b"line\\n"
            # the client keeps its end: what the server's side had is free again, which is enough for the next one
        give_back()
        for client in clients:
            client.close()
        server.close()
        await server.wait_closed()
        assert {context["message"] for context in handled} == {"socket.accept() out of system resource"}

    start(main)
"""

OPENING = """
    async def main(loop, net):
        gone = asyncio.Event()

        class Ending(Echo):
            def connection_lost(self, exc):
                super().connection_lost(exc)
                gone.set()

        server = await net.create_server(Ending, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        quiet = used()
        warm = await net.create_connection(asyncio.Protocol, *address)
        warm[0].close()
        await gone.wait()
        while used() > quiet:
            await asyncio.sleep(0)
        for attempt in range(3):
            before = used()
            leave(0)
            for opening in (
                lambda: net.create_connection(asyncio.Protocol, *address),
                lambda: poolio.open_connection(*address),
                lambda: poolio.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)),
            ):
                try:
                    await opening()
                except OSError as exc:
                    assert exc.errno == 24, exc
                else:
                    raise AssertionError("there was a descriptor")
            try:
                poolio.new_event_loop()
            except OSError as exc:
                assert exc.errno == 24, exc
            else:
                raise AssertionError("there was a descriptor")
            give_back()
            while held:
                os.close(held.pop())
            gc.collect()
            assert used() <= before, (used(), before)
        transport, _ = await net.create_connection(asyncio.Protocol, *address)
        transport.abort()
        server.close()
        await server.wait_closed()
        assert handled == []

    start(main)
"""

SCRIPTS = {
    "accepting": ACCEPTING, "closing meanwhile": CLOSING_MEANWHILE, "streams": STREAMS, "opening": OPENING,
}


@pytest.mark.parametrize("kind", ("poolio", "poolio-on-asyncio"))
@pytest.mark.parametrize("script", SCRIPTS)
def test_out_of_descriptors(script, kind):
    source = textwrap.dedent(PRELUDE) + textwrap.dedent(SCRIPTS[script])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", source, kind], capture_output=True, text=True, timeout=120,
        stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", ""), done.stderr
