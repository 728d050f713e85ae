"""Owns what tests of real asyncio libraries need: the library or a skip, its server as a process, a free port.

A library that is not installed, and a server that this machine does not have, is a skip that says so. The servers are
processes of their own, started by the test that needs one and stopped at its end; what they say is checked then.
Called by project/test_library_*.py.
"""

import asyncio
import contextlib
import functools
import re
import socket
import subprocess
import sys

import pytest

import poolio
from kit.wires import BLOCK
from kit.wires import run as run_on

LARGE = BLOCK[:(5 << 20) + 123]
MESSAGE = BLOCK[:1_000_000]     # the libraries' default limit is 1 MiB, for what it is when compressed, too
PIECE = 100_003                 # of a streamed body: no multiple of anything
STOP_SECONDS = 30

run = functools.partial(run_on, "poolio", timeout=100)
plain_and_tls = pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])


def library(name, *others, minversion=None):
    """A fixture: the library, or a skip."""
    @pytest.fixture(name=name)
    def imported():
        needed = f"{name}>={minversion}" if minversion else name
        for module in (name, *others):
            pytest.importorskip(module, minversion if module == name else None,
                                reason=f"{module} is not installed ({needed}): pip install 'poolio[libraries]'")
        return sys.modules[name]

    return imported


def assert_poolio(transport):
    """It is poolio's, or TLS over poolio's, on poolio's loop."""
    assert type(asyncio.get_running_loop()) is poolio.EventLoop
    transport = getattr(transport, "carrier", transport)
    assert type(transport).__module__ == "poolio.wire.stream"


def pieces_of(data):
    """The data in pieces of PIECE bytes; the last one is shorter."""
    return [data[start:start + PIECE] for start in range(0, len(data), PIECE)]


@contextlib.contextmanager
def reserved_port():
    """A free port of 127.0.0.1. It is bound and does not listen, so only a server that asks for this one gets it."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@contextlib.asynccontextmanager
async def serving(command, ready, stop, status=0, **options):
    """Run a server until the block ends; yields the match of the line that says that it serves.

    It says little, so nobody has to read that meanwhile.
    """
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    said = []
    try:
        while not (said and re.search(ready, said[-1])):
            said.append((await process.stdout.readline()).decode())
            assert said[-1], f"it ends instead of serving: {''.join(said)}"
        yield re.search(ready, said[-1])
    finally:
        try:
            async with asyncio.timeout(STOP_SECONDS):
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(stop)
                said.append((await process.stdout.read()).decode())
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    said = "".join(said)
    assert process.returncode == status, said
    assert not re.search("Traceback|Warning|Exception ignored", said), said
