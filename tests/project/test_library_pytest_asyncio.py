"""pytest-asyncio on poolio.EventLoop: fixtures and tests, with its hook for loops; a policy is tried in loops/."""

import subprocess
import sys
import textwrap

import pytest
from kit.libraries import library

pytest_asyncio = library("pytest_asyncio", "pytest_asyncio.plugin")
CONFTEST = """
import asyncio
import poolio

def pytest_asyncio_loop_factories(config, item):
    return {"asyncio": asyncio.SelectorEventLoop, "poolio": poolio.EventLoop}
"""
TESTS = """
import asyncio
import poolio
import pytest
import pytest_asyncio

pytestmark = pytest.mark.asyncio(loop_scope="module")

@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def port():
    async def echo(reader, writer):
        writer.write(await reader.read(100))
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]

@pytest.mark.parametrize("message", (b"one", b"two"))
async def test_echo(port, message):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(message)
    assert await reader.read() == message
    writer.close()

async def test_loop(request):
    is_poolio = type(asyncio.get_running_loop()) is poolio.EventLoop
    assert is_poolio is ("poolio" in request.node.name)

async def test_task_that_is_left_is_cancelled(port):
    asyncio.get_running_loop().task = asyncio.create_task(asyncio.sleep(3600))

async def test_timeout(port):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()
"""


@pytest.fixture
def has_hook(pytest_asyncio):
    if not hasattr(sys.modules["pytest_asyncio.plugin"].PytestAsyncioSpecs, "pytest_asyncio_loop_factories"):
        pytest.skip("this pytest-asyncio has no hook for loop factories (pytest-asyncio>=1.4)")


@pytest.mark.parametrize("options", ((), ("--asyncio-debug",)), ids=("plain", "debug"))
def test_pytest_asyncio_hook_gives_poolios_loop(has_hook, tmp_path, options):
    (tmp_path / "conftest.py").write_text(textwrap.dedent(CONFTEST))
    (tmp_path / "test_it.py").write_text(textwrap.dedent(TESTS))
    scope = "asyncio_default_fixture_loop_scope=function"
    command = (
        sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-o", scope, *options, tmp_path)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 0 and "10 passed" in done.stdout, done.stdout + done.stderr
