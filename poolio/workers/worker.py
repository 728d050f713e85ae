"""Owns the life of one worker, in its own process: the app's start, its end within the deadline, the reports.

Refuses to know its siblings and its successors. Called by the supervisor in the child, just after the fork.

The worker reports to the parent over a pipe, in single bytes: READY, then CLOSED when it accepts no more, or FAILED
with the reason behind it. It stops at SIGTERM, and when the parent has ended: only the parent has the writing end of
another pipe, which ends then.
"""

import asyncio
import contextlib
import inspect
import logging
import os
import signal
import socket
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from poolio.loops.adapter import shared_sockets
from poolio.wire.limits import Limits
from poolio.workers.sockets import refuse_new, until_queues_are_empty

__all__ = ["CLOSED", "FAILED", "READY", "Worker"]

READY, CLOSED, FAILED = b"r", b"c", b"f"
MAX_REASON = 32768  # bytes: half of a pipe's room, so that a report never waits
# What is cancelled at the deadline has that long to end.
CANCEL_SECONDS = 1.0

logger = logging.getLogger("poolio.serve")


class Worker:
    """One worker: `run()` returns the status that its process ends with.

    app      called with `sockets`: returns an async context manager, or an awaitable of one
    parent   the reading end of the pipe that ends with the parent
    reports  the writing end of the pipe to the parent
    grace    seconds that the app has to end, after it has accepted what was in the queues; then it is cut
    limits   for each server on these sockets, as far as it has none of its own
    """

    def __init__(
        self, app: Callable[..., Any], sockets: Sequence[socket.socket], *, parent: int, reports: int, grace: float,
        backlog: int, loop_factory: Callable[[], asyncio.AbstractEventLoop], limits: Limits,
    ) -> None:
        self.app = app
        self.sockets = sockets
        self.parent = parent
        self.reports = reports
        self.grace = grace
        self.backlog = backlog
        self.loop_factory = loop_factory
        self.limits = limits
        self.manager: Any = None  # what the app has returned; None until that is entered

    def run(self) -> int:
        shared_sockets.update((sock, self.limits) for sock in self.sockets)
        try:
            with asyncio.Runner(loop_factory=self.loop_factory) as runner:
                runner.run(self._main())
        except BaseException as exc:
            reason = "".join(traceback.format_exception(exc)).encode(errors="replace")
            self._tell(FAILED + reason[-MAX_REASON:])
            return 1
        return 0

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        self.stopping, self.leaving = asyncio.Event(), asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, self.stopping.set)
        loop.add_reader(self.parent, self._parent_ended)
        life = loop.create_task(self._live())
        stop = loop.create_task(self.stopping.wait())
        await asyncio.wait((life, stop), return_when=asyncio.FIRST_COMPLETED)
        if not life.done():
            await self._end(life)
        # It ends by itself now. The loop takes the handler away at its end, and the parent may still send a SIGTERM.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
        stop.cancel()
        if life.done() and not life.cancelled():
            life.result()

    def _parent_ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self.parent)
        for sock in self.sockets:
            refuse_new(sock)
        self.stopping.set()

    async def _live(self) -> None:
        manager = self.app(*self.sockets)
        if inspect.isawaitable(manager):
            manager = await manager
        if not hasattr(manager, "__aenter__"):
            raise TypeError(f"app() must return an async context manager, such as a server, not {manager!r}")
        async with manager:
            for sock in self.sockets:
                if sock.fileno() != -1 and sock.type == socket.SOCK_STREAM:
                    sock.listen(self.backlog)  # instead of what the app's server has set
            self.manager = manager  # it is ready
            self._tell(READY)
            await self.leaving.wait()

    async def _end(self, life: "asyncio.Task[None]") -> None:
        """Accept what is in the queues, then let the app end, and cut it at the deadline. A start is cut at once."""
        if self.manager is not None:
            await until_queues_are_empty(self.sockets)
            self._tell(CLOSED)
            self.leaving.set()
            await asyncio.wait((life,), timeout=self.grace)
            if life.done():
                return
            logger.warning("worker (%d): cut what has not ended within %g s", os.getpid(), self.grace)
            if hasattr(self.manager, "abort_clients"):
                self.manager.abort_clients()
        life.cancel()
        await asyncio.wait((life,), timeout=CANCEL_SECONDS)

    def _tell(self, message: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):  # the parent has ended
            os.write(self.reports, message)
