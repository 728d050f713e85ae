"""Owns how an example is run: as a user would start it, on a free port, until Ctrl-C.

Called by project/test_example*.py.
"""

import os
import re
import signal
import subprocess
import sys

import pytest


def start(*arguments):
    environment = dict(os.environ, PYTHONUNBUFFERED="1")
    return subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, env=environment)


@pytest.fixture
def serving():
    """Start an example that serves; returns its port. It ends by Ctrl-C, without a complaint."""
    servers = []

    def begin(*arguments):
        servers.append(start(*arguments))
        line = servers[-1].stdout.readline()
        found = re.search(r":(\d+)", line)
        assert found, f"it said {line!r} first"
        return int(found[1])

    begin.newest = lambda: servers[-1]
    yield begin
    for server in servers:
        server.send_signal(signal.SIGINT)
        try:
            _, errors = server.communicate(timeout=30)
        finally:
            server.kill()
        assert (server.returncode, errors) == (0, "")
