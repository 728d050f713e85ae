"""Owns what a TLS transport reads: receiving, decrypting, delivering, pausing.

Refuses to know how bytes are decrypted (tlsengine, openssl), and how the connection begins and ends (tlstransport):
shake() and the others are its subclass's. Called by the carrier when the socket is readable and when there is memory
again; by protocols, which pause it.

    readable ──> recv into one scratch of the reactor ──> the engine ──> the tail of the read slab
             ──> a Buffer of what came ──> data_received(buf)

What was received and is not decrypted yet is kept in memory of its own size before any Python code runs, as that may
receive into the scratch. While there is some, or reading is paused, nothing more is received.

TLS itself answers some of what a peer sends, such as key updates. A peer that does not read these answers is not read
from any more, until it does: they would pile up.
"""

import asyncio

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.object cimport PyObject

from poolio.c.faults cimport poolio_new_bytes
from poolio.c.net cimport poolio_recv
from poolio.c.python cimport PyContext_Exit, PyMethod_Check, PyMethod_GET_FUNCTION, PyVectorcall_Function
from poolio.memory.buffer cimport Buffer
from poolio.memory.pool cimport Pool, default_pool
from poolio.memory.slab cimport ON_RELEASE
from poolio.wire.delivery cimport call_with_buffer, call_with_data
from poolio.wire.endpoint cimport ACTIVE, HEARD, LOST, PAUSED, SHORT
from poolio.wire.reactor cimport Reactor, enter_context
from poolio.wire.readslab cimport ReadSlab, Reservation, read_slab_for, room_in
from poolio.wire.receiver cimport UNKNOWN, First, Receiver
from poolio.wire.sealing cimport (
    FLUSHES, GOES_ON, INSIDE, IS_FULL, IS_PAUSED, OPEN, PEER_AT_END, SHAKES, SHUTS, Sealing,
)
from poolio.wire.stream cimport BUFFERS, BYTES, RECEIVER, ROOM, UNDECIDED, StreamTransport
from poolio.wire.tlsengine cimport ENDED, FAILED, MORE, WANTS, Outcome, may_have_said
from poolio.wire.writequeue cimport queued_from

from poolio.memory.methods import forbid_new

cdef enum:
    SCRATCH = 262144            # bytes: what is received at a time
    RECORD = 16384              # bytes that a record of TLS holds at most
    MOST_ANSWERS = 65536        # bytes: 2,400 answers to key updates. A peer asks for one in 2 ** 24 records

BOUNDS = {"MOST_ANSWERS": MOST_ANSWERS}
cdef str DATA_RECEIVED = "data_received"
cdef str FAILED_TLS = "Fatal error on SSL protocol"
cdef str FAILED_CALL = "Fatal error: protocol.data_received() call failed."


cdef class Unsealing(Sealing):

    cdef bint reads_itself(self) noexcept:
        return True

    cdef int read_itself(self) except -1:
        cdef StreamTransport carrier = self.carrier
        cdef Reactor reactor = carrier.reactor
        cdef char *scratch
        cdef Py_ssize_t received
        if reactor.tls_room is None:
            reactor.tls_room = bytearray(SCRATCH)
        scratch = PyByteArray_AS_STRING(reactor.tls_room)
        received = poolio_recv(carrier.fd, scratch, <size_t>PyByteArray_GET_SIZE(reactor.tls_room))
        if received <= 0:
            return carrier._read_nothing(received)
        carrier.state |= ACTIVE
        self.engine.feed(scratch, received)
        if self.phase == OPEN:
            return self._take_one()
        self.engine.keep()
        if self.phase == SHAKES:
            carrier.state |= HEARD
            context = enter_context(carrier.context)
            try:
                self.shake()
            finally:
                PyContext_Exit(<PyObject *>context)
            return self.take() if self.phase == OPEN and self.engine.has_more() else 0
        return self._read_off()

    cdef inline int _take_one(self) except -1:
        """take() for the usual case: a protocol of poolio's gets all that has come as one Buffer."""
        cdef Py_ssize_t size, got
        cdef Outcome outcome
        cdef char *room
        cdef Buffer buf
        if self.receives_as < BUFFERS or self.engine.runs_python or self.flags & (IS_PAUSED | INSIDE):
            return self.take()
        room = room_in(self.slab, &size)
        if room == NULL:
            return self.take()
        outcome = self.engine.unseal(room, size, &got)
        if got == 0:
            self.slab.leave()
            self.engine.keep()
            return self._came_to(outcome) if outcome != MORE else 0
        buf = self.slab.take(got)
        if outcome != WANTS:
            self.engine.keep()
        self.carrier.state |= HEARD
        if may_have_said(self.engine):
            self._answer()
        if self.receives_as == RECEIVER:
            (<Receiver>self.protocol).receive(buf, self.carrier.context)
        else:
            method = self.data_received             # set_protocol() may be called meanwhile
            call_with_buffer(method, self.vectorcall, self.carrier.context, buf)
        if outcome == MORE:
            return self.take()
        if (outcome != WANTS or self.phase != OPEN or self.flags & (IS_PAUSED | GOES_ON) or self.backlog.first != NULL
                or may_have_said(self.engine)):
            return self._came_to(outcome)
        return 0

    cdef int take(self) except -1:
        """Decrypt and deliver what has come, until there is no more or the protocol pauses or closes."""
        cdef Outcome outcome = MORE
        if self.receives_as == UNDECIDED:
            self._decide()
        while outcome == MORE and self.phase == OPEN and not self.flags & (IS_PAUSED | INSIDE):
            if self.carrier.state & LOST:
                return 0
            if self.receives_as == ROOM:
                return self._take_into_room()
            data = self._unseal_held(&outcome) if self.engine.runs_python else self._unseal(&outcome)
            if outcome == MORE and data is None:        # no memory: the carrier waits for it
                break
            if outcome != WANTS:
                self.engine.keep()
            if data is not None:
                if self.phase != OPEN:                  # a callback of OpenSSL's has ended it
                    return 0
                self.carrier.state |= HEARD
                self._answer()
                self._deliver(data)
                if self.receives_as == UNDECIDED:       # there is another protocol
                    self._decide()
        self.engine.keep()
        return self._came_to(outcome)

    cdef int _answer(self) except -1:
        """Send what TLS has to say to what was read: answers to key updates, alerts. They are counted."""
        data = self.engine.said()
        if data is not None and not self.carrier.state & LOST:
            if self.carrier.queue.first == NULL:
                self.answered = 0
            self.answered += len(data)
            self.carrier.write_data(data)
            if self.answered > MOST_ANSWERS:
                self.update_reading()
        return 0

    cdef int _came_to(self, Outcome outcome) except -1:
        """Act on what the last unseal() has found, when all that was decrypted is delivered."""
        if self.phase != OPEN and self.phase != FLUSHES or self.carrier.state & LOST:
            return 0
        self._answer()
        if outcome == FAILED:
            exc, self.engine.failure = self.engine.failure, None
            return self.fail(exc, FAILED_TLS)
        if outcome == ENDED and self.phase == OPEN:
            return self.end_of_peer()
        if self.backlog.first != NULL:
            self.seal_backlog()
        return self.update_reading()

    cdef object _unseal(self, Outcome *outcome):
        """A Buffer or bytes of what was decrypted; None if there is nothing, or, with MORE, no memory."""
        cdef Py_ssize_t size, got
        cdef char *room = room_in(self.slab, &size)
        if room == NULL:
            self._wait_for_memory()
            outcome[0] = MORE
            return None
        outcome[0] = self.engine.unseal(room, size, &got)
        if got == 0:
            self.slab.leave()
            return None
        if self.receives_as == BYTES:
            try:
                data = poolio_new_bytes(room, got)
            finally:
                self.slab.claim(0, got, 0)
            self.slab.look_after_timer()
            return data
        return self.slab.take(got)

    cdef object _unseal_held(self, Outcome *outcome):
        """_unseal() for an engine during which other code may run: the room is held for it."""
        cdef Py_ssize_t got = 0
        cdef ReadSlab slab = self.slab                 # set_protocol() may be called meanwhile
        cdef Reservation room
        cdef Buffer buf
        self.engine.keep()
        if not slab.make_room():
            self._wait_for_memory()
            outcome[0] = MORE
            return None
        room = slab.reserve()
        room.exports += 1
        self.flags |= INSIDE
        try:
            outcome[0] = self.engine.unseal(room.data, room.length, &got)
        finally:
            self.flags &= ~<unsigned int>INSIDE
            room.exports -= 1
            if got > 0:
                buf = slab.commit(room, got)
            slab._give_up_latest()
        if got == 0:
            return None
        return buf.tobytes() if self.receives_as == BYTES else buf

    cdef int _wait_for_memory(self) except -1:
        self.engine.keep()
        if not self.carrier.state & SHORT:
            self.carrier.slab = self.slab
            self.carrier.wait_for_memory()
        return 0

    cdef int _deliver(self, object data) except -1:
        if self.receives_as == RECEIVER:
            return (<Receiver>self.protocol).receive(<Buffer>data, self.carrier.context)
        if self.receives_as == BUFFERS:
            return call_with_buffer(self.data_received, self.vectorcall, self.carrier.context, data)
        return call_with_data(self.protocol, DATA_RECEIVED, self.carrier.context, data)

    cdef int _take_into_room(self) except -1:
        """Decrypt into the room of an asyncio.BufferedProtocol."""
        cdef Py_buffer view
        cdef Py_ssize_t got
        cdef Outcome outcome = MORE
        self.engine.keep()
        context = enter_context(self.carrier.context)
        try:
            while outcome == MORE and self.phase == OPEN and not self.flags & IS_PAUSED and self.receives_as == ROOM:
                if not self.engine.has_more():
                    outcome = WANTS
                    break
                room = self.protocol.get_buffer(self.engine.held())
                if len(room) == 0:
                    raise RuntimeError("get_buffer() returned an empty buffer")
                PyObject_GetBuffer(room, &view, PyBUF_WRITABLE)
                self.flags |= INSIDE
                try:
                    outcome = self.engine.unseal(<char *>view.buf, view.len, &got)
                finally:
                    self.flags &= ~<unsigned int>INSIDE
                    PyBuffer_Release(&view)
                self.engine.keep()
                if got > 0:
                    self.carrier.state |= HEARD
                    self._answer()
                    self.protocol.buffer_updated(got)
        finally:
            PyContext_Exit(<PyObject *>context)
        if outcome == MORE and self.phase == OPEN and not self.flags & IS_PAUSED:
            return self.take()                         # there is another protocol
        return self._came_to(outcome)

    cdef int _decide(self) except -1:
        """Find out how this protocol wants its data. Called late, as connection_made() may still set its pool."""
        cdef Receiver receiver
        protocol = self.protocol
        if isinstance(protocol, Receiver):
            receiver = <Receiver>protocol
            self.slab = read_slab_for(receiver.connection_pool(), self._loop)
            self.data_received = protocol.data_received
            self.receives_as = RECEIVER if receiver.receives() else BUFFERS
            if PyMethod_Check(<PyObject *>self.data_received):
                self.vectorcall = PyVectorcall_Function(PyMethod_GET_FUNCTION(<PyObject *>self.data_received))
        else:
            self.slab = read_slab_for(default_pool(), self._loop)
            self.receives_as = ROOM if isinstance(protocol, asyncio.BufferedProtocol) else BYTES
        if self.slab.pool.zeroing_mode == ON_RELEASE:
            self.engine.wipes()
        return 0

    def pause_reading(self):
        """Decrypt and receive nothing until `resume_reading()`."""
        self.flags |= IS_PAUSED
        self.update_reading()

    def resume_reading(self):
        """Read again: first what was received already, in the loop's next turn."""
        if self.flags & IS_PAUSED:
            self.flags &= ~<unsigned int>IS_PAUSED
            if self.phase == OPEN and (self.flags & PEER_AT_END or self.engine.has_more()):
                self.go_on_later()
            self.update_reading()

    def get_read_buffer_size(self):
        """Bytes that were received and are not decrypted: at most what one read brings."""
        return self.engine.held()

    def is_reading(self):
        """True if it is neither paused nor closing."""
        return not self.is_closing() and not self.flags & IS_PAUSED

    def pause_writing(self):
        """Called by the carrier when it has enough to send."""
        Sealing.pause_writing(self)
        self.update_reading()

    def resume_writing(self):
        """Called by the carrier when it has sent most of it."""
        self.answered = 0
        Sealing.resume_writing(self)
        self.update_reading()

    cdef int update_reading(self) except -1:
        cdef bint holds = self.phase == OPEN and self.flags & (IS_PAUSED | GOES_ON) != 0
        holds = holds or self.flags & IS_FULL and self.answered > MOST_ANSWERS
        if self.carrier is not None and holds != (self.carrier.state & PAUSED != 0):
            self.carrier.pause_reading() if holds else self.carrier.resume_reading()
        return 0

    cdef int go_on_later(self) except -1:
        if not self.flags & GOES_ON:
            self.flags |= GOES_ON
            self._loop.call_soon(self._go_on)
            self.update_reading()
        return 0

    def _go_on(self):
        """Deliver what was received before, now that there is room or reading is no longer paused."""
        self.flags &= ~<unsigned int>GOES_ON
        if self.phase != OPEN or self.carrier.state & LOST:
            return
        try:
            if self.engine.has_more():
                self.take()
            if self.phase == OPEN and self.flags & PEER_AT_END and not self.flags & (IS_PAUSED | GOES_ON):
                self.end_of_peer()
            self.update_reading()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self.fail(exc, FAILED_CALL)

    cdef int _read_off(self) except -1:
        """Something has come after close(): only the peer's close_notify counts."""
        if self.phase != FLUSHES and self.phase != SHUTS or self.flags & INSIDE:
            return 0
        outcome = self.pass_over()
        if outcome == FAILED:
            return 0
        if self.phase == FLUSHES:                       # TLS may have waited for this to encrypt the rest
            return 0 if self.flags & IS_FULL else self.flush()
        return self.shut() if outcome == ENDED else 0

    cdef Outcome pass_over(self) except *:
        """Decrypt what has come, and forget it."""
        cdef Py_ssize_t got
        cdef Outcome outcome = MORE
        waste = bytearray(RECORD)
        while outcome == MORE:
            outcome = self.engine.unseal(PyByteArray_AS_STRING(waste), RECORD, &got)
        self.engine.keep()
        self._answer()
        if outcome == FAILED:
            exc, self.engine.failure = self.engine.failure, None
            self.stop_timer()
            self.fail(exc, FAILED_TLS)
        return outcome

    cdef object forget(self):
        self.receives_as = UNDECIDED
        self.data_received = self.slab = None
        self.vectorcall = NULL

    # --- what the carrier and its server ask of its protocol ----------------------------------------------

    cdef object waiting_task(self):
        protocol = self.protocol
        task = (<Receiver>protocol).waiting_task() if isinstance(protocol, Receiver) else None
        return protocol if task is None else task

    cdef First first_frame(self) noexcept:
        protocol = self.protocol
        return (<Receiver>protocol).first_frame() if isinstance(protocol, Receiver) else UNKNOWN

    cdef Py_ssize_t unread_in(self, Pool pool) except -1:
        cdef Py_ssize_t held = queued_from(&self.backlog, pool)
        protocol = self.protocol
        return held + ((<Receiver>protocol).unread_in(pool) if isinstance(protocol, Receiver) else 0)

    # --- what the subclass does -----------------------------------------------------------------------------

    cdef int shake(self) except -1:
        return 0

    cdef int shut(self) except -1:
        return 0

    cdef int end_of_peer(self) except -1:
        return 0

    cdef int stop_timer(self) except -1:
        return 0


forbid_new(Unsealing)
