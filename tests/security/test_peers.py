"""SECURITY.md is true: its lines name tests that exist, its table of limits is the code's, the examples keep to it."""

import asyncio
import importlib.util
import inspect
import json
import pathlib
import re
import socket
import sys
from asyncio import constants

import pytest
from kit.pairs import linked, on, sending, shrink_kernel_buffers
from kit.wires import OURS, eventually

import poolio
from poolio.memory import slab
from poolio.streams import reader
from poolio.wire import address, datagram, listener, outbox, shortage, stream, unsealing

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DOCUMENT = ROOT / "SECURITY.md"
pytestmark = pytest.mark.skipif(not DOCUMENT.exists(), reason="no checkout: SECURITY.md is not here")


def lines_of_the_model():
    """(number, text) of each."""
    model = DOCUMENT.read_text().partition("## The model")[2]
    return [(int(number), text) for number, text in re.findall(r"^(\d+)\. (.*?)(?=^\d+\. |^\S|\Z)", model, re.M | re.S)]


def existing_tests():
    found = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        found |= set(re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.M))
    return found


def test_lines_of_the_model_are_numbered_without_a_gap():
    numbers = [number for number, _ in lines_of_the_model()]
    assert len(numbers) >= 30
    assert numbers == list(range(1, len(numbers) + 1))


def test_each_line_of_the_model_has_a_bound_and_names_existing_tests():
    existing = existing_tests()
    for number, text in lines_of_the_model():
        named = re.findall(r"`(test_\w+)`", text)
        assert named, f"line {number} names no test"
        assert set(named) <= existing, f"line {number} names tests that are not there: {set(named) - existing}"
        promise = re.sub(r"`[^`]*`", "", text)
        assert re.search(r"\d|\bno\b|\bnone\b|alone", promise), f"line {number} has no bound"


async def water_marks():
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setblocking(False)
        transport, _ = await poolio.create_connection(poolio.Protocol, sock=ours)
        low, high = transport.get_write_buffer_limits()
        transport.abort()
        await asyncio.sleep(0)
        return low, high


@pytest.mark.skipif(not OURS, reason="poolio's own transports need epoll")
def test_limits_of_the_table_are_those_of_the_code():
    low, high = asyncio.run(water_marks())
    codecs = (poolio.LengthPrefixed(), poolio.Varint(), poolio.Delimited(b"\n"), poolio.Codec(), poolio.Marked(),
              poolio.LineAndBody(0))
    frames, = {codec.max_frame for codec in codecs}
    backlog = inspect.signature(asyncio.SelectorEventLoop.create_server).parameters["backlog"].default
    assert poolio.default_pool().max_bytes is None
    assert [int(value) for value in re.findall(r"^\| .+ \| (\d+) \|$", DOCUMENT.read_text(), re.M)] == [
        poolio.default_pool().slab_size, frames, codecs[-2].max_items, codecs[-2].max_depth, codecs[-1].max_line,
        reader.DEFAULT_LIMIT, high, low, stream.BOUNDS["CORK_BYTES"],
        outbox.BOUNDS["DATAGRAM_HEADER"], 1, datagram.BOUNDS["ENOUGH"],
        listener.BOUNDS["ACCEPTS"],
        backlog, constants.ACCEPT_RETRY_DELAY, shortage.PATIENCE_SECONDS,
        constants.SSL_HANDSHAKE_TIMEOUT, constants.SSL_SHUTDOWN_TIMEOUT,
        unsealing.BOUNDS["MOST_ANSWERS"], address.BOUNDS["RECENT"],
        slab.KEEP_FREE_BYTES, slab.IDLE_SECONDS,
    ]


# --- make security ----------------------------------------------------------------------------------------------

def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ATTACKS = load(ROOT / "tests" / "security" / "attacks.py").ALL


@pytest.mark.skipif(not OURS, reason="some of them need poolio's own transports")
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_attacks_of_make_security_all_run(attack):
    """That they run; how long is looked at by `make security`, which compares processor times."""
    run, clean_up = attack(400)
    run()
    clean_up()


def test_attacks_of_make_security_are_as_many_as_the_model_says():
    assert f"each of {len(ATTACKS)} attacks" in DOCUMENT.read_text()


# --- the examples -------------------------------------------------------------------------------------------------

SERVERS = [path for path in [*sorted((ROOT / "examples").glob("*.py")), ROOT / "poolio" / "commands" / "echo.py"]
           if re.search(r"create_server|start_server|create_datagram_endpoint", path.read_text())]


@pytest.mark.parametrize("path", SERVERS, ids=lambda path: path.name)
def test_examples_listen_on_this_machine_alone(path):
    source = path.read_text()
    assert re.search(r'"127\.0\.0\.1[:"]', source)
    assert not re.search(r"0\.0\.0\.0|\"::\"|host=None", source)
    for host in re.findall(r"(?:create|start)_server\(\w+, ([^,)]+)", source):
        assert host in ('"127.0.0.1"', "host", "args.host", "sock=sock"), f"{path.name} listens on {host}"


CALL = json.dumps({"id": 1, "method": "upper", "arguments": ["x" * 100]}).encode()
FLOODS = {
    "echo_server.py": ("Echo", b"x" * 4096),
    "rpc.py": ("Server", len(CALL).to_bytes(4, "big") + CALL),
}


@pytest.mark.parametrize("name", FLOODS)
@on(*OURS[:1])
async def test_example_servers_stop_reading_from_who_does_not_read(name):
    kind, message = FLOODS[name]
    module = load(ROOT / "examples" / name)
    protocol, peer = await linked(getattr(module, kind))
    with peer:
        shrink_kernel_buffers(protocol.transport, peer)
        data = message * ((32 << 20) // len(message))
        async with sending(peer, data):
            await eventually(lambda: not protocol.transport.is_reading())
        assert protocol.transport.get_write_buffer_size() <= 1 << 20
        protocol.transport.abort()
    sys.modules.pop(module.__name__, None)
