"""The examples run as they stand, as a user would start them."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys

import pytest

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"


def start(*arguments):
    environment = dict(os.environ, PYTHONUNBUFFERED="1")
    return subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, env=environment)


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


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_example_has_at_most_60_lines(example):
    assert len(example.read_text().splitlines()) <= 60
