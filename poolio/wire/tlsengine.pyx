"""Owns what encrypts and decrypts for a TLS transport: here by an ssl.SSLObject between two MemoryBIOs.

Refuses to know sockets, protocols and when to send. Called by the TLS transport. openssl has the other engine, which
calls OpenSSL directly and is used where it can be.

Both engines do the handshake and the shutdown by calling the SSLObject, so certificates, SNI callbacks, sessions and
errors are the standard library's. This one also reads and writes by it, and each call copies what it takes and gives.
"""

from ssl import SSLSyscallError, SSLWantReadError, SSLZeroReturnError

from cpython.buffer cimport PyBUF_READ
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.string cimport memcpy

from poolio.memory.buffer cimport Buffer
from poolio.wire.readslab cimport ReadSlab

from poolio.memory.methods import forbid_new

cdef enum:
    RECORD = 16384          # bytes that a record of TLS holds at most
    SEALED_AT_ONCE = 65536  # bytes: what is encrypted before some of it is sent

cdef object AGAIN = (SSLWantReadError, SSLSyscallError)


cdef class TLSEngine:

    def __init__(self):
        raise TypeError("a TLSEngine is made by a TLSTransport")

    cdef int feed(self, const char *data, Py_ssize_t size) except -1:
        self.incoming.write(PyMemoryView_FromMemory(<char *>data, size, PyBUF_READ))
        return 0

    cdef int keep(self) except -1:
        return 0

    cdef bint has_more(self) except -1:
        return self.incoming.pending > 0 or self.sslobj.pending() > 0

    cdef Py_ssize_t held(self) noexcept:
        return <Py_ssize_t>self.incoming.pending

    cdef Outcome unseal(self, char *room, Py_ssize_t size, Py_ssize_t *got) except *:
        got[0] = 0
        while got[0] < size:
            try:
                data = self.sslobj.read(min(size - got[0], RECORD))
            except AGAIN:
                return WANTS
            except SSLZeroReturnError:      # the peer's close_notify has come after ours
                return ENDED
            except Exception as exc:
                self.failure = exc
                return FAILED
            if not data:
                return ENDED
            memcpy(room + got[0], PyBytes_AS_STRING(data), <size_t>PyBytes_GET_SIZE(data))
            got[0] += PyBytes_GET_SIZE(data)
            if self.incoming.pending == 0 and self.sslobj.pending() == 0:
                return WANTS
        return MORE

    cdef Buffer seal(self, const char *data, Py_ssize_t size, ReadSlab slab, Py_ssize_t *taken):
        taken[0] = 0
        try:
            taken[0] = self.sslobj.write(PyMemoryView_FromMemory(<char *>data, min(size, SEALED_AT_ONCE), PyBUF_READ))
        except AGAIN:
            pass
        return None

    cdef object said(self):
        return self.outgoing.read() or None

    cdef int settle(self) except -1:
        return 0

    cdef int wipes(self) except -1:
        return 0


forbid_new(TLSEngine)
