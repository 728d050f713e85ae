"""Owns the timers of a loop: TimerHandle, and the heap in which the timers lie by the time when they are due.

Refuses to know the clock and the queue. Called by core; cancel() by whoever has a TimerHandle.

The heap is the loop's `_scheduled`, a plain list in the order of heapq, by the very steps of heapq: timers of the same
time come in the order in which asyncio's loop takes them. Each timer knows its index, so that a cancelled one leaves
the heap at once, by a few steps along one branch. asyncio keeps it until its time comes, or until a walk through all.

Others may use heapq on the list, and put asyncio's TimerHandles into it. So an index is checked before it is used, and
where there is another handle than a TimerHandle of this module, heapq does the work.
"""

import heapq
from asyncio import events

from cpython.object cimport Py_EQ, Py_GT, Py_LE, Py_LT, Py_NE, PyObject

from poolio.c.python cimport PyList_GET_ITEM
from poolio.c.turns cimport poolio_drop_last, poolio_swap_items
from poolio.loops.handles cimport Handle, cancel, fill
from poolio.wire.schedule cimport Schedule

from poolio.memory.methods import forbid_new

cdef object _describe = events.TimerHandle._repr_info


cdef class TimerHandle(Handle):
    """What call_later() and call_at() return. isinstance() takes it for an asyncio.TimerHandle."""

    def __init__(self, when, callback, tuple args not None, Schedule loop not None, context=None):
        self.due = when
        Handle.__init__(self, callback, args, loop, context)

    @property
    def __class__(self):
        return events.TimerHandle

    def when(self):
        """The time when it is due, by the clock of the loop, in seconds."""
        return self.due

    def cancel(self):
        if self.is_scheduled and not self.is_cancelled and self.loop is not None:
            _remove(self.loop._scheduled, self)
        cancel(self)

    def _repr_info(self):
        return _describe(self)

    @property
    def _when(self):
        return self.due

    @property
    def _scheduled(self):
        return self.is_scheduled

    @_scheduled.setter
    def _scheduled(self, value):
        self.is_scheduled = value

    def __hash__(self):
        return hash(self.due)

    def __richcmp__(self, other, int how):
        if not isinstance(other, events.TimerHandle):
            return NotImplemented
        when = self.due
        is_equal = how not in (Py_LT, Py_GT) and (
            when == other._when and self.callback == other._callback and self._args == other._args
            and self.is_cancelled == other._cancelled)
        if how == Py_EQ or how == Py_NE:
            return is_equal == (how == Py_EQ)
        return (when < other._when if how in (Py_LT, Py_LE) else when > other._when) or is_equal


cdef TimerHandle new_timer(
        Schedule loop, double due, PyObject *callback, PyObject **arguments, Py_ssize_t count, PyObject *context):
    cdef TimerHandle timer = TimerHandle.__new__(TimerHandle)
    timer.due = due
    fill(timer, loop, callback, arguments, count, context)
    put_timer(loop._scheduled, timer)
    return timer


cdef int put_timer(list heap, TimerHandle timer) except -1:
    heap.append(timer)
    timer.is_scheduled = True
    timer.index = len(heap) - 1
    if timer.index > 0 and not _rise(heap, 0, timer.index):
        heapq.heapify(heap)
    return 0


cdef object take_timer(list heap):
    """Take out the timer that is due first."""
    cdef PyObject *first = PyList_GET_ITEM(<PyObject *>heap, 0)
    timer = <object>first
    if type(timer) is TimerHandle:
        (<TimerHandle>timer).index = 0
        _remove(heap, <TimerHandle>timer)
    else:
        heapq.heappop(heap)
        timer._scheduled = False
    return timer


cdef double first_time(list heap) except? -1.0:
    """When the first timer is due."""
    cdef PyObject *first = PyList_GET_ITEM(<PyObject *>heap, 0)
    if type(<object>first) is TimerHandle:
        return (<TimerHandle>first).due
    return (<object>first)._when


cdef bint first_is_cancelled(list heap) except -1:
    cdef PyObject *first = PyList_GET_ITEM(<PyObject *>heap, 0)
    if type(<object>first) is TimerHandle:
        return (<TimerHandle>first).is_cancelled
    return (<object>first)._cancelled


cdef int _remove(list heap, TimerHandle timer) except -1:
    cdef Py_ssize_t index = timer.index
    timer.is_scheduled = False
    if index >= len(heap) or PyList_GET_ITEM(<PyObject *>heap, index) != <PyObject *>timer:
        index = _find(heap, timer)
        if index < 0:
            return 0                    # others have taken it out
    moved = heap[len(heap) - 1]
    heap[index] = moved             # before the last is dropped, which may end the timer
    poolio_drop_last(<PyObject *>heap)
    if moved is timer:
        return 0
    if type(moved) is TimerHandle:
        (<TimerHandle>moved).index = index
    if not _settle(heap, index):
        heapq.heapify(heap)
    return 0


cdef Py_ssize_t _find(list heap, TimerHandle timer) noexcept:
    """Look for a timer that others have moved, and set the others' indices right. -1 if it is not there."""
    cdef Py_ssize_t i
    cdef PyObject *each
    for i in range(len(heap)):
        each = PyList_GET_ITEM(<PyObject *>heap, i)
        if type(<object>each) is TimerHandle:
            (<TimerHandle>each).index = i
            if each == <PyObject *>timer:
                return i
    return -1


cdef inline TimerHandle _timer_at(list heap, Py_ssize_t index):
    """The timer there; None if it is one of asyncio's."""
    cdef PyObject *found = PyList_GET_ITEM(<PyObject *>heap, index)
    return <TimerHandle>found if type(<object>found) is TimerHandle else None


cdef inline void _swap(list heap, TimerHandle upper, TimerHandle lower) noexcept:
    poolio_swap_items(<PyObject *>heap, upper.index, lower.index)
    upper.index, lower.index = lower.index, upper.index


# Both return False, with all timers still in the heap, if they meet a timer of asyncio's: heapq must do it.

cdef bint _rise(list heap, Py_ssize_t start, Py_ssize_t index) except -1:
    """heapq's _siftdown(): let the timer go up while it is due before the one above it."""
    cdef TimerHandle above
    cdef TimerHandle timer = _timer_at(heap, index)
    if timer is None:
        return False
    while timer.index > start:
        above = _timer_at(heap, (timer.index - 1) >> 1)
        if above is None:
            return False
        above.index = (timer.index - 1) >> 1
        if not timer.due < above.due:
            break
        _swap(heap, above, timer)
    return True


cdef bint _settle(list heap, Py_ssize_t start) except -1:
    """Put the timer that came to `start` where it belongs.

    As heapq's _siftup(): let the earlier of the two below come up, to the end of the heap, then let the timer rise.
    """
    cdef TimerHandle timer = _timer_at(heap, start)
    cdef TimerHandle below, right
    cdef Py_ssize_t count = len(heap)
    cdef Py_ssize_t child
    if timer is None:
        return False
    if start > 0:
        below = _timer_at(heap, (start - 1) >> 1)
        if below is None:
            return False
        if timer.due < below.due:
            return _rise(heap, 0, start)
    while True:
        child = 2 * timer.index + 1
        if child >= count:
            return _rise(heap, start, timer.index)
        below = _timer_at(heap, child)
        if below is None:
            return False
        below.index = child
        if child + 1 < count:
            right = _timer_at(heap, child + 1)
            if right is None:
                return False
            if not below.due < right.due:
                below = right
                below.index = child + 1
        _swap(heap, below, timer)


forbid_new(TimerHandle)
