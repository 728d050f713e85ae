"""The soak in short: it passes, each kind of session has happened; what is planted is found, and found again alone."""

import pathlib
import re
import subprocess
import sys

import pytest

from poolio.wire.reactor import HAS_EPOLL

WRONG = r"wrong bytes at \d+, or more than were sent:"
SOAK = pathlib.Path(__file__).parent.parent / "soak"

pytestmark = pytest.mark.skipif(not HAS_EPOLL, reason="the soak is about poolio's own transports, which need epoll")


def soak(*arguments):
    """(status, what it says), bounded by its own watchdogs."""
    done = subprocess.run([sys.executable, SOAK, *arguments], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_short_soak_of_all_kinds_and_loops_passes():
    """Its status is 1, too, if a kind of session, a wire, a method of streams or a way to answer has not happened."""
    status, said = soak("--seed", "1", "--seconds", "3", "--connections", "150", "--least", "350")
    assert status == 0, said
    assert "loops poolio,asyncio,uvloop, seed 1: passed" in said


def test_planted_wrong_byte_fails_with_the_command_that_finds_it_again():
    status, said = soak(
        "--seed", "1", "--seconds", "0.5", "--connections", "20", "--loops", "poolio", "--kinds", "frames,streams",
        "--plant")
    assert status == 1, said
    first = re.search(rf"{WRONG} session (\d+)\.0 .*\n *again: (\S+) \S+ (.*)\n", said)
    assert first, said
    number, python, arguments = first.groups()
    assert python == sys.executable
    assert f"--only {number}" in arguments
    status, said = soak(*arguments.split())
    assert status == 1, said
    assert re.search(rf"{WRONG} session {number}\.0 ", said), said
