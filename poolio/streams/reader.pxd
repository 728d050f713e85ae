# StreamReader: the calls that read a stream. See reader.pyx.

from poolio.framing.codec cimport Codec
from poolio.streams.inflow cimport Inflow
from poolio.streams.waiter cimport Awaitable

cdef class StreamReader(Inflow):
    cdef Operation spare            # the latest call; used again once it has ended and nothing else holds it
    cdef tuple finder               # the last separator of readuntil(), and the Delimited that finds it; None: none yet
    cdef list codecs                # (what frames() was given, the codec of this connection); None: only poolio's own

    cdef object _finder_of(self, separator)
    cdef Codec _codec_for(self, given)


cdef struct Method:
    object (*attempt)(StreamReader reader, Operation call)      # returns a result, or a future
    const char *name


cdef class Operation(Awaitable):
    cdef StreamReader reader        # None: the call has ended
    cdef Method *method
    cdef Py_ssize_t count           # bytes, or the limit of a search
    cdef object subject             # the finder of a separator, or the target of readinto(); None: neither
