"""Forks: what goes on in the child, and that the parent is not disturbed. Each test is a program of its own.

Since CPython 3.14 no task of the parent's loop goes on in a child that was forked while the loop ran. Its callbacks do,
so the programs fork in callbacks.
"""

import subprocess
import sys
import textwrap

import pytest
from kit.wires import OURS


def run_program(code, *arguments):
    """(exit code, output, errors) of the program, once its children have ended too."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


GOING_ON = """
    import asyncio, os, select, signal, socket, sys
    import poolio, uvloop

    class Echo(poolio.Protocol):
        def data_received(self, buf):
            self.write(buf)

    async def answer(reader, writer):
        writer.write(await reader.readexactly(2))
        await writer.drain()
        writer.close()

    async def serve():
        return [await net.create_server(Echo, "127.0.0.1", 0), await streams.start_server(answer, "127.0.0.1", 0)]

    def once(name, remove=None):
        def call(*_):
            try:
                if remove is not None:
                    remove()
            except BlockingIOError:
                return
            missing.discard(name)
            if not missing:
                print(who, "is well", flush=True)
                os._exit(0)
        return call

    def ask(server, name):
        client = socket.create_connection(server.sockets[0].getsockname())
        client.sendall(b"hi")
        client.setblocking(False)      # false alarms come where both processes share an epoll instance
        loop.add_reader(client, once(name, lambda: client.recv(2)))

    def check(name):
        global who
        who = name
        missing.update(("reader", "writer", "executor", "protocol", "streams"))
        theirs.send(b"x")
        loop.add_writer(theirs, once("writer", lambda: loop.remove_writer(theirs)))
        loop.run_in_executor(None, os.getpid).add_done_callback(once("executor"))
        ask(servers[0], "protocol")
        if tasks_go_on or who == "parent":
            ask(servers[1], "streams")
        else:
            missing.discard("streams")
        if loop_name == "poolio":
            missing.add("signal")
            loop.call_soon(os.kill, os.getpid(), signal.SIGUSR1)
        loop.call_later(20, lambda: (print(who, "misses", missing, flush=True), os._exit(1)))

    def fork():
        loop.add_writer(ours, once("writer", lambda: loop.remove_writer(ours)))
        child = os.fork()
        if child == 0:
            check("child")
        elif parent == "leaves":
            os._exit(0)
        else:
            os.waitpid(child, 0)
            if loop_name == "poolio" and select.select([loop._ssock], [], [], 0)[0]:
                print("the child's threads and signals have woken the parent")
            check("parent")

    loop_name, place, parent, tasks_go_on = sys.argv[1:4] + [len(sys.argv) > 4]
    who, missing = "nobody", {"the check"}
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    loop = (poolio if loop_name == "poolio" else uvloop if "uvloop" in loop_name else asyncio).new_event_loop()
    net = poolio if loop_name.startswith("poolio-") else loop
    streams = poolio if loop_name.startswith("poolio") else asyncio
    servers = loop.run_until_complete(serve())
    loop.add_reader(ours, once("reader", lambda: ours.recv(1)))
    if loop_name == "poolio":
        loop.add_signal_handler(signal.SIGUSR1, once("signal"))
    fork() if place == "between runs" else loop.call_soon(fork)
    missing.discard("the check")
    loop.run_forever()
"""


@pytest.mark.parametrize("loop_name", ("asyncio", *OURS))
@pytest.mark.parametrize("place", ("between runs", "in a callback"))
@pytest.mark.parametrize("parent", ("leaves", "stays"))
def test_loop_that_goes_on_in_the_child_has_its_descriptors_servers_and_threads(loop_name, place, parent):
    tasks_go_on = ["tasks go on"] if place == "between runs" or sys.version_info < (3, 14) else []
    if loop_name == "asyncio" and not tasks_go_on:
        pytest.skip("asyncio's own servers accept in a task")
    exit_code, output, errors = run_program(GOING_ON, loop_name, place, parent, *tasks_go_on)
    assert (exit_code, output, errors) == (0, "child is well\n" + "parent is well\n" * (parent == "stays"), "")


FORKING = """
    import asyncio, gc, os, socket, sys, warnings
    import poolio

    class Echo(poolio.Protocol):
        def connection_made(self, transport):
            super().connection_made(transport)
            made.append(self)
        def data_received(self, buf):
            self.write(buf)

    made = []

    class Client(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
            self.ended = asyncio.get_running_loop().create_future()
        def ask(self, data):
            self.expected, self.answer = data, asyncio.get_running_loop().create_future()
            self.transport.write(data)
        def data_received(self, data):
            assert self.expected.startswith(data)
            self.expected = self.expected[len(data):]
            if not self.expected:
                self.answer.set_result(None)
        def connection_lost(self, exc):
            self.ended.set_result(exc)

    async def exchange(clients, rounds):
        for number in range(rounds):
            for client in clients:
                client.ask(b"%08d" % number)
            for client in clients:
                await client.answer

    def fork(forked, loop, clients, server, ours):
        child = os.fork()
        if child:
            return forked.set_result(child)
        warnings.simplefilter("ignore", ResourceWarning)    # most are dropped unclosed
        for protocol in made[:5]:
            protocol.transport.abort()
        for client in clients[:5]:
            client.transport.close()
        server.close()
        del client, protocol
        clients.clear()
        made.clear()
        gc.collect()
        if own_loop:
            loop.remove_reader(ours)
            raise SystemExit(7)
        os._exit(7)     # asyncio's own loop, closed, would take the parent's wake-up out of their common epoll

    async def main():
        loop = asyncio.get_running_loop()
        net = loop if own_loop else poolio
        server = await net.create_server(Echo, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        clients = [(await net.create_connection(Client, *address))[1] for _ in range(10)]
        await exchange(clients, 10)
        forked, readable = loop.create_future(), loop.create_future()
        ours, theirs = socket.socketpair()
        loop.add_reader(ours, lambda: readable.done() or readable.set_result(None))
        loop.call_soon(fork, forked, loop, clients, server, ours)
        child = await forked
        await exchange(clients, 50)
        while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            await exchange(clients, 1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 7, status
        await exchange(clients, 50)
        theirs.send(b"x")
        await readable
        await loop.run_in_executor(None, os.getpid)
        loop.remove_reader(ours)
        ours.close()
        theirs.close()
        for client in clients:
            client.transport.close()
            assert await client.ended is None
        server.close()
        await server.wait_closed()
        print("parent is well")

    own_loop = sys.argv[1] == "poolio"
    try:
        with asyncio.Runner(loop_factory=poolio.new_event_loop if own_loop else asyncio.new_event_loop) as runner:
            runner.run(main())
    except SystemExit as left:
        os._exit(left.code)     # since CPython 3.14 the child can't end the parent's task, which would be reported
"""


@pytest.mark.parametrize("kind", ("poolio", "poolio-on-asyncio"))
def test_forked_child_collects_and_ends_parents_traffic_goes_on(kind):
    assert run_program(FORKING, kind) == (0, "parent is well\n", "")


FORKING_INSIDE = """
    import asyncio, os, socket, sys
    import poolio

    class Forking(poolio.Protocol):
        def connection_made(self, transport):
            super().connection_made(transport)
            made.append(self)
        def data_received(self, buf):
            self.write(b"mine ")
            made[1 - made.index(self)].write(b"other's ")
            child = os.fork()
            self.write(b"after" if child else b"CHILD")
            forked.set_result(child) if child else loop.call_soon(os._exit, 0)

    made = []

    async def main():
        global loop, forked
        loop = asyncio.get_running_loop()
        forked = loop.create_future()
        net = loop if own_loop else poolio
        server = await net.create_server(Forking, "127.0.0.1", 0)
        peers = [socket.create_connection(server.sockets[0].getsockname()) for _ in range(2)]
        while len(made) < 2:
            await asyncio.sleep(0.01)
        peers[0].sendall(b"x")
        os.waitpid(await forked, 0)
        for protocol in made:
            protocol.transport.close()
        await asyncio.sleep(0.01)
        for peer in peers:
            got = b""
            peer.settimeout(20)
            while data := peer.recv(100):
                got += data
            print(got.replace(b"CHILD", b""))
            peer.close()
        server.close()
        await server.wait_closed()

    own_loop = sys.argv[1] == "poolio"
    with asyncio.Runner(loop_factory=poolio.new_event_loop if own_loop else asyncio.new_event_loop) as runner:
        runner.run(main())
"""


@pytest.mark.parametrize("kind", ("poolio", "poolio-on-asyncio"))
def test_fork_inside_a_callback_sends_what_was_written_once(kind):
    """What the child itself writes afterwards is its own affair (CHILD)."""
    assert run_program(FORKING_INSIDE, kind) == (0, """b'mine after'\nb"other's "\n""", "")
