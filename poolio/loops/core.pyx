"""Owns the compiled half of poolio.EventLoop: its queue of callbacks, its timers, its clock, and one turn of the loop.

Refuses to know descriptors (wire.selector) and transports. Called by user code, by asyncio's tasks and futures, by
asyncio's run_forever(), and by transports.

asyncio's loop in Python says what a turn is; this does the same in the same order:

    timers that are due next ─> how long may select() wait ─> select(): poolio's sources act, others' events are found
    ─> their callbacks, then the timers that are due, are put behind the queue ─> what is in the queue by now is run

Everything else stays asyncio's code, and finds its attributes here under their own names. Methods that a subclass, an
instance or a library replaces are obeyed: what asyncio calls as a method is called as a method, except from the fast
paths, which first ask whether it is still the one of this class.

A turn asks the kernel what is ready, which costs more than most callbacks. While the loop watches no descriptor but
those that wake it, there is nothing to ask for: threads put their callbacks into the queue themselves. So in
run_forever() turns follow each other without asking, for POLL_SECONDS at most, as a signal may have come. A loop that
watches a socket asks in each turn: an event that a callback causes comes before what is scheduled later, as on asyncio.
"""

import asyncio
import time
from asyncio import base_events, events, futures, tasks
from collections import deque
from selectors import EVENT_READ, EVENT_WRITE

from cpython.dict cimport PyDict_GetItemWithError
from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport Py_TYPE, PyObject, PyObject_GenericSetAttr, PyTypeObject
from libc.math cimport INFINITY, nextafter

from poolio.c.turns cimport (
    poolio_entry, poolio_in_type, poolio_learn_deque, poolio_length, poolio_monotonic, poolio_put_before,
    poolio_put_last, poolio_same_method, poolio_take_first, poolio_tuple_items, poolio_version,
)
from poolio.loops.handles cimport Handle, new_handle, run
from poolio.loops.timers cimport TimerHandle, first_is_cancelled, first_time, new_timer, take_timer
from poolio.wire.alarm cimport LONGEST_WAIT
from poolio.wire.schedule cimport Schedule
from poolio.wire.selector cimport SelectorCore

from poolio.wire.selector import Selector

# How late a signal handler of the loop's may be in a loop that watches nothing. An idle turn costs 1 us of it.
cdef double POLL_SECONDS = 50e-6

cdef object _base = base_events.BaseEventLoop
cdef object _monotonic = time.monotonic
cdef dict _time_names = time.__dict__
# Programs may put classes of their own into these modules. To look a name up here costs half of asking the module.
cdef dict _future_names = futures.__dict__, _task_names = tasks.__dict__, _event_names = events.__dict__
cdef tuple _context_names = ()  # of the last call that had a context: asyncio's futures and tasks share one tuple
cdef object _handle_run = events.Handle._run
cdef object _write_to_self = asyncio.SelectorEventLoop._write_to_self
cdef unsigned int _handle_version = 0
# What fast paths leave out, and call as methods once somebody has replaced one of them.
cdef frozenset REPLACEABLE = frozenset({
    "time", "call_at", "_call_soon", "_check_closed", "_process_events", "_add_callback",
})
# CPython 3.14: call_soon_threadsafe() returns a handle that other threads may cancel while it runs.
cdef object _thread_safe_handle = getattr(events, "_ThreadSafeHandle", None)

poolio_learn_deque(deque)


cdef class LoopCore(Schedule):
    """The compiled half of EventLoop: a base to stand before asyncio.SelectorEventLoop."""

    cdef public bint _closed
    cdef public object _thread_id
    cdef public object _task_factory
    cdef public object _selector
    cdef public double _clock_resolution
    cdef bint may_go_on             # turns may follow each other in one call of _run_once()
    cdef bint has_own               # the instance has, or had, a method of its own
    cdef unsigned int plain_version  # of the class, when is_plain() was last true

    def __setattr__(self, name, value):
        if name in REPLACEABLE or name == "_write_to_self":
            self.has_own = True
        PyObject_GenericSetAttr(self, name, value)

    def __cinit__(self, *args, **options):
        self._closed = True         # until asyncio has made the loop: if it can't be made, there is nothing to close

    # --- state --------------------------------------------------------------------------------------------

    def get_debug(self):
        return self._debug

    def is_closed(self):
        """Has close() been called?"""
        return self._closed

    def is_running(self):
        """Is somebody in run_forever() or run_until_complete()?"""
        return self._thread_id is not None

    def stop(self):
        """Let run_forever() return at the end of the turn. What is in the queue by then still runs in it."""
        self._stopping = True

    def _renew_descriptors(self):
        """Called in the child of a fork."""
        (<SelectorCore?>self._selector).renew_descriptors()

    def _check_closed(self):
        if self._closed:
            raise RuntimeError("Event loop is closed")

    def time(self):
        """The clock of call_at() and call_later(), in seconds: time.monotonic()."""
        return clock()

    def create_future(self):
        """Return a new asyncio.Future of this loop."""
        return (<object>PyDict_GetItemWithError(_future_names, "Future"))(loop=self)

    def create_task(self, coro, **options):
        """Return a task that runs the coroutine, made by the task factory if there is one.

        The options, `name` and `context` among them, are those of asyncio's create_task() on this CPython.
        """
        if self._debug or self._task_factory is not None:
            return _base.create_task(self, coro, **options)
        self._check_closed()
        return tasks.Task(coro, loop=self, **options)

    # --- callbacks ----------------------------------------------------------------------------------------

    def call_soon(self, callback, *args, context=None):
        """Put `callback(*args)` at the end of the queue, to be run in `context`, or in a copy of the current one.

        Returns its handle, which can cancel it. RuntimeError if the loop is closed.
        """
        self._check_closed()
        if self._debug:
            self._check_thread()
            self._check_callback(callback, "call_soon")
        return self._call_soon(callback, args, context)

    def _call_soon(self, callback, tuple args not None, context):
        return put_callback(
            self, <PyObject *>callback, poolio_tuple_items(<PyObject *>args), len(args), <PyObject *>context)

    def call_soon_threadsafe(self, callback, *args, context=None):
        """As call_soon(), from any thread: a loop that sleeps is woken."""
        self._check_closed()
        if self._debug:
            self._check_callback(callback, "call_soon_threadsafe")
        if _thread_safe_handle is None:
            handle = self._call_soon(callback, args, context)
        else:
            handle = _thread_safe_handle(callback, args, self, context)
            if handle._source_traceback:
                handle._source_traceback.pop()  # its own __init__()
            poolio_put_last(self._ready, handle)
        self._wake()
        return handle

    def _add_callback(self, handle):
        """Put a handle into the queue, unless it is cancelled."""
        if not handle._cancelled:
            poolio_put_last(self._ready, handle)

    def _process_events(self, event_list):
        """Put the handles of the descriptors that are ready into the queue."""
        for key, mask in event_list:
            reader, writer = key.data
            if mask & EVENT_READ and reader is not None:
                if reader._cancelled:
                    self._remove_reader(key.fileobj)
                else:
                    self._add_callback(reader)
            if mask & EVENT_WRITE and writer is not None:
                if writer._cancelled:
                    self._remove_writer(key.fileobj)
                else:
                    self._add_callback(writer)

    cdef int _wake(self) except -1:
        """Let the loop see what was added to its queue. If it runs, and does not sleep, it will."""
        if self._thread_id is None or type(self._selector) is not Selector or not is_plain(self):
            self._write_to_self()
        else:
            (<SelectorCore>self._selector).waker.wake()
        return 0

    # --- timers -------------------------------------------------------------------------------------------

    def call_later(self, delay, callback, *args, context=None):
        """Run `callback(*args)` once, `delay` seconds from now. Returns its handle, which has cancel() and when()."""
        if delay is None:
            raise TypeError("delay must not be None")
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(self, when, callback, *args, context=None):
        """As call_later(), at the time `when` of the loop's clock. Nothing is said about the order of equal times."""
        if when is None:
            raise TypeError("when cannot be None")
        self._check_closed()
        if self._debug:
            self._check_thread()
            self._check_callback(callback, "call_at")
        return new_timer(
            self, when, <PyObject *>callback, poolio_tuple_items(<PyObject *>args), len(args), <PyObject *>context)

    # --- turns --------------------------------------------------------------------------------------------

    def run_forever(self):
        """Run turns until one ends after stop()."""
        before = self.may_go_on
        self.may_go_on = not is_replaced(self, "_run_once")
        try:
            super(LoopCore, self).run_forever()
        finally:
            self.may_go_on = before

    def _run_once(self):
        """One turn, as the head of this file draws it; more of them if nothing has to be asked for in between."""
        cdef bint may_go_on = self.may_go_on
        cdef double leave
        self.may_go_on = False              # a callback that calls _run_once() wants one turn
        try:
            self._select(self._longest_wait())
            self._put_due_timers()
            self._run_ready()
            leave = poolio_monotonic() + POLL_SECONDS
            while may_go_on and self._asks_nobody() and poolio_monotonic() < leave:
                self._put_due_timers()
                if poolio_length(self._ready) == 0:
                    break
                PyErr_CheckSignals()
                self._run_ready()
        finally:
            self.may_go_on = may_go_on

    cdef bint _asks_nobody(self) except -1:
        """True if there is nothing to ask the kernel for before the next turn."""
        if self._stopping or self._debug or type(self._selector) is not Selector:
            return False
        return (<SelectorCore>self._selector).watches_nothing()

    cdef double _now(self) except? -1.0:
        return clock() if is_plain(self) else self.time()

    cdef double _longest_wait(self) except? -1.0:
        """The seconds that select() may wait; INFINITY if only events can end the wait."""
        self._drop_cancelled()
        if self._stopping or poolio_length(self._ready) > 0:
            return 0
        if self._scheduled:
            return min(max(0, first_time(self._scheduled) - self._now()), LONGEST_WAIT)
        return INFINITY

    cdef double first_due(self) except? -1.0:
        return first_time(self._scheduled) if self._scheduled else INFINITY

    cdef int _drop_cancelled(self) except -1:
        """Take out what is first in the heap and cancelled: asyncio's TimerHandles, which others have put there."""
        cdef list heap = self._scheduled
        while heap and first_is_cancelled(heap):
            take_timer(heap)
        return 0

    cdef int _select(self, double seconds) except -1:
        cdef list found
        if type(self._selector) is Selector:
            found = (<SelectorCore>self._selector).wait(seconds)
            if found or not is_plain(self):
                self._process_events(found)
        else:
            self._process_events(self._selector.select(None if seconds == INFINITY else seconds))
        return 0

    cdef int _put_due_timers(self) except -1:
        cdef list heap = self._scheduled
        cdef double end
        if not heap:
            return 0
        end = self._now()
        end = max(end + self._clock_resolution, nextafter(end, INFINITY))
        while heap and first_time(heap) < end:
            poolio_put_last(self._ready, take_timer(heap))
        return 0

    cdef int _run_ready(self) except -1:
        """Run what is in the queue by now. What is added meanwhile has its turn after the next look at events."""
        cdef Py_ssize_t count = poolio_length(self._ready)
        cdef bint is_patched = handles_are_patched()
        while count > 0 and poolio_length(self._ready) > 0:     # a loop that a callback ran may have run the others
            count -= 1
            handle = poolio_take_first(self._ready)
            if (type(handle) is Handle or type(handle) is TimerHandle) and not self._debug and not is_patched:
                if not (<Handle>handle).is_cancelled:
                    run(<Handle>handle)
            elif not handle._cancelled:
                if self._debug:
                    self._run_timed(handle, is_patched)
                else:
                    run_other(handle, is_patched)
        return 0

    cdef int put(self, callback, argument, context) except -1:
        cdef PyObject *only = <PyObject *>argument
        put_callback(self, <PyObject *>callback, &only, 1, <PyObject *>context)
        return 0

    cdef int run_first(self) except -1:
        handle = poolio_take_first(self._ready)
        if type(handle) is Handle and not handles_are_patched():
            if not (<Handle>handle).is_cancelled:
                run(<Handle>handle)
        elif not handle._cancelled:
            run_other(handle, handles_are_patched())
        return 0

    cdef int _run_timed(self, handle, bint is_patched) except -1:
        """Debug mode: log what takes long."""
        try:
            self._current_handle = handle
            started = self.time()
            run_other(handle, is_patched)
            seconds = self.time() - started
            if seconds >= self.slow_callback_duration:
                what = base_events._format_handle(handle)
                base_events.logger.warning("Executing %s took %.3f seconds", what, seconds)
        finally:
            self._current_handle = None
        return 0


cdef inline double clock() except? -1.0:
    """time.monotonic(), or what a program has put in its place."""
    if PyDict_GetItemWithError(_time_names, "monotonic") != <PyObject *>_monotonic:
        return time.monotonic()
    return poolio_monotonic()


cdef bint is_replaced(LoopCore loop, str name) except -1:
    """True if a subclass or the instance has its own."""
    cdef PyObject *found = poolio_in_type(Py_TYPE(loop), name)
    return not poolio_same_method(found, poolio_in_type(<PyTypeObject *>LoopCore, name)) or name in loop.__dict__


cdef inline bint is_plain(LoopCore loop) except -1:
    """True if nobody has replaced one of the methods that fast paths leave out."""
    return not loop.has_own and (
        poolio_version(Py_TYPE(loop)) == loop.plain_version != 0 or look_for_replaced(loop))


cdef bint look_for_replaced(LoopCore loop) except -1:
    """Ask that anew: the class is another one, or was changed."""
    loop.plain_version = 0
    for name in REPLACEABLE:
        if is_replaced(loop, name):
            return False
    if poolio_in_type(Py_TYPE(loop), "_write_to_self") != <PyObject *>_write_to_self:
        return False
    loop.plain_version = poolio_version(Py_TYPE(loop))
    return True


cdef bint handles_are_patched() except -1:
    """True if a program has replaced asyncio.Handle._run(), to measure what runs. It is obeyed."""
    global _handle_version
    cdef PyTypeObject *kind = <PyTypeObject *>PyDict_GetItemWithError(_event_names, "Handle")
    if poolio_version(kind) != _handle_version or _handle_version == 0:
        if poolio_in_type(kind, "_run") != <PyObject *>_handle_run:
            return True
        _handle_version = poolio_version(kind)
    return False


cdef inline Handle put_callback(
        LoopCore loop, PyObject *callback, PyObject **arguments, Py_ssize_t count, PyObject *context):
    cdef Handle handle = new_handle(loop, callback, arguments, count, context)
    poolio_put_last(loop._ready, handle)
    return handle


cdef int run_other(handle, bint is_patched) except -1:
    """Run a handle of whatever class. If a program has replaced asyncio.Handle._run(), that runs this module's, too."""
    if is_patched and (type(handle) is Handle or type(handle) is TimerHandle):
        events.Handle._run(handle)
    else:
        handle._run()
    return 0


# --- short ways -----------------------------------------------------------------------------------------------
# What the methods above do in nearly every call. Anything else, and every error, is left to them.

cdef poolio_entry rest_of_call_soon, rest_of_call_at, rest_of_call_later, rest_of_create_task


cdef inline PyObject *context_of(PyObject **arguments, Py_ssize_t count, PyObject *names) noexcept:
    """The argument `context`, None if there is none. NULL if there are others with a name."""
    global _context_names
    if names == NULL:
        return <PyObject *>None
    if names == <PyObject *>_context_names:
        return arguments[count]
    if len(<tuple>names) == 1 and <str>(<tuple>names)[0] == "context":
        _context_names = <tuple>names
        return arguments[count]
    return NULL


cdef inline bint is_simple(LoopCore loop) except -1:
    return not loop._closed and not loop._debug and is_plain(loop)


cdef object call_soon(PyObject *self, PyObject **arguments, Py_ssize_t count, PyObject *names):
    cdef LoopCore loop = <LoopCore>self
    cdef PyObject *context = context_of(arguments, count, names)
    if context == NULL or count < 1 or not is_simple(loop):
        return rest_of_call_soon(self, arguments, count, names)
    return put_callback(loop, arguments[0], arguments + 1, count - 1, context)


cdef object call_at(PyObject *self, PyObject **arguments, Py_ssize_t count, PyObject *names):
    cdef LoopCore loop = <LoopCore>self
    cdef PyObject *context = context_of(arguments, count, names)
    if context == NULL or count < 2 or type(<object>arguments[0]) is not float or not is_simple(loop):
        return rest_of_call_at(self, arguments, count, names)
    return new_timer(loop, <double><object>arguments[0], arguments[1], arguments + 2, count - 2, context)


cdef object call_later(PyObject *self, PyObject **arguments, Py_ssize_t count, PyObject *names):
    cdef LoopCore loop = <LoopCore>self
    cdef PyObject *context = context_of(arguments, count, names)
    if context == NULL or count < 2 or not is_number(arguments[0]) or not is_simple(loop):
        return rest_of_call_later(self, arguments, count, names)
    return new_timer(
        loop, clock() + <double><object>arguments[0], arguments[1], arguments + 2, count - 2, context)


cdef inline bint is_number(PyObject *delay) noexcept:
    return type(<object>delay) is float or type(<object>delay) is int


cdef object create_task(PyObject *self, PyObject **arguments, Py_ssize_t count, PyObject *names):
    cdef LoopCore loop = <LoopCore>self
    if names != NULL or count != 1 or loop._closed or loop._debug or loop._task_factory is not None:
        return rest_of_create_task(self, arguments, count, names)
    return (<object>PyDict_GetItemWithError(_task_names, "Task"))(<object>arguments[0], loop=loop)


rest_of_call_soon = poolio_put_before(<PyTypeObject *>LoopCore, "call_soon", call_soon)
rest_of_call_at = poolio_put_before(<PyTypeObject *>LoopCore, "call_at", call_at)
rest_of_call_later = poolio_put_before(<PyTypeObject *>LoopCore, "call_later", call_later)
rest_of_create_task = poolio_put_before(<PyTypeObject *>LoopCore, "create_task", create_task)
