# WriterCore: the compiled half of StreamWriter. See writer.pyx.

from poolio.streams.protocol cimport StreamCore
from poolio.streams.reader cimport StreamReader
from poolio.wire.stream cimport StreamTransport

cdef class WriterCore:
    cdef object __weakref__
    cdef readonly StreamReader reader
    cdef readonly StreamCore protocol
    cdef object any_transport       # what is written to
    cdef StreamTransport own        # the same, if it is poolio's own; None otherwise

    cdef bint _is_closing(self) except -1
