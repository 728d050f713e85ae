# Inflow: what a connection has received and nobody has read yet. See inflow.pyx.

from cpython.object cimport PyObject

from poolio.memory.buffer cimport Buffer
from poolio.memory.chain cimport Chain
from poolio.streams.waiter cimport Awaitable

cdef class Inflow:
    cdef readonly Chain chain
    cdef object given_loop          # None: the running one, which is looked up when a task has to wait
    cdef Py_ssize_t limit           # bytes: above twice as many unread the transport is paused, at as many resumed
    cdef object upstream            # the transport that is paused; None: there is nothing to pause
    cdef unsigned char is_paused    # these two share the room of a bint
    cdef unsigned char was_read     # a call has had what it asked for
    cdef readonly bint is_at_end    # no more will come
    cdef object error               # what every call raises; None: nothing
    cdef readonly object refused    # the FrameError that frames() has raised for what the peer has sent; None: none
    # While a task waits. What arrives wakes it when the chain holds `wanted` bytes
    cdef PyObject *waiting          # the call, borrowed: it calls stop_waiting() when it ends. NULL: no task waits
    cdef object future              # what the task waits for; kept for the next wait if it is as good as new
    cdef Py_ssize_t wanted

    # Take a Buffer, which is the reader's own. The reactor's own dispatch calls arrived(); all others call fed()
    cdef int arrived(self, Buffer buf) except -1
    cdef int fed(self, Buffer buf) except -1
    # For calls: wait() when the chain holds too little; taken() when bytes were taken from the chain
    cdef object wait(self, Awaitable call, Py_ssize_t wanted)
    cdef int stop_waiting(self, Awaitable call) noexcept
    cdef int taken(self) except -1
    cdef object raise_error(self)
    # Forget all that is unread. A call that waits goes on waiting, for what comes from now on
    cdef int drop_all(self) except -1
    # For debug mode: the task that waits, or None
    cdef object waiting_task(self)

    cdef int wake(self) except -1
    cdef int _look_after(self) except -1
