# Sealing: what a TLS transport writes, and what all its parts share. See sealing.pyx.

from poolio.c.python cimport vectorcallfunc
from poolio.memory.buffer cimport Buffer
from poolio.wire.readslab cimport ReadSlab
from poolio.wire.receiver cimport Receiver
from poolio.wire.stream cimport StreamTransport
from poolio.wire.tlsengine cimport TLSEngine
from poolio.wire.writequeue cimport WriteQueue

cdef enum:
    TLS_HIGH_WATER = 524288     # bytes: asyncio's default

cdef enum Phase:
    NEW                         # the carrier has not begun
    SHAKES                      # the handshake is on its way
    OPEN                        # data goes both ways
    FLUSHES                     # it was closed: what was written is still sent
    SHUTS                       # close_notify was sent, and the peer's is waited for
    OVER

cdef enum Flag:
    IS_PAUSED = 1               # pause_reading() was called, resume_reading() was not
    IS_FULL = 2                 # the carrier has enough to send: what is written waits in the backlog
    APP_PAUSED = 4              # pause_writing() was called, resume_writing() was not
    WAS_CLOSED = 8              # close() or abort() was called
    APP_MADE = 16               # the protocol has had connection_made()
    APP_AT_END = 32             # and eof_received()
    PEER_AT_END = 64            # the socket has no more
    INSIDE = 128                # OpenSSL is at work: a callback of Python's that it calls may not begin another call
    GOES_ON = 256               # go_on_soon() was called, and it is not soon yet
    IS_SECURED = 512            # the handshake was done
    ENDS_LATER = 1024           # the peer's close_notify has come, and an inner transport has paused this one


cdef class Sealing(Receiver):
    cdef object __weakref__
    cdef readonly StreamTransport carrier      # the socket's transport. None before it has begun
    cdef readonly object below     # what carries it: the carrier, or the TLS transport around this one
    cdef readonly object _loop
    cdef TLSEngine engine
    cdef object protocol
    cdef Phase phase
    cdef unsigned int flags        # a set of Flag
    # how the protocol gets what was decrypted, as in a stream transport
    cdef ReadSlab slab             # None: not decided yet
    cdef object data_received
    cdef vectorcallfunc vectorcall
    cdef int receives_as
    # writing, in bytes of what the user writes
    cdef WriteQueue backlog        # not encrypted yet
    cdef Py_ssize_t sealed         # encrypted since the carrier's queue was last empty
    cdef Py_ssize_t answered       # bytes with which TLS itself has answered the peer, since then or since it read on
    cdef Py_ssize_t high_water
    cdef Py_ssize_t low_water

    cdef int write_data(self, data) except -1
    # Send what waits for the end of a callback
    cdef int send_cork(self) except -1

    # --- what the subclasses use
    # True for TLS in TLS: what is below is a TLS transport
    cdef bint is_inner(self) noexcept
    # Send what TLS itself has to say
    cdef int say(self) except -1
    # Write what is encrypted to what is below
    cdef int pass_on(self, data) except -1
    # Encrypt what waits, until the carrier has enough to send
    cdef int seal_backlog(self) except -1
    # Let the carrier tell in time for the water marks that hold here
    cdef int set_marks(self) except -1
    cdef int wrote(self) except -1
    # End the connection, and report why unless that is usual at the end of a connection
    cdef int fail(self, exc, message) except -1

    # --- what the subclasses do. Called in FLUSHES when the carrier can take more
    cdef int flush(self) except -1

    cdef int _write_buffer(self, Buffer buf) except -1
    cdef int _write_other(self, data) except -1
    cdef Py_ssize_t _seal(self, const char *data, Py_ssize_t size) except -1
    cdef ReadSlab _slab_to_seal_in(self)
    cdef Py_ssize_t _unsent(self) noexcept
    cdef int _ask_again(self) except -1
