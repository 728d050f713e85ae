# Inflow: what a connection has received and nobody has read yet. See inflow.pyx.

from cpython.object cimport PyObject

from poolio.memory.buffer cimport Buffer
from poolio.memory.chain cimport Chain
from poolio.streams.waiter cimport Awaitable

cdef class Inflow:
    cdef readonly Chain chain
    cdef object given_loop          # None: the running one, asked for when a task has to wait
    cdef Py_ssize_t limit           # twice as much unread pauses the transport, as much lets it go on
    cdef object upstream            # the transport; None: there is nothing to pause
    cdef bint is_paused
    cdef bint is_at_end             # no more will come
    cdef object error               # what every call raises; None: nothing
    # while a task waits: with less than `wanted` bytes it need not be woken
    cdef PyObject *waiting          # what it awaits, borrowed: at its end that says so. NULL: no task waits
    cdef object future              # that it waits for; kept while no task waits, if it is as good as new
    cdef Py_ssize_t wanted

    # A Buffer that is the reader's own. arrived: from the reactor's own dispatch; fed: from anywhere else
    cdef int arrived(self, Buffer buf) except -1
    cdef int fed(self, Buffer buf) except -1
    # For calls: wait, having found too little; and say that bytes were taken from the chain
    cdef object wait(self, Awaitable call, Py_ssize_t wanted)
    cdef int stop_waiting(self, Awaitable call) noexcept
    cdef int taken(self) except -1
    cdef object raise_error(self)

    cdef int wake(self) except -1
    cdef int _look_after(self) except -1
