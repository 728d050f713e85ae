import asyncio
import sys
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple, Unpack

from poolio.wire.schedule import Schedule

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

class LoopCore(Schedule):
    _closed: bool
    _thread_id: int | None
    _clock_resolution: float
    def get_debug(self) -> bool: ...
    def is_closed(self) -> bool: ...
    def is_running(self) -> bool: ...
    def stop(self) -> None: ...
    def time(self) -> float: ...
    def create_future(self) -> asyncio.Future[Any]: ...
    if sys.version_info >= (3, 13):
        def create_task(
            self, coro: Coroutine[Any, Any, _T], *, name: object = None, context: Context | None = None,
            eager_start: bool | None = None,
        ) -> asyncio.Task[_T]: ...
    else:
        def create_task(
            self, coro: Generator[Any, None, _T] | Coroutine[Any, Any, _T], *, name: object = None,
            context: Context | None = None,
        ) -> asyncio.Task[_T]: ...
    def call_soon(
        self, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: Context | None = None,
    ) -> asyncio.Handle: ...
    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: Context | None = None,
    ) -> asyncio.Handle: ...
    def call_later(
        self, delay: float, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle: ...
    def call_at(
        self, when: float, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle: ...
    def run_forever(self) -> None: ...
    def _renew_descriptors(self) -> None: ...
