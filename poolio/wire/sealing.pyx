"""Owns what a TLS transport writes: encrypting it, the backlog, and the water marks.

Refuses to know how bytes are encrypted (tlsengine, openssl), how reading goes (unsealing), and how the connection
begins and ends (tlstransport), except that it fails. Called by protocols and streams, and by the carrier when its queue
is full or empty again.

    write() ──> the engine ──> the tail of the read slab ──> the carrier's queue ──> sent when the callback ends
           └──> the backlog, while the carrier has enough to send or the handshake is not done

TLS in TLS: what an inner transport encrypts is what the outer one writes. Both have the same carrier, and each tells
the one above it when it is full.

Ciphertext is bounded: when the carrier has enough to send, what is written waits in the backlog as it is.

The water marks count what the user has written and the kernel has not taken: the backlog, and of what is encrypted as
much as the carrier still has. The carrier's own marks are no higher, so it tells in time.
"""

import ssl
from asyncio import constants
from asyncio.log import logger

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact

from poolio.c.faults cimport poolio_new_bytes
from poolio.memory.allocation cimport count_copied, ensure_alive, try_freeze
from poolio.memory.buffer cimport Buffer
from poolio.memory.pool cimport default_pool
from poolio.wire.endpoint cimport BLOCKED, LOST, PROTOCOL_PAUSED
from poolio.wire.readslab cimport ReadSlab, read_slab_for
from poolio.wire.receiver cimport Receiver
from poolio.wire.tlsengine cimport may_have_said
from poolio.wire.writequeue cimport advance_queue, clear_queue, put_buffer, put_object

from poolio.memory.methods import forbid_new

cdef enum:
    RECORD = 16384              # bytes that a record of TLS holds at most
    CARRIER_HIGH = 65536        # bytes of ciphertext: asyncio's marks for sockets
    CARRIER_LOW = 16384

cdef str FAILED_TLS = "Fatal error on SSL protocol"


cdef class Sealing(Receiver):

    def __init__(self):
        raise TypeError("a Sealing is made by the functions that make a TLSTransport")

    def __dealloc__(self):
        clear_queue(&self.backlog)

    def write(self, data):
        """Encrypt and send what a Buffer or bytes-like object holds now; never blocks.

        A Buffer is frozen from here on, and you may release it at once. What the kernel does not take is queued; above
        high water the protocol's pause_writing() is called.
        """
        self.write_data(data)

    def writelines(self, list_of_data):
        """Send several pieces in order."""
        for data in list(list_of_data):
            self.write_data(data)

    cdef int write_data(self, data) except -1:
        if self.phase >= FLUSHES:
            return self._refuse_write(data)
        if type(data) is Buffer:
            return self._write_buffer(<Buffer>data)
        return self._write_other(data)

    cdef int _write_buffer(self, Buffer buf) except -1:
        cdef bint is_frozen
        cdef Py_ssize_t taken = 0
        ensure_alive(buf)
        if buf.length == 0:
            return 0
        is_frozen = try_freeze(buf)
        if buf.length <= RECORD and _can_seal(self):
            taken = self._seal(buf.data, buf.length)
        if taken == 0 and is_frozen:
            put_buffer(&self.backlog, buf)
        elif taken == 0:
            count_copied(buf)
            copy = poolio_new_bytes(buf.data, buf.length)
            put_object(&self.backlog, copy, PyBytes_AS_STRING(copy), buf.length)
        return self.wrote()

    cdef int _write_other(self, data) except -1:
        cdef Py_buffer view
        cdef Py_ssize_t taken = 0
        if not PyObject_CheckBuffer(data):
            raise TypeError(f"data argument must be a Buffer or a bytes-like object, not {type(data).__name__!r}")
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if view.len == 0:
                return 0
            if view.len <= RECORD and _can_seal(self):
                taken = self._seal(<const char *>view.buf, view.len)
            if taken == 0:
                copy = data if PyBytes_CheckExact(data) else poolio_new_bytes(<const char *>view.buf, view.len)
                put_object(&self.backlog, copy, PyBytes_AS_STRING(copy), view.len)
        finally:
            PyBuffer_Release(&view)
        return self.wrote()

    cdef Py_ssize_t _seal(self, const char *data, Py_ssize_t size) except -1:
        """Encrypt the beginning of data, and give it to the carrier; returns how much of it.

        It is 0 if TLS waits for its peer. After a failure it is all: there is nobody any more to send it to.
        LIFETIME of data: it is read before any other code runs.
        """
        cdef Py_ssize_t taken = 0
        cdef bint has_waited = self.backlog.first != NULL
        cdef ReadSlab slab = self.slab
        if slab is None or self.engine.runs_python:
            slab = self._slab_to_seal_in()
        if self.carrier.queue.first == NULL:
            self.sealed = 0
        self.flags |= INSIDE
        try:
            sealed = self.engine.seal(data, size, slab, &taken)
            self.flags &= ~<unsigned int>INSIDE
            self.sealed += taken
            if has_waited:
                advance_queue(&self.backlog, taken)
            if sealed is not None:
                self.carrier.write_data(sealed)
            if may_have_said(self.engine):
                self.say()
        except BaseException as exc:                        # the peer could not read on without what is lost
            self.flags &= ~<unsigned int>INSIDE
            if not isinstance(exc, (ssl.SSLError, MemoryError)):
                raise
            self.fail(exc, FAILED_TLS)
            return size
        return taken

    cdef ReadSlab _slab_to_seal_in(self):
        """The slab for ciphertext before the one to read into is decided; None if other code may run meanwhile."""
        protocol = self.protocol
        if self.engine.runs_python:
            return None
        return read_slab_for(
            (<Receiver>protocol).connection_pool() if isinstance(protocol, Receiver) else default_pool(), self._loop)

    def _test__append_write_backlog(self, bytes data not None):
        """What CPython's tests call: write, but don't send it before something else is sent."""
        put_object(&self.backlog, data, PyBytes_AS_STRING(data), len(data))

    cdef int seal_backlog(self) except -1:
        """Encrypt what waits, until the carrier has enough to send."""
        while self.backlog.first != NULL and not self.flags & (IS_FULL | INSIDE):
            if self.phase != OPEN and self.phase != FLUSHES or self.carrier.state & LOST:
                break
            if self._seal(self.backlog.first.data, self.backlog.first.length) == 0:
                break
        return 0

    cdef int say(self) except -1:
        data = self.engine.said()
        return 0 if data is None or self.carrier.state & LOST else self.pass_on(data)

    cdef int pass_on(self, data) except -1:
        return (<Sealing>self.below).write_data(data) if self.is_inner() else self.carrier.write_data(data)

    cdef bint is_inner(self) noexcept:
        return self.below is not self.carrier

    cdef int wrote(self) except -1:
        """Encrypt what waits, and look at the water marks."""
        if self.backlog.first == NULL and (self.carrier is None or not self.carrier.state & BLOCKED):
            return 0
        if self.phase == OPEN and self.backlog.first != NULL:
            self.seal_backlog()
        if not self.flags & APP_PAUSED and self._unsent() > self.high_water:
            self.flags |= APP_PAUSED
            self._tell("pause_writing")
        return 0

    cdef Py_ssize_t _unsent(self) noexcept:
        if self.carrier is None:
            return self.backlog.size
        if self.is_inner():
            return self.backlog.size + (<Sealing>self.below)._unsent()
        return self.backlog.size + min(self.carrier.refused_bytes(), self.sealed)

    def _refuse_write(self, data):
        if not PyObject_CheckBuffer(data):
            raise TypeError(f"data argument must be a Buffer or a bytes-like object, not {type(data).__name__!r}")
        if self.carrier is not None:
            if self.carrier.lost_writes >= constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES:
                logger.warning("SSL connection is closed")
            self.carrier.lost_writes += 1
        return 0

    cdef int send_cork(self) except -1:
        return 0 if self.carrier is None else self.carrier.send_cork()

    def pause_writing(self):
        """Called by the carrier when it has enough to send."""
        self.flags |= IS_FULL
        self.wrote()

    def resume_writing(self):
        """Called by the carrier when it has sent most of it."""
        self.flags &= ~<unsigned int>IS_FULL
        if self.phase == OPEN or self.phase == FLUSHES:
            self.seal_backlog()
        if self.flags & APP_PAUSED and self._unsent() <= self.low_water:
            self.flags &= ~<unsigned int>APP_PAUSED
            self._tell("resume_writing")
        if self.flags & APP_PAUSED and not self.flags & IS_FULL:    # it has to tell us again
            self.flags |= IS_FULL
            self._ask_again()
        if self.phase == FLUSHES:
            self.flush()

    cdef int _ask_again(self) except -1:
        """Let what is below call resume_writing() once more."""
        if self.is_inner():
            (<Sealing>self.below).flags |= APP_PAUSED
        else:
            self.carrier.state |= PROTOCOL_PAUSED
        return 0

    def _tell(self, name):
        try:
            getattr(self.protocol, name)()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._loop.call_exception_handler({
                "message": f"protocol.{name}() failed", "exception": exc, "transport": self, "protocol": self.protocol,
            })

    def can_write_eof(self):
        """False: TLS can't end one direction alone."""
        return False

    def write_eof(self):
        """NotImplementedError, as on asyncio's TLS."""
        raise NotImplementedError

    def get_write_buffer_size(self):
        """Bytes that were written and that the kernel has not taken.

        What waits for the end of a callback is sent first.
        """
        self.send_cork()
        return self._unsent()

    def get_write_buffer_limits(self):
        """The water marks (low, high) in bytes."""
        return self.low_water, self.high_water

    def set_write_buffer_limits(self, high=None, low=None):
        """Set the water marks in bytes: pause_writing() is called above `high`, resume_writing() at `low` or below.

        They are 524288 and 131072 by default. If one of them is missing, `low` is a quarter of `high`. ValueError
        unless high >= low >= 0.
        """
        if high is None:
            high = TLS_HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self.high_water = int(high)
        self.low_water = int(low)
        self.set_marks()

    cdef int set_marks(self) except -1:
        """Let what is below tell in time for the marks that hold here."""
        if self.below is not None and self.below.get_protocol() is self:
            self.below.set_write_buffer_limits(min(CARRIER_HIGH, self.high_water), min(CARRIER_LOW, self.low_water))
        return self.wrote()

    @property
    def _protocol_paused(self):
        return (self.flags & APP_PAUSED) != 0

    # --- the end ----------------------------------------------------------------------------------------

    cdef int flush(self) except -1:
        return 0

    cdef int fail(self, exc, message) except -1:
        try:
            if not isinstance(exc, OSError):
                self._loop.call_exception_handler({
                    "message": message, "exception": exc, "transport": self, "protocol": self.protocol})
            elif self._loop.get_debug():
                logger.debug("%r: %s", self, message, exc_info=True)
        finally:
            self.below._force_close(exc)
        return 0


forbid_new(Sealing)


cdef inline bint _can_seal(Sealing self) noexcept:
    return self.phase == OPEN and self.backlog.first == NULL and not self.flags & (IS_FULL | INSIDE)
