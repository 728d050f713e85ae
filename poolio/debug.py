"""Owns what the environment can switch on, and what POOLIO_DEBUG=1 knows: where each allocation was made, and which
pools still have some at exit.

Knows no pool and no Buffer: a site is a tuple of text lines, a pool is whatever has `report()` and `statistics()`.
Called by pool when it is loaded and when a pool is made, by allocation for each allocation of a pool that is being
debugged, and at exit.
"""

import atexit
import gc
import os
import sys
import warnings
import weakref
from types import FrameType
from typing import Any, Protocol

# How many callers are shown for an allocation: enough to see beyond a helper and a protocol's callback, few enough to
# keep.
DEPTH = 8


class Reporting(Protocol):
    def report(self) -> str: ...
    def statistics(self) -> Any: ...


_watched: weakref.WeakSet[Reporting] = weakref.WeakSet()


def is_set(variable: str) -> bool:
    """Is this environment variable set to something other than 0?"""
    return os.environ.get(variable, "") not in ("", "0")


def site() -> tuple[str, ...]:
    """Return the Python callers of this moment, innermost first, DEPTH at most. Empty if there are none."""
    frame: FrameType | None = sys._getframe().f_back
    lines: list[str] = []
    while frame is not None and len(lines) < DEPTH:
        lines.append(f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}")
        frame = frame.f_back
    return tuple(lines)


def watch(pool: Reporting) -> None:
    """Warn at exit if this pool still has live allocations."""
    _watched.add(pool)


@atexit.register
def _warn_at_exit() -> None:
    if _watched:
        gc.collect()
    for pool in tuple(_watched):
        count = pool.statistics().live_allocations
        if count:
            # explicit, because a line of this file would say nothing to the reader
            warnings.warn_explicit(f"{count} allocation(s) never dropped\n{pool.report()}", RuntimeWarning, "poolio", 0)
