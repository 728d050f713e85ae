"""Owns a program that calls serve(), as a process of its own: started, talked to, told to stop, and its log read.

It knows nothing of the workers' insides. Called by the tests of workers.
"""

import contextlib
import os
import pathlib
import re
import select
import signal
import socket
import subprocess
import sys
import time

import pytest

from kit.wires import OURS

SECONDS = 60  # after which a test has failed instead of hanging
needs_workers = pytest.mark.skipif(not OURS, reason="many workers need Linux, and poolio's own loop needs epoll")

# Answers what it gets, with its process id before it. Programs are this and what is special to a test.
PROGRAM = """
import asyncio, contextlib, logging, os, signal, socket, sys, threading
import poolio
import poolio.workers.supervisor
logging.basicConfig(level="INFO", format="%(levelname)s %(message)s")

def ready(*sockets):
    print("ready", *(sock.getsockname()[1] for sock in sockets if sock.family != socket.AF_UNIX), flush=True)

class Answer(poolio.Protocol):
    def connection_made(self, transport):
        super().connection_made(transport)
        self.write(b"%d\\n" % os.getpid())
    def data_received(self, buf):
        self.write(buf)

async def app(sock):
    return await poolio.create_server(Answer, sock=sock)
"""

# Apps for serve(), which look at a file: the first ends the next worker at its start, the second keeps it starting.
DIES_LATER = """
import pathlib
async def dies_later(sock):
    if pathlib.Path(sys.argv[1]).exists():
        os._exit(3)
    return await app(sock)
"""

STARTS_LATER = """
import pathlib
async def starts_later(sock):
    while pathlib.Path(sys.argv[1]).exists():
        await asyncio.sleep(0.01)
    return await app(sock)
"""


def serve(workers=2, address="127.0.0.1:0", grace=30, app="app"):
    """The code that calls poolio.serve() with these, and prints "served" when it is over."""
    return f'poolio.serve({app}, "{address}", workers={workers}, grace={grace}, on_ready=ready)\nprint("served")\n'


class Serving:
    """`with Serving(code) as server`: PROGRAM and then code; killed at the end, with all its workers."""

    def __init__(self, code, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM + code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True, env=dict(os.environ, PYTHONUNBUFFERED="1"))
        self.log = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def ready(self):
        """Wait until it serves, and return its ports."""
        line = self.process.stdout.readline().split()
        if line[:1] != [b"ready"]:
            raise AssertionError(f"{line}: {self.process.stderr.read().decode()}")
        return [int(port) for port in line[1:]]

    def port(self):
        return self.ready()[0]

    def until_logged(self, pattern, times=1):
        """Read its log until the pattern has been there that often; returns the matches."""
        end = time.monotonic() + SECONDS
        fd = self.process.stderr.fileno()
        while len(found := re.findall(pattern, self.log)) < times:
            left = end - time.monotonic()
            data = os.read(fd, 65536) if left > 0 and select.select([fd], [], [], left)[0] else b""
            if not data:
                raise AssertionError(f"{pattern!r} was not logged {times} times: {self.log}")
            self.log += data.decode()
        return found

    def signal(self, number):
        os.kill(self.process.pid, number)

    def end(self, number=None):
        """(status, what else it printed); its whole log is in `log`."""
        if number is not None:
            self.signal(number)
        output, errors = self.process.communicate(timeout=SECONDS)
        self.log += errors.decode()
        return self.process.returncode, output.decode()


def connect(port):
    """(socket, process id of the worker that has accepted)."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
    return sock, greeting_of(sock)


def greeting_of(sock):
    """The process id that a worker begins with, and nothing behind it."""
    line = b""
    while not line.endswith(b"\n"):
        byte = sock.recv(1)
        if not byte:
            raise AssertionError(f"it ended after {line}")
        line += byte
    return int(line)


def workers_of(port, count):
    """Open connections until so many workers have answered; their process ids."""
    pids = set()
    for _ in range(200):
        sock, pid = connect(port)
        sock.close()
        pids.add(pid)
        if len(pids) == count:
            return sorted(pids)
    raise AssertionError(f"only {pids} answer")


def eventually(condition):
    end = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"never: {condition}")
        time.sleep(0.005)


def state_of(pid):
    """As /proc has it: R, S, T (stopped), Z ...; None if there is no such process."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def is_gone(pid):
    return state_of(pid) in (None, "Z", "X")


def waiting_on(port):
    """Connections in the queues of the sockets that listen on this port."""
    listening, count = "0A", 0
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, queues = line.split()[:5]
        if state == listening and int(local.rpartition(":")[2], 16) == port:
            count += int(queues.partition(":")[2], 16)
    return count


def is_free(port):
    """Whether a new listening socket can have the port."""
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False


def read_all(sock):
    """All that comes on the socket until its end; it is closed then."""
    with sock, sock.makefile("rb") as file:
        return file.read()
