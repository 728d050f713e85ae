"""The fuzzer of TLS in short: each split of a handshake and a session, and some drawn cases; what is planted is found,
and found again alone.
"""

import pathlib
import re
import subprocess
import sys

import pytest

from poolio.wire.reactor import HAS_EPOLL

FUZZER = pathlib.Path(__file__).parent.parent / "fuzz" / "tls.py"

pytestmark = pytest.mark.skipif(not HAS_EPOLL, reason="the TLS transport is one of poolio's own, which need epoll")


def fuzz(*arguments):
    """(status, what it says)."""
    done = subprocess.run([sys.executable, FUZZER, *arguments], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("engine", ("openssl", "memorybio"))
def test_each_split_of_a_handshake_and_a_session_arrives_whole(engine):
    status, said = fuzz("--what", "splits", "--engines", engine)
    assert status == 0, said
    assert int(re.search(r"each split: (\d+) connections", said)[1]) > 3_000


def test_changed_bytes_end_in_errors_of_tls_and_in_no_wrong_byte():
    status, said = fuzz("--what", "drawn", "--seconds", "3", "--seed", "1")
    assert status == 0, said
    counts = [int(count) for count in re.findall(r"(\d+) \w", said.splitlines()[-1])]
    assert len(counts) == 4 and all(counts)


def test_planted_wrong_byte_is_found_and_found_again_alone():
    status, said = fuzz("--what", "drawn", "--seed", "1", "--plant")
    assert status == 1, said
    again = re.search(r"wrong bytes were echoed.*\nagain: \S+ \S+ (.*)\n", said)
    assert again, said
    status, said = fuzz(*again[1].split(), "--plant")
    assert status == 1 and "wrong bytes were echoed" in said, said
