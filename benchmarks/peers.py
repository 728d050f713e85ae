"""Which event loops are compared where only the loop is another one? Those of LOOPS; what is not installed is left out.

Each row is a loop, and each loop has a module with new_event_loop(). Parts: loop.py, programs.py.
"""

import asyncio
import importlib
from collections.abc import Callable
from typing import cast

BASE, OWN = "asyncio", "poolio.EventLoop"
LOOPS = {
    BASE: "asyncio", "uvloop": "uvloop", "rloop": "rloop", OWN: "poolio",
    **{name: name for name in ("blazio", "loopmini", "veloxloop", "zloop")},
}
USUAL = (BASE, "uvloop", "rloop", OWN)  # of a quick run


def factory(row: str) -> Callable[[], asyncio.AbstractEventLoop]:
    return cast(Callable[[], asyncio.AbstractEventLoop], importlib.import_module(LOOPS[row]).new_event_loop)
