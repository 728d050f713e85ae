# OpenSSLEngine: TLS by direct calls into the OpenSSL of CPython's `ssl` module. See openssl.pyx.

from poolio.wire.tlsengine cimport TLSEngine


cdef class OpenSSLEngine(TLSEngine):
    cdef void *ssl              # LIFETIME: sslobj's
    cdef object kept            # `bytes` that io reads from; None: from memory of the caller's, or nothing is left

    cdef object _why(self)


# An engine for a connection: the direct one where it can be, or the one on MemoryBIO. ValueError, and what wrap_bio()
# raises
cdef TLSEngine new_engine(context, bint server_side, server_hostname)
