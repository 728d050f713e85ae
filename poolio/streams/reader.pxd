# StreamReader: what a connection has received and nobody has read yet. See reader.pyx.

from cpython.object cimport PyObject

from poolio.memory.buffer cimport Buffer
from poolio.memory.chain cimport Chain
from poolio.streams.waiter cimport Awaitable

cdef class StreamReader:
    cdef readonly Chain chain
    cdef object given_loop          # None: the running one, asked for when a task has to wait
    cdef Py_ssize_t limit           # twice as much unread pauses the transport, as much lets it go on
    cdef object transport           # None: nothing to pause
    cdef bint is_paused
    cdef bint is_at_end             # no more will come
    cdef object error               # what every call raises; None: nothing
    # while a task waits: with less than `wanted` bytes it need not be woken
    cdef PyObject *waiting          # what it awaits, borrowed: at its end that says so. NULL: nobody waits
    cdef object future              # that it waits for; kept while nobody waits, if it is as good as new
    cdef Py_ssize_t wanted
    cdef Operation spare            # a call that has ended, to be used again when nobody else has it
    cdef tuple finder               # of the last readuntil(): separator, and the Delimited that finds it; None before

    # A Buffer that is the reader's own. arrived: from the reactor's own dispatch; fed: from anywhere else
    cdef int arrived(self, Buffer buf) except -1
    cdef int fed(self, Buffer buf) except -1
    cdef int _wake(self) except -1
    cdef int _look_after(self) except -1
    cdef object _wait(self, Awaitable call, Py_ssize_t wanted)
    cdef int _stop_waiting(self, Awaitable call) noexcept
    cdef int _taken(self) except -1
    cdef object _raise_error(self)
    cdef object _finder_of(self, separator)


cdef struct Method:
    object (*attempt)(StreamReader reader, Operation call)      # a result, or a future
    const char *name


cdef class Operation(Awaitable):
    cdef StreamReader reader        # None once it has ended
    cdef Method *method
    cdef Py_ssize_t count           # bytes, or the limit of a search
    cdef object subject             # what it is about: a separator's finder, a target; None: nothing
