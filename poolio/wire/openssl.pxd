# OpenSSLEngine: TLS by direct calls into the OpenSSL of CPython's `ssl` module. See openssl.pyx.

from poolio.wire.tlsengine cimport TLSEngine


cdef class OpenSSLEngine(TLSEngine):
    cdef void *ssl              # LIFETIME: sslobj's
    cdef object kept            # `bytes` that io reads from; None: from memory of the caller's, or nothing is left
    # OpenSSL's two buffers of 17 KiB
    cdef bint keeps_buffers     # they stay until they are freed here
    cdef KeptBuffers warm       # where it enters itself when it is used; None: its buffers are freed after each use
    cdef Py_ssize_t place       # its index there; -1: it is not there, and has no buffers
    cdef bint is_used           # since KeptBuffers has looked

    cdef object _why(self)
    cdef inline int _begin(self) except -1
    cdef inline int _end(self) except -1


# The connections of a loop that keep OpenSSL's buffers between records
cdef class KeptBuffers:
    cdef object loop
    cdef object timer           # None: it has no connections
    cdef list engines
    cdef Py_ssize_t oldest      # the index of the one that was entered first, if it is full

    cdef int enter(self, OpenSSLEngine engine) except -1
    cdef int leave(self, OpenSSLEngine engine) except -1


# An engine for a connection: the direct one where it can be, or the one on MemoryBIO. ValueError, and what wrap_bio()
# raises
cdef TLSEngine new_engine(context, bint server_side, server_hostname)
