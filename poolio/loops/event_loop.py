"""Owns poolio.EventLoop: asyncio's selector loop with poolio's queue, selector and transports; and `run()`.

Refuses to know how transports are made (adapter) and how events are waited for (wire.selector). Called by user code, by
asyncio.Runner and by the workers.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Literal, TypeVar

from poolio.loops.adapter import AdaptedLoop
from poolio.loops.core import LoopCore
from poolio.loops.handles import Handle
from poolio.loops.server import serve_within
from poolio.memory.methods import own_methods
from poolio.wire.limits import Limits
from poolio.wire.selector import Selector

__all__ = ["EventLoop", "new_event_loop", "run"]

T = TypeVar("T")


class EventLoop(LoopCore, AdaptedLoop):
    """The standard SelectorEventLoop with poolio's queue, timers, selector and socket transports. Linux only.

    Use it as `asyncio.Runner(loop_factory=poolio.EventLoop)`, or with `poolio.run()`. Every library on asyncio gets
    poolio's transports, unchanged.
    """

    _handle_type = Handle

    def __init__(self) -> None:
        selector = Selector()
        self._reactor = selector.reactor
        self._reactor.adapter = self
        self._listeners = {}
        super().__init__(selector)
        selector.serve(self)

    async def create_server(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: Any = None, port: int | None = None, *,
        start_serving: bool = True, max_connections: int | None = None, when_full: Literal["wait", "refuse"] = "wait",
        idle_timeout: float | None = None, first_frame_timeout: float | None = None, **options: Any,
    ) -> asyncio.Server:
        """asyncio's create_server(). With a limit of poolio.create_server() the server is poolio's, too."""
        limits = Limits(max_connections=max_connections, when_full=when_full, idle_timeout=idle_timeout,
                        first_frame_timeout=first_frame_timeout)
        plain = await super().create_server(
            protocol_factory, host, port, start_serving=start_serving and not limits.is_set, **options)
        return await serve_within(limits, self, plain, start_serving) if limits.is_set else plain

    async def create_unix_server(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], path: Any = None, *, start_serving: bool = True,
        max_connections: int | None = None, when_full: Literal["wait", "refuse"] = "wait",
        idle_timeout: float | None = None, first_frame_timeout: float | None = None, **options: Any,
    ) -> asyncio.Server:
        """asyncio's create_unix_server(), with limits as create_server()."""
        limits = Limits(max_connections=max_connections, when_full=when_full, idle_timeout=idle_timeout,
                        first_frame_timeout=first_frame_timeout)
        plain = await super().create_unix_server(
            protocol_factory, path, start_serving=start_serving and not limits.is_set, **options)
        return await serve_within(limits, self, plain, start_serving) if limits.is_set else plain

    def set_debug(self, enabled: bool) -> None:
        super().set_debug(enabled)
        self._reactor.in_debug = enabled

    def close(self) -> None:
        super().close()
        self._forget_listeners()

    def _after_fork(self) -> None:
        """Called by the reactor in the child of a fork: it needs descriptors of its own to be woken by.

        asyncio has taken the signals from the loop. If the loop goes on in the child, it gets them back.
        """
        if self.is_closed():
            return
        self._renew_descriptors()
        self._close_self_pipe()  # type: ignore[attr-defined]
        self._make_self_pipe()  # type: ignore[attr-defined]
        if self._signal_handlers:  # type: ignore[attr-defined]
            with suppress(RuntimeError):  # debug mode: it runs in a thread that the child has not
                self.call_soon(self._take_signals)

    def _take_signals(self) -> None:
        with suppress(ValueError):  # signals are the main thread's
            signal.set_wakeup_fd(self._csock.fileno())  # type: ignore[attr-defined]


own_methods(EventLoop)


def new_event_loop() -> EventLoop:
    """Make an EventLoop, for `loop_factory=`; close it at the end. NotImplementedError where there is no epoll."""
    return EventLoop()


def run(main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
    """Run a coroutine to its end and return its result, as asyncio.run() does, on a new poolio.EventLoop.

    RuntimeError if a loop is running already; NotImplementedError on systems without epoll.
    """
    if asyncio._get_running_loop() is not None:  # a loop that is made here could not be closed in order
        raise RuntimeError("poolio.run() cannot be called from a running event loop")
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)
