# TLSEngine: what encrypts and decrypts for a TLS transport, without a socket. See tlsengine.pyx.

from poolio.c.openssl cimport poolio_tls_io
from poolio.memory.buffer cimport Buffer
from poolio.wire.readslab cimport ReadSlab

cdef enum Outcome:              # of unseal()
    WANTS                       # it has no more until the peer has sent more
    MORE                        # the room is full, and there may be more
    ENDED                       # the peer's close_notify has come
    FAILED                      # `failure` says why


cdef class TLSEngine:
    cdef readonly object sslobj    # the ssl.SSLObject, made by the context of the connection
    cdef readonly str name         # which engine it is
    cdef object failure            # the exception of the last FAILED
    # unseal() may run other people's code, which may read and write on this loop: its room must be held, and seal()
    # gets no slab. True for TLS in TLS, too
    cdef bint runs_python
    # what OpenSSL reads and writes by; NULL: by MemoryBIO
    cdef poolio_tls_io *io
    # the MemoryBIOs; None: it has none
    cdef object incoming
    cdef object outgoing

    # Take what has come. LIFETIME of data: until keep(), which copies what is left of it, or until all is unsealed
    cdef int feed(self, const char *data, Py_ssize_t size) except -1
    cdef int keep(self) except -1
    # True if unseal() may have something without feed()
    cdef bint has_more(self) except -1
    # Bytes that were fed and not unsealed yet
    cdef Py_ssize_t held(self) noexcept
    # Decrypt into room; `got` is how much. What came before an ENDED or FAILED is there too
    cdef Outcome unseal(self, char *room, Py_ssize_t size, Py_ssize_t *got) except *
    # Encrypt the beginning of data, `taken` bytes of it; 0 if TLS waits for its peer. The result is to be sent, then
    # also what said() returns. It lies in the slab's tail; without a slab all of it is said
    cdef Buffer seal(self, const char *data, Py_ssize_t size, ReadSlab slab, Py_ssize_t *taken)
    # What is to be sent besides: handshakes, alerts, tickets. None: nothing
    cdef object said(self)
    # Called once when the handshake is done
    cdef int settle(self) except -1
    # Wipe what was decrypted as soon as it was delivered
    cdef int wipes(self) except -1


cdef inline bint may_have_said(TLSEngine engine) noexcept:
    """False if said() would return None."""
    return engine.io == NULL or engine.io.spill_size > 0
