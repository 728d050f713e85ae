# WriterCore: the compiled half of StreamWriter. See writer.pyx.

from poolio.streams.protocol cimport StreamCore
from poolio.streams.reader cimport StreamReader
from poolio.wire.stream cimport StreamTransport

cdef class WriterCore:
    cdef object __weakref__
    cdef readonly StreamReader reader
    cdef readonly StreamCore protocol
    cdef object any_transport       # the transport that is written to
    cdef StreamTransport own        # the same; None: it is not poolio's own

    cdef bint _is_closing(self) except -1
