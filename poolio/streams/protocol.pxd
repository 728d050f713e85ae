# StreamCore: the protocol of a stream. See protocol.pyx.

from poolio.protocols.protocol cimport ProtocolCore
from poolio.streams.reader cimport StreamReader

cdef class StreamCore(ProtocolCore):
    cdef readonly StreamReader reader
    cdef readonly bint is_writing_paused
    cdef public bint is_over_tls
    cdef readonly bint is_lost
    cdef dict drain_waiters         # the futures of the tasks that drain, in order; None: no task does
