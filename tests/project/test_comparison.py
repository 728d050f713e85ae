"""docs/comparison.md: each row is tried on what it compares, where that is installed in the version that it names."""

import asyncio
import importlib.metadata
import inspect
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
import uvloop
from kit import stacks
from kit.pairs import needs_own_transports

import poolio

PAGE = (pathlib.Path(__file__).resolve().parent.parent.parent / "docs" / "comparison.md").read_text()
VERSIONS = dict(re.findall(r"^- \*\*(\w+)\*\* \(([\d.]+)\)", PAGE, re.MULTILINE))
COLUMNS = ("poolio", "asyncio", "uvloop", "rloop", "aiofastnet")
PROBES = {
    "TCP: `create_server`, `create_connection`": stacks.tcp,
    "unix sockets": stacks.unix_sockets,
    "UDP": stacks.udp,
    "TLS": stacks.tls,
    "`start_tls()` on a connection in the clear": stacks.upgrade_to_tls,
    "`asyncio.BufferedProtocol`: you give the room": stacks.own_room,
    "`sendfile()` by the kernel": stacks.sendfile,
    "subprocesses": stacks.subprocesses,
    "its transports work on uvloop's loop": stacks.on_another_loop,
    "all writes of a callback leave in one system call": stacks.writes_of_a_callback_in_one_call,
    "received data are slices of pooled memory": stacks.slices_of_pooled_memory,
    "codecs for frames": stacks.frames,
    "datagrams in batches": stacks.batches_of_datagrams,
    "limits for a server's connections and their silence": stacks.limits_of_servers,
    "a process a core, with restart": stacks.workers,
    "TLS that is not the standard library's": stacks.own_tls,
}
NOT_THERE = (NotImplementedError, AttributeError, TypeError, AssertionError)
NODE = """
const net = require("net");
const carved = Buffer.allocUnsafe(100), pool = carved.buffer, end = carved.byteOffset + 100;
let frozen = true;
try { Object.freeze(carved); } catch (error) { frozen = false; }
carved[1000] = 5;
const server = net.createServer(peer => peer.on("data", data => {
    console.log(JSON.stringify([
        Buffer.poolSize, Buffer.allocUnsafe(4095).buffer.byteLength, Buffer.allocUnsafe(4096).buffer.byteLength,
        pool.byteLength, frozen, carved[1000] === undefined, data.buffer.byteLength === data.length, later > end - 1]));
    peer.end();
    server.close();
}));
let later = Buffer.allocUnsafe(100).byteOffset;
server.listen(0, "127.0.0.1", () => net.connect(server.address().port, "127.0.0.1").end("hello"));
"""


def rows(heading):
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines[1:]}


TRANSPORTS = rows("Transports and loops")


def stack_of(name):
    found = stacks.stacks()
    if name not in found:
        pytest.skip(f"{name} is not installed")
    if name in VERSIONS and importlib.metadata.version(name) != VERSIONS[name]:
        pytest.skip(f"{name} is {importlib.metadata.version(name)}, the page is about {VERSIONS[name]}")
    return found[name]


def has(probe, stack):
    async def tried():
        async with asyncio.timeout(stacks.SECONDS):
            return await probe(stack)

    loop = uvloop.new_event_loop if probe is stacks.on_another_loop else stack.new_loop
    with asyncio.Runner(loop_factory=loop) as runner:
        try:
            return runner.run(tried()) is not False
        except NOT_THERE:
            return False


def test_every_row_about_transports_is_tried():
    assert [row for row in TRANSPORTS if row not in PROBES and not row.startswith("wheels say")] == []
    assert set(PROBES) <= set(TRANSPORTS)


@needs_own_transports
@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("row", PROBES, ids=lambda row: PROBES[row].__name__)
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning",
                            "ignore::DeprecationWarning")        # of the others, when they refuse
def test_row_says_what_the_stack_has(row, column):
    assert TRANSPORTS[row][COLUMNS.index(column)] == ("yes" if has(PROBES[row], stack_of(column)) else "no")


@pytest.mark.parametrize("column", ("uvloop", "rloop", "aiofastnet"))
def test_wheels_say_what_the_page_says(column):
    stack_of(column)
    classifiers = importlib.metadata.metadata(column).get_all("Classifier") or []
    for row, word in (("Windows", "Windows"), ("free-threaded Python", "Free Threading")):
        said = "yes" if any(word in classifier for classifier in classifiers) else "no"
        assert TRANSPORTS[f"wheels say: works on {row}"][COLUMNS.index(column)] == said


def test_streams_have_what_the_page_says():
    for row, (ours, theirs) in rows("asyncio's streams").items():
        for name in re.findall(r"`(?:writer\.)?(\w+)(?:\(|`)", row):
            here = [getattr(owner, name, None) for owner in (poolio.StreamReader, poolio.StreamWriter, poolio)]
            there = [getattr(owner, name, None) for owner in (asyncio.StreamReader, asyncio.StreamWriter, asyncio)]
            assert any(here) and ours == "yes"
            assert any(there) or theirs == "no"
            if name not in ("readuntil", "read"):
                assert any(there) == (theirs == "yes"), name
    assert "limit" not in inspect.signature(asyncio.StreamReader.readuntil).parameters


async def test_separators_of_asyncio_are_several_from_the_version_named():
    reader = asyncio.StreamReader()
    reader.feed_data(b"one;two")
    if sys.version_info >= (3, 13):
        assert await reader.readuntil((b";", b"\n")) == b"one;"
    else:
        with pytest.raises((TypeError, ValueError, asyncio.IncompleteReadError)):
            reader.feed_eof()
            await reader.readuntil((b";", b"\n"))


def node(*arguments):
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    done = subprocess.run(["node", *arguments], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def test_node_does_what_the_page_says():
    if not node("--version").startswith("v20."):
        pytest.skip(f"node is {node('--version')}, the page is about 20")
    assert node("-e", NODE) == "[8192,8192,4096,8192,false,true,true,true]"
    zeroed = "console.log(Buffer.allocUnsafe(5000).every(each => each === 0))"
    assert node("--zero-fill-buffers", "-e", zeroed) == "true"
