# Waiter: what a task waits for. Awaitable: what it awaits, and is stepped with. See waiter.pyx.

from cpython.object cimport PyObject

cdef enum WaiterState:
    WAITING
    WOKEN
    CANCELLED


cdef class Waiter:
    cdef readonly object _loop
    cdef WaiterState state
    cdef public bint _asyncio_future_blocking
    # while it waits: the task's own callback and its context; None when nobody waits yet
    cdef object callback
    cdef object context
    cdef object message         # of the cancellation

    cdef int wake(self) except -1
    cdef int _schedule(self) except -1


cdef Waiter waiter_on(object loop, PyObject *used)
cdef int step_waiter(PyObject *waiter) except -1


cdef class Awaitable:
    cdef bint is_started
    cdef bint is_finished

    # The result, or a Waiter: to be asked again when that has been woken. What it raises ends it
    cdef object proceed(self)
    # The task was cancelled, or what waits was closed: wait no longer
    cdef int give_up(self) except -1
    cdef object name(self)


cdef int make_awaitable(kind) except -1
cdef object ready(object value)
