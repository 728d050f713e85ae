"""nest_asyncio on poolio.EventLoop, unchanged: callbacks and tasks run the loop that runs them.

It puts methods of its own into the loop's class, and asyncio's Python tasks and futures in place of the compiled ones,
for good; so each test is a program of its own.
"""

import subprocess
import sys
import textwrap

import pytest
from kit.libraries import library

nest_asyncio = library("nest_asyncio")
pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="nest_asyncio 1.6 asks for asyncio's policies, of which CPython 3.14 warns")
HEAD = """
import asyncio
import random
import nest_asyncio
import poolio

loop = poolio.EventLoop()
asyncio.set_event_loop(loop)
nest_asyncio.apply(loop)
nested = loop.run_until_complete
"""


def run_program(body):
    program = HEAD + textwrap.dedent(body) + "\nloop.close()\nprint('whole')\n"
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "whole\n", "")


def test_nest_asyncio_task_runs_the_loop_ten_deep(nest_asyncio):
    run_program("""
        async def down(depth):
            await asyncio.sleep(0.001)
            return nested(down(depth - 1)) + 1 if depth else await loop.run_in_executor(None, int)

        assert nested(down(10)) == 10
        assert asyncio.run(down(3)) == 3
    """)


def test_nest_asyncio_timers_run_in_order_in_nested_loops(nest_asyncio):
    """Its heappop() takes timers out of poolio's heap; others are cancelled meanwhile."""
    run_program("""
        shuffle, ran = random.Random(1), []

        async def inner():
            start = loop.time()
            numbers = shuffle.sample(range(500), 500)
            timers = [loop.call_at(start + number / 1e4, ran.append, number) for number in numbers]
            left = [timer for timer in timers if shuffle.random() < 0.5 or timer.cancel()]
            await asyncio.sleep(0.02)
            for timer in shuffle.sample(left, len(left)):
                if timer.when() > start + 0.04 and shuffle.random() < 0.5:
                    timer.cancel()
            await asyncio.sleep(0.04)
            assert ran == sorted(ran) == [round((timer.when() - start) * 1e4) for timer in
                                          sorted(left, key=lambda timer: timer.when()) if not timer.cancelled()]

        async def outer():
            timer = loop.call_later(3600, print)
            nested(inner())
            timer.cancel()

        nested(outer())
        assert loop._scheduled == []
    """)


def test_nest_asyncio_streams_go_on_in_a_nested_loop(nest_asyncio):
    run_program("""
        async def echo(reader, writer):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.close()

        async def ask(port, message):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert type(writer.transport).__module__ == "poolio.wire.stream"
            writer.write(message)
            writer.write_eof()
            assert await reader.read() == message
            writer.close()
            await writer.wait_closed()

        async def main():
            server = await asyncio.start_server(echo, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            nested(asyncio.gather(*(ask(port, b"x" * 100_000 * number) for number in range(5))))
            await ask(port, b"after")
            server.close()
            await asyncio.sleep(0)

        nested(main())
    """)


def test_nest_asyncio_errors_pass_through_a_nested_loop(nest_asyncio):
    run_program("""
        async def fail():
            await asyncio.sleep(0)
            raise ValueError("mine")

        async def main():
            try:
                nested(fail())
            except ValueError as error:
                return str(error)

        assert nested(main()) == "mine"
        seen = []
        loop.set_exception_handler(lambda loop, context: seen.append(context["exception"]))
        loop.call_soon(lambda: 1 / 0)
        nested(asyncio.sleep(0.001))
        assert [type(error) for error in seen] == [ZeroDivisionError]
    """)
