"""Listener: bursts, the turns in which a connection begins, what ends meanwhile, a system short of descriptors."""

import asyncio
import contextlib
import gc
import os
import resource
import socket
import subprocess
import sys
import textwrap

import pytest
from kit.faults import reset
from kit.pairs import Recorder, listed_in, on, own_transports, variable
from kit.wires import LOOPS, OURS, eventually, net, run

import poolio
from poolio.wire.reactor import reactor_of


@own_transports
def test_burst_of_connections_is_accepted_whole(loop_name):
    """More than one pass accepts at once."""
    async def main():
        made = []
        server = await net().create_server(listed_in(made), "127.0.0.1", 0, backlog=500)
        address = server.sockets[0].getsockname()
        clients = [socket.create_connection(address) for _ in range(300)]
        await eventually(lambda: len(made) == 300 and all(protocol.calls for protocol in made))
        for number, client in enumerate(clients):
            client.sendall(b"%d" % number)
        await eventually(lambda: all(protocol.received for protocol in made))
        assert sorted(int(protocol.received) for protocol in made) == list(range(300))
        for client in clients:
            client.close()
        await asyncio.gather(*(protocol.ended for protocol in made))
        server.close()
        await server.wait_closed()
    run(loop_name, main)


@own_transports
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
@pytest.mark.parametrize("count", [1, 2, 50])
def test_connections_that_wait_are_accepted_in_one_turn(loop_name, family, count, tmp_path):
    async def main():
        loop = asyncio.get_running_loop()
        turn, turns, made = 0, [], []
        make = listed_in(made)

        def note_turn():
            turns.append(turn)
            return make()

        def count_turns():
            nonlocal turn
            turn += 1
            if len(turns) < count:
                loop.call_soon(count_turns)

        if family == socket.AF_INET:
            server = await net().create_server(note_turn, "127.0.0.1", 0, backlog=200)
        else:
            server = await net().create_unix_server(note_turn, str(tmp_path / "socket"), backlog=200)
        clients = [socket.socket(family) for _ in range(count)]
        for client in clients:
            client.connect(server.sockets[0].getsockname())
        count_turns()
        await eventually(lambda: len(turns) == count)
        assert len(set(turns)) == 1
        for client in clients:
            client.close()
        await asyncio.gather(*(protocol.ended for protocol in made))
        server.close()
        await server.wait_closed()
    run(loop_name, main)


@own_transports
def test_peer_that_has_gone_before_it_is_accepted_is_no_harm(loop_name):
    async def main():
        made = []
        server = await net().create_server(listed_in(made), "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        for _ in range(10):
            client = socket.create_connection(address)
            reset(client)
        await eventually(lambda: len(made) == 10)
        for protocol in made:
            assert isinstance(await protocol.ended, ConnectionResetError)
        server.close()
        await server.wait_closed()
    run(loop_name, main)


@own_transports
def test_failing_factory_closes_that_connection_and_is_reported(loop_name):
    async def main():
        handled = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: handled.append(context["exception"]))

        def fail():
            raise ZeroDivisionError("factory")

        server = await net().create_server(fail, "127.0.0.1", 0)
        with socket.create_connection(server.sockets[0].getsockname()) as client:
            client.settimeout(20)
            assert await asyncio.get_running_loop().run_in_executor(None, client.recv, 1) == b""
        assert [str(exc) for exc in handled] == ["factory"]
        server.close()
        await server.wait_closed()
    run(loop_name, main)


@own_transports
def test_connection_that_epoll_refuses_is_lost(loop_name):
    async def main():
        class Refused(Recorder):
            def __init__(self):
                super().__init__()
                made.append(self)
                reactor = reactor_of(asyncio.get_running_loop())
                with open(__file__) as file:            # nobody can wait for a regular file
                    accepted, = filter(reactor.endpoint_at, range(file.fileno() + 1))
                    os.dup2(file.fileno(), accepted)

        made = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        server = await net().create_server(Refused, "127.0.0.1", 0)
        with socket.create_connection(server.sockets[0].getsockname()):
            await eventually(lambda: made)
            assert isinstance(await made[0].ended, PermissionError)
        server.close()
        await server.wait_closed()
    run(loop_name, main, timeout=20)


@own_transports
def test_connections_have_a_context_each_copied_from_the_servers(loop_name):
    async def main():
        seen = []

        class Setting(Recorder):
            def __init__(self):
                super().__init__()
                seen.append(variable.get())
                variable.set(f"connection {len(seen)}")

            def data_received(self, data):
                seen.append(variable.get())

        variable.set("server")
        server = await net().create_server(Setting, "127.0.0.1", 0)
        variable.set("changed later")
        address = server.sockets[0].getsockname()
        with socket.create_connection(address) as first, socket.create_connection(address) as second:
            await eventually(lambda: len(seen) == 2)
            first.sendall(b"x")
            await eventually(lambda: len(seen) == 3)
            second.sendall(b"x")
            await eventually(lambda: len(seen) == 4)
        assert seen == ["server", "server", "connection 1", "connection 2"]
        server.close()
        await server.wait_closed()
    run(loop_name, main)


# --- accepted, and no protocol yet ------------------------------------------------------------------------------

def when_accepted(server, act):
    """Connect a client, and call act() when the server has accepted it; its protocol is made later."""
    def attach(*arguments):
        attached(*arguments)
        act()

    attached, server._attach = server._attach, attach
    return socket.create_connection(server.sockets[0].getsockname())


@on("asyncio", *OURS)
async def test_factory_and_connection_made_are_called_in_turns_of_their_own(loop_name):
    class Noting(Recorder):
        def __init__(self):
            super().__init__()
            loop.call_soon(notes.append, "after factory")
            notes.append("factory")
            made.append(self)

        def connection_made(self, transport):
            super().connection_made(transport)
            notes.append("made")

    notes, made, loop = [], [], asyncio.get_running_loop()
    server = await net().create_server(Noting, "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()):
        await eventually(lambda: made and made[0].calls)
    assert notes == ["factory", "after factory", "made"]
    await made[0].ended
    server.close()
    await server.wait_closed()


@own_transports
def test_server_closed_as_soon_as_it_has_accepted_the_connection_is_served(loop_name):
    async def main():
        made, loop = [], asyncio.get_running_loop()
        server = await net().create_server(listed_in(made), "127.0.0.1", 0)
        with when_accepted(server, lambda: loop.call_soon(server.close)) as client:
            client.sendall(b"data")
            await eventually(lambda: made and made[0].received == b"data")
            assert not server.is_serving()
        assert await made[0].ended is None
        await server.wait_closed()
    run(loop_name, main, timeout=20)


@pytest.mark.parametrize("ending", ("close_clients", "abort_clients"))
@on(*OURS)
async def test_clients_closed_as_soon_as_they_are_accepted_get_no_protocol(loop_name, ending):
    made, loop = [], asyncio.get_running_loop()
    server = await poolio.create_server(listed_in(made), "127.0.0.1", 0)
    with when_accepted(server, lambda: loop.call_soon(getattr(server, ending))) as client:
        client.settimeout(20)
        assert await loop.run_in_executor(None, client.recv, 1) == b""
        assert made == []
    server.close()
    await server.wait_closed()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("loop_name", OURS)
def test_loop_stopped_and_closed_as_soon_as_it_has_accepted_the_connection_ends(loop_name):
    async def main():
        server = await poolio.create_server(Recorder, "127.0.0.1", 0)
        clients.append(when_accepted(server, asyncio.get_running_loop().stop))

    clients, loop = [], LOOPS[loop_name]()
    loop.create_task(main())
    loop.run_forever()
    loop.close()
    del loop
    gc.collect()
    with clients[0] as client:
        client.settimeout(20)
        assert client.recv(1) == b""


OUT_OF_DESCRIPTORS = """
    import asyncio, os, resource, socket, sys
    import poolio

    async def main(net):
        loop = asyncio.get_running_loop()
        handled, made = [], []
        loop.set_exception_handler(lambda loop, context: handled.append(context))
        class Echo(poolio.Protocol):
            def connection_made(self, transport):
                super().connection_made(transport)
                made.append(self)
            def data_received(self, buf):
                self.write(buf)
        server = await net.create_server(Echo, "127.0.0.1", 0, backlog=50)
        address = server.sockets[0].getsockname()
        clients = [socket.create_connection(address) for _ in range(5)]
        for client in clients:
            client.settimeout(20)
        used = len(os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        while not handled:
            await asyncio.sleep(0.01)
        assert len(made) < 5
        assert handled[0]["message"] == "socket.accept() out of system resource", handled
        assert isinstance(handled[0]["socket"], asyncio.trsock.TransportSocket)
        await asyncio.sleep(0.1)
        assert len(handled) == 1, "it does not try again and again"
        clients[0].sendall(b"one that stands is served")
        clients[0].setblocking(False)
        assert await loop.sock_recv(clients[0], 25) == b"one that stands is served"
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        while len(made) < 5:
            await asyncio.sleep(0.05)
        for client in clients:
            client.close()
        server.close()
        await server.wait_closed()
        print("all were accepted")

    own = sys.argv[1] == "poolio"
    with asyncio.Runner(loop_factory=poolio.new_event_loop if own else asyncio.new_event_loop) as runner:
        runner.run(main(runner.get_loop() if own else poolio))
"""


@pytest.mark.parametrize("kind", ("poolio", "poolio-on-asyncio"))
def test_out_of_descriptors_pauses_the_accepting_only(kind):
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft > 50
    done = subprocess.run([sys.executable, "-W", "error", "-c", textwrap.dedent(OUT_OF_DESCRIPTORS), kind],
                          capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "all were accepted\n", ""), os.linesep + done.stderr


@pytest.mark.skipif("poolio" not in OURS, reason="poolio's own loop needs epoll")
def test_out_of_descriptors_and_no_memory_for_the_timer_it_accepts_again():
    class Short(poolio.EventLoop):
        def call_later(self, delay, callback, *arguments, context=None):
            if callback.__name__ == "_go_on" and not failed:
                failed.append(callback)
                raise MemoryError
            return super().call_later(delay, callback, *arguments, context=context)

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: None)
        server = await loop.create_server(Served, "127.0.0.1", 0)
        client = socket.socket()
        client.setblocking(False)
        last = os.open(os.devnull, os.O_RDONLY)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (last + 1, limits[1]))
        try:
            with contextlib.suppress(BlockingIOError):
                client.connect(server.sockets[0].getsockname())
            await eventually(lambda: failed)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            os.close(last)
        client.setblocking(True)
        client.settimeout(20)
        protocol = await served
        client.close()
        await protocol.ended
        server.close()
        await server.wait_closed()

    class Served(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            served.set_result(self)

    failed = []
    with asyncio.Runner(loop_factory=Short) as runner:
        served = runner.get_loop().create_future()
        runner.run(asyncio.wait_for(main(), 30))
