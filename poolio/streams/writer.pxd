# StreamCore: the protocol of a stream. WriterCore: the compiled half of StreamWriter. See writer.pyx.

from poolio.protocols.protocol cimport ProtocolCore
from poolio.streams.reader cimport StreamReader
from poolio.wire.stream cimport StreamTransport

cdef class StreamCore(ProtocolCore):
    cdef readonly StreamReader reader
    cdef readonly bint is_writing_paused
    cdef public bint is_over_tls
    cdef readonly bint is_lost
    cdef dict drain_waiters         # the futures of who waits to write, in order; None: nobody


cdef class WriterCore:
    cdef object __weakref__
    cdef readonly StreamReader reader
    cdef readonly StreamCore protocol
    cdef object given_transport
    cdef StreamTransport own        # the same, if it is poolio's; None otherwise

    cdef bint _is_closing(self) except -1
