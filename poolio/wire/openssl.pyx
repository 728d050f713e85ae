"""Owns the TLS engine that calls OpenSSL directly, and the choice between it and the one on MemoryBIO (tlsengine).

Refuses to know sockets and protocols. Called by the TLS transport.

The standard library makes the SSLObject. The engine then gives its SSL a BIO of its own, which reads from the memory
that was received into and writes into the tail of the read slab. Only the reading and writing of data is called
directly; everything else still goes through the SSLObject. When a direct call fails, the SSLObject is asked to read: it
finds the same error and makes the exception that it always makes.

The direct engine is not used

    - where `_ssl` is linked into the interpreter, or its socket objects are laid out in another way;
    - for an SSLContext whose wrap_bio() makes something else than a plain SSLObject;
    - for a context with a _msg_callback: what that raises could be lost.

POOLIO_TLS_ENGINE=memorybio or =openssl chooses for all connections for which there is a choice.
"""

import os
import ssl
import sys

from cpython.bytes cimport PyBytes_AS_STRING
from cpython.object cimport PyObject

from poolio.c.faults cimport poolio_new_bytes
from poolio.c.openssl cimport (
    poolio_free_spill, poolio_is_readable, poolio_openssl_load, poolio_ssl_candidate, poolio_ssl_cleanse,
    poolio_ssl_has_ended, poolio_ssl_has_pending, poolio_ssl_of, poolio_ssl_read, poolio_ssl_version, poolio_ssl_waits,
    poolio_ssl_write, poolio_tls_attach, poolio_tls_io_drop,
)
from poolio.memory.buffer cimport Buffer
from poolio.wire.readslab cimport ReadSlab, room_in
from poolio.wire.tlsengine cimport ENDED, FAILED, MORE, WANTS, Outcome, TLSEngine

from poolio.memory.methods import forbid_new

cdef enum:
    RECORD = 16384          # bytes that a record of TLS holds at most
    OVERHEAD = 256          # bytes that a record is longer than its data, at most
    SEALED_AT_ONCE = 65536  # bytes: what is encrypted before some of it is sent
    TLS_1_3 = 0x0304

VARIABLE = "POOLIO_TLS_ENGINE"
NAMES = ("openssl", "memorybio")
LAYOUTS = ((3, 11), (3, 15))        # the versions of CPython whose socket objects are known to be alike

cdef str _why_not = None            # why there is no direct engine; "" if there is one; None: not known yet


cdef class OpenSSLEngine(TLSEngine):

    def __dealloc__(self):
        if self.io != NULL:
            self.io.feed = NULL
            self.io.feed_left = 0
            poolio_tls_io_drop(self.io)

    cdef int feed(self, const char *data, Py_ssize_t size) except -1:
        if self.io.feed_left > 0:
            self.kept = _joined(self.io.feed, <Py_ssize_t>self.io.feed_left, data, size)
            self.io.feed = PyBytes_AS_STRING(self.kept)
            self.io.feed_left += <size_t>size
        else:
            self.kept = None
            self.io.feed = data
            self.io.feed_left = <size_t>size
        return 0

    cdef int keep(self) except -1:
        if self.io.feed_left == 0:
            self.kept = None
        elif self.kept is None:
            self.kept = poolio_new_bytes(self.io.feed, <Py_ssize_t>self.io.feed_left)
            self.io.feed = PyBytes_AS_STRING(self.kept)
        return 0

    cdef bint has_more(self) except -1:
        return self.io.feed_left > 0 or poolio_ssl_has_pending(self.ssl)

    cdef Py_ssize_t held(self) noexcept:
        return <Py_ssize_t>self.io.feed_left

    cdef Outcome unseal(self, char *room, Py_ssize_t size, Py_ssize_t *got) except *:
        cdef size_t count
        cdef Py_ssize_t filled = 0
        cdef Outcome outcome = MORE
        cdef int result
        while filled < size:
            count = 0
            result = poolio_ssl_read(self.ssl, room + filled, <size_t>(size - filled), &count)
            filled += <Py_ssize_t>count
            if result == 1:
                if self.io.feed_left == 0 and not poolio_ssl_has_pending(self.ssl):
                    outcome = WANTS
                    break
                continue
            if poolio_ssl_waits(self.ssl):
                outcome = WANTS
            elif poolio_ssl_has_ended(self.ssl):
                outcome = ENDED
            else:
                self.failure = self._why()
                outcome = FAILED
            break
        got[0] = filled
        return outcome

    cdef object _why(self):
        """The exception for the error that OpenSSL has just had: it is still in its queue, and the SSL still fails."""
        try:
            self.sslobj.read(1)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except Exception as exc:
            return exc
        return ssl.SSLError(ssl.SSL_ERROR_SSL, "OpenSSL has failed, and does not say why")

    cdef Buffer seal(self, const char *data, Py_ssize_t size, ReadSlab slab, Py_ssize_t *taken):
        cdef Py_ssize_t room_size = 0
        cdef Py_ssize_t written
        cdef size_t count = 0
        cdef int result
        cdef char *room = NULL if slab is None else room_in(slab, &room_size)
        size = min(size, SEALED_AT_ONCE)
        if room != NULL and room_size >= RECORD + OVERHEAD:
            size = min(size, room_size // (RECORD + OVERHEAD) * RECORD)
        elif room_size < size + OVERHEAD:
            room_size = 0               # all of it becomes `said`
        self.io.out = room
        self.io.out_room = <size_t>room_size
        result = poolio_ssl_write(self.ssl, data, <size_t>size, &count)
        written = <Py_ssize_t>self.io.out_size
        self.io.out_room = self.io.out_size = 0
        taken[0] = <Py_ssize_t>count
        sealed = None
        if written > 0:
            sealed = slab.take(written)
        elif room != NULL:
            slab.leave()
        if result != 1 and not poolio_ssl_waits(self.ssl):
            raise self._why()
        return sealed

    cdef object said(self):
        if self.io.spill_size == 0:
            return None
        data = poolio_new_bytes(self.io.spill, <Py_ssize_t>self.io.spill_size)
        poolio_free_spill(self.io)
        return data

    cdef int settle(self) except -1:
        if poolio_ssl_version(self.ssl) >= TLS_1_3:         # no other handshake can come
            self.runs_python = False
        elif not self.runs_python:
            self.runs_python = "PSK" in self.sslobj.cipher()[0]     # CPython 3.13 has callbacks for these keys
        return 0

    cdef int wipes(self) except -1:
        poolio_ssl_cleanse(self.ssl)
        return 0


forbid_new(OpenSSLEngine)


cdef bytes _joined(const char *first, Py_ssize_t first_size, const char *second, Py_ssize_t second_size):
    return first[:first_size] + second[:second_size]


cdef TLSEngine new_engine(context, bint server_side, server_hostname):
    cdef OpenSSLEngine direct
    cdef TLSEngine engine
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    sslobj = context.wrap_bio(incoming, outgoing, server_side=server_side, server_hostname=server_hostname)
    if engine_name() == "openssl" and _is_plain(context, sslobj):
        direct = OpenSSLEngine.__new__(OpenSSLEngine)
        direct.sslobj = sslobj
        direct.name = "openssl"
        if _attach(direct):
            direct.runs_python = server_side and context.sni_callback is not None
            return direct
    engine = TLSEngine.__new__(TLSEngine)
    engine.sslobj = sslobj
    engine.name = "memorybio"
    engine.incoming = incoming
    engine.outgoing = outgoing
    engine.runs_python = True
    return engine


cdef bint _attach(OpenSSLEngine engine) except -1:
    """Let OpenSSL read and write by the engine. False if the SSL is not where it is expected."""
    engine.ssl = poolio_ssl_of(<PyObject *>engine.sslobj._sslobj)
    if engine.ssl == NULL:
        return False
    engine.io = poolio_tls_attach(engine.ssl)
    if engine.io == NULL:
        raise MemoryError("the system has no memory left for a TLS connection")
    return True


cdef bint _is_plain(context, sslobj) except -1:
    """True if reading and writing by SSLObject would do nothing else than OpenSSL does."""
    kind = type(sslobj)
    return (
        isinstance(sslobj, ssl.SSLObject) and kind.read is ssl.SSLObject.read and kind.write is ssl.SSLObject.write
        and type(sslobj._sslobj) is ssl._ssl._SSLSocket and getattr(context, "_msg_callback", None) is None
    )


def why_not_direct():
    """Why TLS can't call OpenSSL directly in this process: a text, or "" if it can."""
    global _why_not
    if _why_not is None:
        _why_not = _find_openssl()
    return _why_not


cdef str _find_openssl():
    cdef const char *missing
    cdef void *found
    if sys.implementation.name != "cpython" or not LAYOUTS[0] <= sys.version_info[:2] <= LAYOUTS[1]:
        return "this interpreter is not one of CPython 3.11 to 3.15"
    path = getattr(ssl._ssl, "__file__", None)
    if path is None:
        return "OpenSSL is linked into the interpreter"
    encoded = os.fsencode(path)
    missing = poolio_openssl_load(encoded)
    if missing != NULL:
        return f"the ssl module's OpenSSL does not show {missing.decode()}"
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
    found = poolio_ssl_candidate(<PyObject *>made._sslobj)
    if found == NULL or not poolio_is_readable(found, 256) or poolio_ssl_of(<PyObject *>made._sslobj) == NULL:
        return "the ssl module's objects are laid out in another way"
    return ""


def engine_name():
    """The engine of connections whose contexts are plain: "openssl" or "memorybio". ValueError if the environment asks
    for another one, RuntimeError if it asks for one that can't be had.
    """
    wanted = os.environ.get(VARIABLE, "")
    if wanted not in ("", *NAMES):
        raise ValueError(f"POOLIO_TLS_ENGINE must be one of {', '.join(NAMES)}, not {wanted!r}")
    if wanted == "openssl" and why_not_direct():
        raise RuntimeError(f"POOLIO_TLS_ENGINE=openssl is set, but {why_not_direct()}")
    if wanted == "memorybio" or why_not_direct():
        return "memorybio"
    return "openssl"
