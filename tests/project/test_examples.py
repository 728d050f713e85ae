"""The examples run as they stand, as a user would start them."""

import contextlib
import pathlib
import os
import re
import signal
import socket
import threading

import pytest
from kit.examples import serving, start  # noqa: F401 (a fixture)
from kit.pairs import needs_own_transports

EXAMPLES = pathlib.Path(__file__).parent.parent.parent / "examples"


@pytest.mark.parametrize("zeroing", ["never", "on_alloc", "on_release"])
def test_echo_server_echoes_and_stops_on_interrupt(zeroing):
    with start(EXAMPLES / "echo_server.py", "--port", "0", "--zeroing", zeroing) as server:
        try:
            port = int(re.search(r":(\d+)", server.stdout.readline())[1])
            with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
                client.sendall(b"hello\n")
                assert client.makefile("rb").readline() == b"hello\n"
                server.send_signal(signal.SIGINT)
                output, errors = server.communicate(timeout=30)
        finally:
            server.kill()
    assert (server.returncode, output, errors) == (0, "stopped\n", "")


@needs_own_transports
def test_chat_tells_lines_to_all_others(serving):
    port = serving(EXAMPLES / "chat.py", "--port", "0")
    with contextlib.ExitStack() as stack:
        members = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30)) for _ in range(3)]
        for number, member in enumerate(members):   # each has to be known before the next one speaks
            member.sendall(b"here is %d\n" % number)
            if number > 0:
                assert members[0].makefile("rb").readline() == b"here is %d\n" % number
        members[0].sendall(b"hello\nall\n")
        for member in members[1:]:
            heard = list(iter(member.makefile("rb").readline, b"all\n"))
            assert heard[-1] == b"hello\n"


@needs_own_transports
def test_proxy_forwards_both_ways_and_ends(serving):
    target = serving(EXAMPLES / "echo_server.py", "--port", "0")
    port = serving(EXAMPLES / "tcp_proxy.py", "0", "127.0.0.1", str(target))
    message = os.urandom(1 << 20)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        sender = threading.Thread(target=client.sendall, args=(message,))
        sender.start()
        assert client.makefile("rb").read(len(message)) == message
        sender.join()
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""


@needs_own_transports
def test_proxy_of_a_gibibyte_stays_small(serving):
    blocks, block = 1024, os.urandom(1 << 20)

    def discard(listener, received):
        peer, _ = listener.accept()
        with peer:
            room = bytearray(1 << 20)
            while count := peer.recv_into(room):
                received.append(count)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        received = []
        sink = threading.Thread(target=discard, args=(listener, received))
        sink.start()
        port = serving(EXAMPLES / "tcp_proxy.py", "0", "127.0.0.1", str(listener.getsockname()[1]))
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            for _ in range(blocks):
                client.sendall(block)
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
        sink.join()
    assert sum(received) == blocks * len(block)
    status = pathlib.Path(f"/proc/{serving.newest().pid}/status").read_text()
    assert int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) < 32 << 10


QUERY = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"      # number, recursion desired, one question
QUESTION = b"\x06POOLIO\x04test\x00\x00\x01\x00\x01"            # IN A


@needs_own_transports
def test_dns_answers_queries_and_nothing_else(serving):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(30)
        client.connect(("127.0.0.1", serving(EXAMPLES / "dns.py", "0")))
        for garbage in (b"", b"\x00", QUERY, QUERY + b"\x40" + bytes(64), QUERY + b"\x01a" * 200,
                        b"\x12\x34\x81\x00" + QUERY[4:] + QUESTION):
            client.send(garbage)
        client.send(QUERY + QUESTION)
        answer = b"\x12\x34\x85\x00\x00\x01\x00\x01\x00\x00\x00\x00" + QUESTION
        assert client.recv(512) == answer + b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01"
        client.send(QUERY + b"\x04none" + QUESTION)
        assert client.recv(512) == b"\x12\x34\x85\x03\x00\x01" + bytes(6) + b"\x04none" + QUESTION
        client.send(QUERY + b"\x03com\x00\x00\x01\x00\x01")
        assert client.recv(512)[2:4] == b"\x81\x05"


@needs_own_transports
@pytest.mark.parametrize(("example", "output"), [
    ("rpc.py", r"\[5, 'SLAB', \"KeyError\('divide'\)\"\]\n"),
    ("backpressure.py", r"sent 67108864 bytes; \d+ waited at most, high water is 262144\nreceived 67108864 bytes\n"),
])
def test_example_prints(example, output):
    with start(EXAMPLES / example) as program:
        try:
            printed, errors = program.communicate(timeout=60)
        finally:
            program.kill()
    assert (program.returncode, errors) == (0, "")
    assert re.fullmatch(output, printed), printed


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_example_has_at_most_60_lines(example):
    assert len(example.read_text().splitlines()) <= 60
