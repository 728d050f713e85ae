"""examples/redis_server.py: what it answers, byte by byte, to well-formed commands and to others, and redis-benchmark."""

import os
import pathlib
import shutil
import socket
import subprocess
import threading

import pytest
from kit.examples import serving  # noqa: F401 (a fixture)
from kit.pairs import needs_own_transports

EXAMPLE = pathlib.Path(__file__).parent.parent.parent / "examples" / "redis_server.py"
LARGE = os.urandom(1 << 20) * 8
pytestmark = needs_own_transports


@pytest.fixture
def port(serving):  # noqa: F811
    return serving(EXAMPLE, "0")


def connected(port):
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def command(*parts):
    return b"*%d\r\n%b" % (len(parts), b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts))


def talk(port, sent):
    """Send all of it and no more; return all that is answered."""
    with connected(port) as client, client.makefile("rb") as answers:
        sender = threading.Thread(target=lambda: (client.sendall(sent), client.shutdown(socket.SHUT_WR)))
        sender.start()
        answer = answers.read()
        sender.join()
    return answer


def test_commands_are_answered_in_order(port):
    session = [
        (("PING",), b"+PONG\r\n"), (("ping", "hi"), b"$2\r\nhi\r\n"), (("SET", "a", "1"), b"+OK\r\n"),
        (("INCR", "a"), b":2\r\n"), (("INCR", "fresh"), b":1\r\n"), (("GET", "a"), b"$1\r\n2\r\n"), (("GET", "none"), b"$-1\r\n"),
        (("MSET", "b", "", "c", "\r\n"), b"+OK\r\n"), (("MGET", "a", "b", "none", "c"),
                                                     b"*4\r\n$1\r\n2\r\n$0\r\n\r\n$-1\r\n$2\r\n\r\n\r\n"),
        (("LPUSH", "l", "x", "y", "z"), b":3\r\n"), (("LRANGE", "l", "0", "-1"), b"*3\r\n$1\r\nz\r\n$1\r\ny\r\n$1\r\nx\r\n"),
        (("LRANGE", "l", "1", "1"), b"*1\r\n$1\r\ny\r\n"), (("LPOP", "l"), b"$1\r\nz\r\n"), (("LPOP", "none"), b"$-1\r\n"),
        (("EXISTS", "a", "l", "none"), b":2\r\n"), (("DEL", "a", "b", "l", "none"), b":3\r\n"), (("EXISTS", "a"), b":0\r\n"),
    ]
    sent = b"".join(command(*(part.encode() for part in parts)) for parts, _ in session)
    assert talk(port, sent) == b"".join(answer for _, answer in session)


@pytest.mark.parametrize("size", (0, 1, 4096, 4097, 100_000, len(LARGE)))
def test_binary_value_comes_back(port, size):
    value = LARGE[:size]
    assert talk(port, command(b"SET", b"k", value) + command(b"GET", b"k")) == b"+OK\r\n$%d\r\n%b\r\n" % (size, value)


@pytest.mark.parametrize("parts, word", [
    (("INCR",), b"TypeError"), (("SET", "only"), b"TypeError"), (("MSET", "a", "1", "b"), b"ValueError"),
    (("LRANGE", "l", "x", "y"), b"ValueError"), (("NONE",), b"KeyError"),
])
def test_wrong_command_is_answered_with_an_error_and_the_connection_goes_on(port, parts, word):
    answer = talk(port, command(*(part.encode() for part in parts)) + command(b"PING"))
    assert answer.startswith(b"-ERR " + word)
    assert answer.endswith(b"\r\n+PONG\r\n")
    assert answer.count(b"\r\n") == 2


def test_line_of_words_is_a_command(port):
    assert talk(port, b"set k  v\r\nGET k\n\r\nPING\r\n") == b"+OK\r\n$1\r\nv\r\n+PONG\r\n"


@pytest.mark.parametrize("bytes_", (
    b"*1\r\n:1\r\n", b"*x\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$1\r\nabc", b"*1\r\n$99999999\r\n", b"*9999999\r\n", b"*1\r\n$1x\r\n"))
def test_malformed_command_is_answered_behind_the_others_and_ends_the_connection(port, bytes_):
    with connected(port) as client, client.makefile("rb") as answers, connected(port) as other:
        client.sendall(command(b"PING") + bytes_)
        answer = answers.read()     # to the end, which is the server's
        assert answer.startswith(b"+PONG\r\n-ERR Protocol error: ")
        assert answer.count(b"\r\n") == 2
        other.sendall(command(b"PING"))
        assert other.recv(100) == b"+PONG\r\n"


def test_answers_that_are_not_read_stop_the_reading(port, serving):  # noqa: F811
    with connected(port) as client:
        client.settimeout(1)
        client.sendall(command(b"SET", b"k", LARGE))
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 1 << 30:
                sent += client.send(command(b"GET", b"k") * 1000)
        status = pathlib.Path(f"/proc/{serving.newest().pid}/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0])
    assert peak < 512 << 10, f"{peak} KiB after {sent} bytes of commands"


def test_redis_benchmark_is_served(port):
    program = shutil.which("redis-benchmark")
    if program is None:
        pytest.skip("redis-benchmark is not installed (Debian: apt-get install redis-tools)")
    tests = "ping_inline,ping_mbulk,set,get,incr,lpush,lpop,mset"
    for depth in ("1", "16"):
        done = subprocess.run([program, "-p", str(port), "-P", depth, "-c", "50", "-n", "3200", "-t", tests, "-q"],
                              capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stdout.count("requests per second")) == (0, 8), done.stdout + done.stderr
    assert talk(port, command(b"GET", b"counter:__rand_int__")) == b"$4\r\n6400\r\n"
