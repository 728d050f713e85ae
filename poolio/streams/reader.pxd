# StreamReader: the calls that read a stream. See reader.pyx.

from poolio.streams.inflow cimport Inflow
from poolio.streams.waiter cimport Awaitable

cdef class StreamReader(Inflow):
    cdef Operation spare            # a call that has ended, to be used again when nobody else has it
    cdef tuple finder               # of the last readuntil(): separator, and the Delimited that finds it; None before

    cdef object _finder_of(self, separator)


cdef struct Method:
    object (*attempt)(StreamReader reader, Operation call)      # a result, or a future
    const char *name


cdef class Operation(Awaitable):
    cdef StreamReader reader        # None once it has ended
    cdef Method *method
    cdef Py_ssize_t count           # bytes, or the limit of a search
    cdef object subject             # what it is about: a separator's finder, a target; None: nothing
