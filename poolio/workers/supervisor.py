"""Owns `serve()`: a worker process for each core, and the parent, which is the process that called serve().

Refuses to know what a worker does (worker) and how sockets are bound (sockets). Called by user code. The parent has no
loop and no threads, only forks, signals and pipes, so that a fork copies nothing that could be half done.

    parent   keeps every socket open, and never accepts;       slot 0: sockets -> worker -> a successor, for a while
             learns of a death by SIGCHLD, of the rest by      slot 1: sockets -> worker
             a pipe from each worker (see worker)              ...

A worker that dies takes with it what it had accepted. Its listening socket is the parent's too, so the queue stays, and
connections that come meanwhile join it: the next worker of the slot accepts them all. As no socket leaves or joins the
group, the kernel sends a flow of datagrams to the same slot throughout. (Linux can move a closed socket's queue to
others of its group, but only with `net.ipv4.tcp_migrate_req`, which is off.) The price: while a slot is empty, its
share of the new connections waits.

When serve() is to end, the kernel is told to begin no more connections, workers accept what is left and report it, and
only then does the parent close its sockets. A slot that is empty just then gets a worker once more, and a worker that
is not ready yet may become ready. If it fails, or dies before it has accepted all, what waits in its queue is reset.
"""

import asyncio
import contextlib
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from poolio.loops.event_loop import new_event_loop
from poolio.wire.limits import Limits
from poolio.workers.sockets import Address, BoundSocket, bind, refuse_new
from poolio.workers.worker import CLOSED, FAILED, READY, Worker

__all__ = ["serve"]

App = Callable[..., Any]

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD) if sys.platform != "win32" else ()
MAX_WORKERS = 1024
# A worker that lives less than this has failed at once: the restart delay doubles.
STABLE_SECONDS = 10.0
FIRST_DELAY, MAX_DELAY = 0.1, 5.0
# A worker has this long beyond its deadline to cut what is open; then it is killed.
KILL_SECONDS = 3.0
MAX_WAIT = 3600.0  # seconds: the longest that poll() is asked to wait, as it cannot take every number
READ_BYTES = 65536

logger = logging.getLogger("poolio.serve")


def serve(
    app: App, *addresses: Address, workers: int | None = None, grace: float = 30.0, backlog: int = 2048,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = new_event_loop,
    on_ready: Callable[..., object] | None = None, max_connections: int | None = None,
    when_full: Literal["wait", "refuse"] = "wait", idle_timeout: float | None = None,
    first_frame_timeout: float | None = None,
) -> None:
    """Serve on several cores, with a process for each, and return after SIGTERM or Ctrl-C. What dies is replaced.

    app           called in each worker, on its loop, with a socket for each address. It returns an async context
                  manager, or an awaitable of one, such as `create_server(..., sock=sock)`. The worker is ready when it
                  has entered the context, and leaves it to stop
    addresses     'HOST:PORT' (port 0 takes a free one), 'udp:HOST:PORT', 'unix:PATH', or a socket that is bound
                  already, which is shared by the workers and stays open
    workers       how many, 1 to 1024; if it is None, as many as this process has cores
    grace         seconds that connections have to end by themselves when a worker stops; then they are cut
    backlog       connections that may wait to be accepted, for each worker
    loop_factory  makes a worker's loop
    on_ready      called in the process that called serve(), with a socket for each address, when all workers serve. An
                  exception of it ends the workers as SIGTERM does, and is then raised by serve()
    max_connections, when_full, idle_timeout, first_frame_timeout
                  limits of poolio.create_server(), for each server that the app makes on these sockets with poolio's
                  transports, and has not given that limit itself. They are for each worker: together N workers have N
                  times as many connections

    SIGTERM and SIGINT end it; a second one ends it at once. SIGHUP replaces one worker after the other, and loses no
    connection. A worker that dies is replaced at once. If the new one dies within 10 seconds, the next one starts after
    a delay of 0.1 s, which doubles each time, up to 5 s. What happens is logged to 'poolio.serve'.

    OSError if an address can't be bound, ValueError if a text is no address or a number out of its range, TypeError if
    a limit is no number. RuntimeError if a worker fails to start; its traceback is a note of the error, and the other
    workers are ended. RuntimeError also if this is not the main thread, if other threads or a loop run in this process,
    or where workers can't share an address (more than one worker anywhere but on Linux).
    """
    if workers is None:
        workers = _cores()
    if not 1 <= workers <= MAX_WORKERS:
        raise ValueError(f"workers must be 1 to {MAX_WORKERS}, not {workers}")
    if not addresses:
        raise ValueError("serve() needs an address")
    if not grace >= 0:
        raise ValueError(f"grace must be 0 seconds or more, not {grace}")
    limits = Limits(max_connections=max_connections, when_full=when_full, idle_timeout=idle_timeout,
                    first_frame_timeout=first_frame_timeout)
    _check_surroundings(workers)
    with contextlib.ExitStack() as stack:
        columns: list[list[socket.socket]] = []
        for address in addresses:
            columns.append(bind(address, workers))
            stack.callback(_end, columns[-1])
        slots = [Slot(number, list(row)) for number, row in enumerate(zip(*columns, strict=True))]

        def make_worker(slot: Slot, parent: int, reports: int) -> Worker:
            return Worker(app, slot.sockets, parent=parent, reports=reports, grace=grace, backlog=backlog,
                          loop_factory=loop_factory, limits=limits)

        Supervisor(slots, make_worker, grace, on_ready).run()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _check_surroundings(workers: int) -> None:
    if not hasattr(os, "fork"):
        raise RuntimeError(f"serve() forks its workers, which {sys.platform} can't")
    if workers > 1 and sys.platform != "linux":
        raise RuntimeError(f"serve() with {workers} workers needs Linux, whose SO_REUSEPORT spreads connections over "
                           f"them; on {sys.platform} use workers=1")
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("serve() handles signals: call it in the main thread")
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("serve() runs loops in processes of its own: call it where none runs")
    others = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
    if others:
        raise RuntimeError(f"serve() forks, which is safe only without other threads; {', '.join(others)} should be "
                           "started by app")


class Child:
    """A worker's process, as its parent sees it."""

    def __init__(self, slot: "Slot", pid: int, reports: int) -> None:
        self.slot = slot
        self.pid = pid
        self.reports = reports  # the reading end; -1 once it is closed
        self.since = time.monotonic()
        self.is_ready = False
        self.has_closed = False
        self.was_told = False
        self.reason: bytes | None = None
        self.kill_at: float | None = None

    def __str__(self) -> str:
        return f"worker {self.slot.number} ({self.pid})"

    def read(self) -> None:
        """Read what the worker has reported."""
        while self.reports != -1:
            try:
                data = os.read(self.reports, READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                self.hang_up()
            elif self.reason is not None:
                self.reason += data
            else:
                told, failed, reason = data.partition(FAILED)
                self.is_ready |= READY in told
                self.has_closed |= CLOSED in told
                if failed:
                    self.reason = reason

    def hang_up(self) -> None:
        os.close(self.reports)
        self.reports = -1

    def stop(self, seconds: float) -> None:
        """Tell the worker to end within so many seconds. KILL_SECONDS later it is killed."""
        self.tell()
        self.stop_when_ready(seconds)

    def stop_when_ready(self, seconds: float) -> None:
        """Like stop(), but the worker is told only when it is ready, and can accept what waits in its queue."""
        self.kill_at = time.monotonic() + seconds + KILL_SECONDS

    def tell(self) -> None:
        if not self.was_told:
            self.was_told = True
            os.kill(self.pid, signal.SIGTERM)

    def how_it_ended(self, status: int) -> str:
        if self.reason is not None:
            return self.reason.decode(errors="replace").rstrip()
        if status < 0:
            return f"killed by {signal.Signals(-status).name}"
        return f"ended with status {status}"


class Slot:
    """A worker's place: the sockets of its number, the worker that serves them, and when the next one starts."""

    def __init__(self, number: int, sockets: list[socket.socket]) -> None:
        self.number = number
        self.sockets = sockets
        self.worker: Child | None = None
        self.successor: Child | None = None  # it is not ready yet: until it is, the worker goes on
        self.deaths = 0  # in a row, each within STABLE_SECONDS but the first
        self.fill_at: float | None = None

    def is_starting(self) -> bool:
        return self.successor is not None or (self.worker is not None and not self.worker.is_ready)

    def next_delay(self, child: Child) -> float:
        """Return the seconds until the next worker may start, after this one has died."""
        if time.monotonic() - child.since >= STABLE_SECONDS:
            self.deaths = 0
        self.deaths += 1
        return 0.0 if self.deaths == 1 else min(FIRST_DELAY * 2.0 ** (self.deaths - 2), MAX_DELAY)


class Supervisor:
    """The parent's part: `run()` returns when all workers have ended."""

    def __init__(
        self, slots: Sequence[Slot], make_worker: Callable[[Slot, int, int], Worker], grace: float,
        on_ready: Callable[..., object] | None,
    ) -> None:
        self.slots = slots
        self.make_worker = make_worker
        self.grace = grace
        self.on_ready = on_ready
        self.children: list[Child] = []
        self.rolling: list[Slot] = []  # slots whose workers are still to be replaced
        self.is_started = False
        self.is_stopping = False
        self.failure: tuple[Child, str] | None = None
        self.error: BaseException | None = None  # what on_ready() has raised

    def run(self) -> None:
        self.alive, self.alive_here = os.pipe()
        self.bell, self.button = socket.socketpair()
        try:
            with _signals_ring(self.button):
                try:
                    for slot in self.slots:
                        slot.worker = self._fork(slot)
                    while self.children or any(slot.fill_at for slot in self.slots):
                        self._turn()
                finally:
                    self._kill_all()
        finally:
            os.close(self.alive)
            os.close(self.alive_here)
            self.bell.close()
            self.button.close()
        if self.failure is not None:
            self._raise(*self.failure)
        if self.error is not None:
            raise self.error

    def _raise(self, child: Child, how: str) -> None:
        error = RuntimeError(f"worker {child.slot.number} of {len(self.slots)} failed to start: {how.splitlines()[-1]}")
        if child.reason is not None:
            error.add_note(f"In the worker:\n{how}")
        raise error

    # Forking

    def _fork(self, slot: Slot) -> Child:
        _flush()
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        # Until the child has its own handlers, a signal to it would ring the parent's bell.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                self._be_worker(slot, reading, writing, blocked)
        except OSError:
            os.close(reading)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            os.close(writing)
        child = Child(slot, pid, reading)
        self.children.append(child)
        logger.info("%s starts", child)
        return child

    def _be_worker(self, slot: Slot, reading: int, writing: int, blocked: "set[int | signal.Signals]") -> None:
        """Live the child's life. Its process ends in here, so it never runs the parent's `finally` and atexit."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in SIGNALS:  # Ctrl-C and a hangup reach all processes of a terminal: only the parent acts
                signal.signal(number, signal.SIG_IGN if number in (signal.SIGINT, signal.SIGHUP) else signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            os.close(self.alive_here)
            os.close(reading)
            self.bell.close()
            self.button.close()
            for child in self.children:
                if child.reports != -1:
                    child.hang_up()
            for other in self.slots:
                for sock in other.sockets:
                    if sock not in slot.sockets:
                        sock.close()
            status = self.make_worker(slot, self.alive, writing).run()
            _flush()
        finally:
            os._exit(status)

    def _fill(self, slot: Slot) -> None:
        slot.fill_at = None
        slot.worker = self._fork_or_not(slot)
        if slot.worker is None:
            slot.fill_at = time.monotonic() + MAX_DELAY

    def _fork_or_not(self, slot: Slot) -> Child | None:
        try:
            return self._fork(slot)
        except OSError as exc:
            logger.error("worker %d: cannot start one: %s", slot.number, exc)
            return None

    # One turn

    def _turn(self) -> None:
        poller = select.poll()
        poller.register(self.bell, select.POLLIN)
        for child in self.children:
            if child.reports != -1:
                poller.register(child.reports, select.POLLIN)
        poller.poll(self._milliseconds())
        with contextlib.suppress(BlockingIOError):
            for number in self.bell.recv(READ_BYTES, socket.MSG_DONTWAIT):
                self._signalled(number)
        for child in list(self.children):
            child.read()
            self._told(child)
        for child in list(self.children):
            self._reap(child)
        self._roll()
        self._keep_time()
        if self.is_stopping and all(child.has_closed for child in self.children):
            for slot in self.slots:
                _end(slot.sockets)

    def _milliseconds(self) -> float | None:
        times = [child.kill_at for child in self.children] + [slot.fill_at for slot in self.slots]
        next_time = min((at for at in times if at is not None), default=None)
        return None if next_time is None else min(max(0.0, next_time - time.monotonic()), MAX_WAIT) * 1000 + 1

    def _signalled(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            if self.is_stopping:
                logger.warning("%s again: ended at once", signal.Signals(number).name)
                self._kill_all()
            else:
                self._stop(self.grace)
                logger.info("%s: no new connections, %g s for the others", signal.Signals(number).name, self.grace)
        elif number == signal.SIGHUP and self.is_started and not self.is_stopping:
            logger.info("SIGHUP: replacing the workers one by one")
            self.rolling = list(self.slots)

    def _told(self, child: Child) -> None:
        slot = child.slot
        if self.is_stopping:
            if child.is_ready:
                child.tell()
        elif child is slot.successor and child.is_ready:
            before, slot.worker, slot.successor = slot.worker, child, None
            if before is not None:
                before.stop(self.grace)
        elif child is slot.worker and child.has_closed:
            # another process has told it to stop: now nobody serves its queue
            child.stop(self.grace)
            slot.worker, slot.successor = slot.successor, None
            if slot.worker is None:
                self._fill(slot)
        elif not self.is_started and all(slot.worker and slot.worker.is_ready for slot in self.slots):
            self._started()

    def _started(self) -> None:
        self.is_started = True
        logger.info("%d workers serve", len(self.slots))
        if self.on_ready is None:
            return
        try:
            self.on_ready(*self.slots[0].sockets)
        except BaseException as exc:
            self.error = exc
            self._stop(self.grace)
            logger.error("on_ready() failed: no new connections, %g s for the others: %r", self.grace, exc)

    def _reap(self, child: Child) -> None:
        pid, status = os.waitpid(child.pid, os.WNOHANG)
        if pid == 0:
            return
        child.was_told = True  # its process id may be another process's by now
        child.read()
        self._told(child)
        if child.reports != -1:
            child.hang_up()
        self.children.remove(child)
        self._ended(child, os.waitstatus_to_exitcode(status))

    def _ended(self, child: Child, status: int) -> None:
        slot, how = child.slot, child.how_it_ended(status)
        is_worker, is_successor = child is slot.worker, child is slot.successor
        if is_worker:
            slot.worker, slot.successor = slot.successor, None
        if self.failure is not None:
            logger.debug("%s: %s", child, how)  # one failure is raised, and these may be the same
        elif self.is_stopping or not (is_worker or is_successor):
            logger.log(logging.ERROR if status else logging.INFO, "%s: %s", child, how)
        elif is_successor:
            slot.successor = None
            self.rolling = []
            logger.error("%s did not start, so those before it stay: %s", child, how)
        elif not self.is_started:
            self.failure = child, how
            self._stop(0)
        elif slot.worker is not None:
            logger.error("%s died, its successor starts already: %s", child, how)
        else:
            delay = slot.next_delay(child)
            logger.error("%s died, the next one in %g s: %s", child, delay, how)
            slot.fill_at = time.monotonic() + delay

    def _keep_time(self) -> None:
        now = time.monotonic()
        for slot in self.slots:
            if slot.fill_at is not None and slot.fill_at <= now:
                self._fill(slot)
        for child in self.children:
            if child.kill_at is not None and child.kill_at <= now:
                logger.warning("%s has not ended in time: killed", child)
                child.kill_at = None
                os.kill(child.pid, signal.SIGKILL)

    # Replacing and ending

    def _roll(self) -> None:
        """Start the next successor, when every worker is ready and no other successor is under way."""
        while self.rolling and not any(slot.is_starting() for slot in self.slots):
            slot = self.rolling.pop(0)
            if slot.worker is None:
                slot.fill_at = time.monotonic()
            else:
                slot.successor = self._fork_or_not(slot)

    def _stop(self, seconds: float) -> None:
        self.is_stopping = True
        self.rolling = []
        for slot in self.slots:
            for sock in slot.sockets:
                refuse_new(sock)
        for slot in self.slots:
            if slot.worker is None and self.is_started:
                self._fill(slot)
            slot.fill_at = None
        for child in self.children:
            if self.is_started and child is child.slot.worker and not child.is_ready:
                child.stop_when_ready(seconds)
            else:
                child.stop(seconds)

    def _kill_all(self) -> None:
        for child in self.children:
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
            if child.reports != -1:
                child.hang_up()
        self.children.clear()


def _end(sockets: Sequence[socket.socket]) -> None:
    for sock in sockets:
        if isinstance(sock, BoundSocket):
            refuse_new(sock)
            sock.close()


def _flush() -> None:
    """Write what is buffered, so that no two processes print it. What can't be written is left out."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # it is None if its descriptor was closed when Python started
            with contextlib.suppress(OSError, ValueError):
                stream.flush()


@contextlib.contextmanager
def _signals_ring(button: socket.socket) -> Iterator[None]:
    """Let each of SIGNALS ring: its number is written to `button` as a byte. Afterwards all is as before."""
    button.setblocking(False)
    fd = signal.set_wakeup_fd(button.fileno(), warn_on_full_buffer=False)
    before = {number: signal.signal(number, _nothing) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(fd)


def _nothing(*_: object) -> None:
    """Do nothing: the bell has rung already."""
