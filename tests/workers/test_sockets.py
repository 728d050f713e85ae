"""The sockets that serve() binds: several addresses, unix paths, datagrams, shared and used ports."""

import contextlib
import os
import signal
import socket

import pytest
from kit.serving import (
    SECONDS,
    Serving,
    eventually,
    greeting_of,
    is_gone,
    needs_workers,
    serve,
    workers_of,
)

import poolio
from poolio.workers.sockets import bind

pytestmark = needs_workers


def test_several_addresses_reach_app_in_their_order(tmp_path):
    several = """
@contextlib.asynccontextmanager
async def several(tcp, other, unix):
    async with await app(tcp), await app(other), await app(unix):
        yield
"""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))  # a file of somebody who is gone
    addresses = f'"127.0.0.1:0", "localhost:0", "unix:{path}"'  # localhost may be ::1
    with Serving(several + f"poolio.serve(several, {addresses}, workers=2, on_ready=ready)") as server:
        tcp, other = server.ready()
        assert tcp != other
        assert workers_of(tcp, 2) == workers_of(other, 2)
        for _ in range(20):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                assert greeting_of(client) in workers_of(tcp, 2)
        with pytest.raises(OSError, match=r"cannot bind unix:.*: Address already in use"):
            poolio.serve(None, f"unix:{path}", workers=1)
        path.rename(path.with_suffix(".old"))
        with socket.socket(socket.AF_UNIX) as next_one:
            next_one.bind(str(path))
            assert server.end(signal.SIGTERM)[0] == 0
            assert path.exists()


@pytest.mark.parametrize("replacement", [type("ProxiedSocket", (socket.socket,), {}), lambda *arguments: None])
def test_socket_class_was_replaced_a_bound_socket_is_an_address(replacement, monkeypatch):
    with socket.socket() as bound:
        monkeypatch.setattr(socket, "socket", replacement)
        assert bind(bound, 2) == [bound, bound]


def pid_behind(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(SECONDS)
        client.connect(str(path))
        return greeting_of(client)


@pytest.mark.parametrize(("create", "loop_factory"), [
    ("poolio", "poolio.new_event_loop"), ("asyncio.get_running_loop()", "poolio.new_event_loop"),
    ("poolio", "asyncio.new_event_loop"), ("poolio", "uvloop.new_event_loop"),
])
@pytest.mark.parametrize("is_given", (False, True))
def test_unix_socket_is_reachable_after_sighup(create, loop_factory, is_given, tmp_path):
    path = tmp_path / "socket"
    program = f"""
import uvloop
async def app(sock):
    return await {create}.create_unix_server(Answer, sock=sock)
address = "unix:{path}"
if {is_given}:
    address = socket.socket(socket.AF_UNIX)
    address.bind("{path}")
poolio.serve(app, address, workers=2, on_ready=ready, loop_factory={loop_factory})
"""
    with Serving(program) as server:
        server.ready()
        before = {int(pid) for pid in server.until_logged(r"\((\d+)\) starts", 2)}
        server.signal(signal.SIGHUP)
        server.until_logged("ended with status 0", 2)
        assert pid_behind(path) not in before
        assert server.end(signal.SIGTERM)[0] == 0
    assert path.exists() is is_given


def test_flow_of_datagrams_stays_with_its_slot_when_a_worker_is_replaced():
    datagrams = """
class Tell(poolio.DatagramProtocol):
    def datagrams_received(self, batch):
        for data, sender in batch:
            self.transport.sendto(b"%d " % os.getpid() + bytes(data), sender)

@contextlib.asynccontextmanager
async def datagrams(sock):
    transport, _ = await poolio.create_datagram_endpoint(Tell, sock=sock)
    yield
    transport.close()
"""
    def ask(flow):
        flow.send(b"who")
        pid, _, what = flow.recv(100).partition(b" ")
        assert what == b"who"
        return int(pid)

    with Serving(datagrams + serve(2, "udp:127.0.0.1:0", app="datagrams")) as server, contextlib.ExitStack() as stack:
        port = server.port()
        flows = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(64)]
        for flow in flows:
            flow.settimeout(SECONDS)
            flow.connect(("127.0.0.1", port))
        before = [ask(flow) for flow in flows]
        first, second = sorted(set(before))
        os.kill(first, signal.SIGKILL)
        eventually(lambda: is_gone(first))
        after = [ask(flow) for flow in flows]  # what comes while the slot is empty waits in its socket
        third = (set(after) - {second}).pop()
        assert after == [third if pid == first else pid for pid in before]
        assert server.end(signal.SIGTERM)[0] == 0


def test_socket_that_is_bound_already_is_shared_by_all():
    given = """
sock = socket.create_server(("127.0.0.1", 0))
poolio.serve(app, sock, workers=2, on_ready=ready)
sock.setblocking(True)
sock.accept()[0].sendall(b"mine again")
"""
    with Serving(given) as server:
        port = server.port()
        assert len(workers_of(port, 1)) == 1
        server.signal(signal.SIGTERM)
        server.until_logged("ended with status 0", 2)
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
            assert client.recv(10, socket.MSG_WAITALL) == b"mine again"
        assert server.end()[0] == 0


def test_port_in_use_is_an_error_even_if_it_may_be_shared():
    with Serving(serve(2)) as server:
        port = server.port()
        with pytest.raises(OSError, match=rf"cannot bind 127\.0\.0\.1:{port}: Address already in use"):
            poolio.serve(None, f"127.0.0.1:{port}", workers=2)
        assert server.end(signal.SIGTERM)[0] == 0
