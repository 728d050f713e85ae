"""Owns loops that callbacks and tasks may run, as with nest_asyncio: until(), and nesting() for async tests.

It knows nothing of transports. Called by wire/test_nested_loops.py.

asyncio's loops take it ill if their callbacks run elsewhere meanwhile: IndexError, as their list is empty sooner than
they thought. uvloop can't be run by its callbacks.
"""

import asyncio
import contextlib
import inspect

import pytest

import poolio
from kit.wires import OURS, OWN_TRANSPORTS, _own_transports


class Tolerant:
    def _run_once(self):
        with contextlib.suppress(IndexError):
            super()._run_once()


class TolerantLoop(Tolerant, asyncio.SelectorEventLoop):
    """asyncio's."""


class TolerantEventLoop(Tolerant, poolio.EventLoop):
    """poolio's."""


NESTING_OURS = tuple(name for name in OURS if name != "poolio-on-uvloop")


def until(condition, turns=1000):
    """Run the loop in a callback or a task until the condition holds; AssertionError if it does not in some turns."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    if task is not None:
        asyncio.tasks._leave_task(loop, task)
    try:
        for _ in range(turns):
            if condition():
                return
            loop.call_soon(int)             # so that no turn waits
            loop._run_once()
        raise AssertionError("it has not come in the loop that a callback runs")
    finally:
        if task is not None:
            asyncio.tasks._enter_task(loop, task)


def nesting(*loop_names):
    """Run an async test on such loops; the exception handler must hear of nothing."""
    def decorate(test):
        parameters = inspect.signature(test).parameters.values()

        def wrapped(loop_name, **arguments):
            async def main():
                _own_transports.set(loop_name in OWN_TRANSPORTS)
                await asyncio.wait_for(test(**arguments), 20)

            errors = []
            with asyncio.Runner(
                    loop_factory=TolerantEventLoop if loop_name == "poolio" else TolerantLoop) as runner:
                runner.get_loop().set_exception_handler(lambda loop, context: errors.append(context))
                runner.run(main())
            assert errors == []

        first = inspect.Parameter("loop_name", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        wrapped.__name__, wrapped.__doc__, wrapped.__module__ = test.__name__, test.__doc__, test.__module__
        wrapped.__signature__ = inspect.Signature([first, *parameters])
        return pytest.mark.parametrize("loop_name", loop_names)(wrapped)
    return decorate
