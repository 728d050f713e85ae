"""Owns poolio.FramedProtocol: the base class of protocols that get whole frames, all frames of a read in one call.

Refuses to know what a frame is (framing) and which transport it runs on (protocol). Called by transports. The bytes of
an unfinished frame stay in the connection's Chain. When the peer ends in the middle of a frame, or sends bytes that are
no frame, the connection is closed with that error, after the frames before it were delivered.

    receive(buf) ──> Chain.put() ──> decode_all() ──> frames_received(frames)

What was read goes straight into the Chain. Only if a subclass overrides data_received() is that called first.
"""

from cpython.object cimport PyObject

from poolio.c.python cimport PyContext_Exit
from poolio.framing.codec cimport Codec, decode_all
from poolio.memory.buffer cimport Buffer
from poolio.memory.chain cimport Chain
from poolio.memory.pool cimport Pool
from poolio.protocols.protocol cimport ProtocolCore
from poolio.wire.reactor cimport enter_context

from poolio.protocols.protocol import Protocol


cdef class FramedCore(ProtocolCore):
    """The compiled half of FramedProtocol."""

    cdef Codec rules
    cdef readonly Chain chain
    cdef bint is_asked          # is_overridden was found out; it stays so from then on
    cdef bint is_overridden     # data_received(), by a subclass or on the instance

    def __cinit__(self, *arguments, **options):
        self.chain = Chain()

    def __init__(self, codec=None):
        self.rules = _checked(self.codec if codec is None else codec)

    cdef bint receives(self) except -1:
        if not self.is_asked:
            self.is_overridden = (type(self).data_received is not FramedCore.data_received
                                  or "data_received" in getattr(self, "__dict__", ()))
            self.is_asked = True
        return not self.is_overridden

    cdef int receive(self, Buffer buf, object context) except -1:
        entered = enter_context(context)
        try:
            return self._take(buf)
        finally:
            PyContext_Exit(<PyObject *>entered)

    cdef int receive_on_loop(self, Buffer buf) except -1:
        if self.receives():
            return self._take(buf)
        self.data_received(buf)
        return 0

    cdef int _take(self, Buffer buf) except -1:
        """Take a Buffer that nobody else knows, and deliver the frames that it completes."""
        self.chain.put(buf)
        return self._deliver()

    def data_received(self, buf):
        """For data that no transport has brought: cuts it into frames and delivers them. A Buffer stays yours."""
        self.chain.append(buf)
        self._deliver()

    cdef int _deliver(self) except -1:
        cdef list frames = []
        try:
            decode_all(self._find_rules(), self.chain, frames)
        finally:
            if frames:
                self.frames_received(frames)
        return 0

    def frames_received(self, frames):
        """Called with a list of all frames that a read has completed, at least one, in order. The frames are yours."""

    def eof_received(self):
        """Called when the peer has sent its last byte; delivers a last frame, and raises for an unfinished one."""
        frame = self._find_rules().decode_last(self.chain)
        if frame is not None:
            self.frames_received([frame])

    def connection_lost(self, exc):
        """Called once at the end; `exc` is None after an orderly close. An override must call super's."""
        self.chain.clear()

    def write_frame(self, *pieces):
        """Send one frame of these bytes-like pieces, as the codec writes it, in the connection's pool.

        LengthPrefixed without offset and Varint do not copy the pieces of a body above 4 KiB; Buffers among them are
        frozen, as by `write()`. Raises FrameTooLarge beyond the codec's max_frame, PoolExhausted at the pool's limit;
        nothing is sent then.
        """
        frame = self._find_rules().to_send(pieces, self.connection_pool())
        if type(frame) is list:
            self.writelines(frame)
        else:
            self.write(frame)

    cdef Codec _find_rules(self):
        if self.rules is None:          # __init__() was overridden, and not called
            self.rules = _checked(self.codec)
        return self.rules

    cdef Py_ssize_t unread_in(self, Pool pool) except -1:
        return self.chain.bytes_in(pool)

    cdef bytes unread(self):
        return self.chain.copy()

    cdef int drop_unread(self) except -1:
        self.chain.clear()
        return 0


cdef Codec _checked(codec):
    if not isinstance(codec, Codec):
        raise TypeError(f"a FramedProtocol needs a poolio.Codec, not {type(codec).__name__!r}: "
                        "give it one, or set `codec` on the class")
    return <Codec>codec


class FramedProtocol(FramedCore, Protocol):
    """A stream protocol whose `frames_received(frames)` gets the frames of a whole read at once.

    codec  a poolio.Codec (LengthPrefixed, Delimited, ...); None means the class attribute `codec`. One codec may serve
           all connections if it is poolio's own, or keeps no state.

    In everything else it is as poolio.Protocol. An override of connection_lost() must call super's, which drops an
    unfinished frame.
    """

    codec = None
