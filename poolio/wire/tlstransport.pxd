# TLSTransport: an encrypted connection, above the stream transport that carries it. See tlstransport.pyx.

from poolio.wire.unsealing cimport Unsealing


cdef class TLSTransport(Unsealing):
    cdef dict __dict__             # what users and mocks set; made when it is asked for
    cdef object context_of_tls     # the SSLContext that it was made with
    # the handshake and the shutdown: what waits for the first, the timer of either, seconds
    cdef object waiter
    cdef object timer
    cdef double handshake_seconds
    cdef double shutdown_seconds

    cdef int _shook(self) except -1
    cdef int _fail_handshake(self, exc) except -1
    cdef int _wake(self, exc) except -1
    cdef int _tell_end(self) except -1
