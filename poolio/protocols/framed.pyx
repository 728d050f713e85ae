"""Owns poolio.FramedProtocol: the base class of protocols that get whole frames, those of a read or one at a time.

Refuses to know what a frame is (framing) and which transport it runs on (protocol). Called by transports. The bytes of
an unfinished frame stay in the connection's Chain.

    receive(buf) ──> Chain.put() ──> decode_some() ─> frames_received(frames) ...   the default
                                 ──> decode_next() ─> frame_received(frame) ...     if a subclass has this method

A read of small frames has thousands. A list of them all would hold as many Buffers, none of which could be used again
for the next; so a list has IN_A_LIST at most, and what a callback does (close, another codec) holds behind its list.

What was read goes straight into the Chain. Only if a subclass overrides data_received() is that called first.

What a peer does wrong is no error of the program: for bytes that are no frame, and for an end within a frame, the
frames before them are delivered, frame_error() is called, and the connection is closed.
"""

from asyncio import IncompleteReadError

from cpython.object cimport PyObject

from poolio.c.python cimport PyContext_Exit
from poolio.framing.codec cimport Codec, codec_for, decode_next, decode_some, ensure_not_shared
from poolio.memory.buffer cimport Buffer
from poolio.memory.chain cimport Chain
from poolio.memory.pool cimport Pool
from poolio.protocols.protocol cimport ProtocolCore
from poolio.wire.endpoint cimport CLOSING
from poolio.wire.reactor cimport enter_context
from poolio.wire.receiver cimport CAME, OWED, First
from poolio.wire.stream cimport StreamTransport

from poolio.errors import FrameError
from poolio.protocols.protocol import Protocol
from poolio.wire.receiver import hand_over, log_fault_of_peer


cdef enum:
    IN_A_LIST = 256             # frames: as many Buffers as are kept to be used again, and they stay in the cache

BOUNDS = {"IN_A_LIST": IN_A_LIST}


cdef class FramedCore(ProtocolCore):
    "FramedCore(codec=None)\n--\n\n" \
        """The compiled half of FramedProtocol."""

    cdef Codec rules            # None: not chosen yet
    cdef readonly Chain chain
    cdef bint is_asked          # the two below were found out; they stay so from then on
    cdef bint is_overridden     # data_received(), by a subclass or on the instance
    cdef bint takes_single      # frame_received(), by a subclass
    cdef bint is_delivering
    cdef bint has_frame         # one was delivered
    cdef bint is_over           # frame_error() was called, or another protocol has the connection: nothing is decoded

    def __cinit__(self, *arguments, **options):
        self.chain = Chain()

    def __init__(self, codec=None):
        self._choose(self.codec if codec is None else codec)

    cdef int _choose(self, given) except -1:
        self.rules = codec_for(given, "a FramedProtocol")
        if self.codec is not self.rules:
            self.codec = self.rules
        return 0

    cdef Codec _find_rules(self):
        if self.rules is None:          # __init__() was overridden, and not called
            self._choose(self.codec)
        return self.rules

    # --- receiving --------------------------------------------------------------------------------------

    cdef bint receives(self) except -1:
        if not self.is_asked:
            # not by a look into __dict__, which would make one: CPython 3.11 then finds attributes more slowly
            self.is_overridden = self.data_received != FramedCore.data_received.__get__(self)
            self.takes_single = type(self).frame_received is not FramedCore.frame_received
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
        self.receives()
        self._deliver()

    # --- delivering -------------------------------------------------------------------------------------

    cdef int _deliver(self) except -1:
        """Deliver the frames that are complete, and again if a callback has chosen another codec."""
        cdef Codec rules = None
        cdef bint was_delivering = self.is_delivering
        self.is_delivering = True
        try:
            while self.rules is not rules or rules is None:
                rules = self._find_rules()
                if self.is_over:
                    self.chain.clear()
                elif self.takes_single:
                    self._deliver_single()
                else:
                    self._deliver_all(rules)
        finally:
            self.is_delivering = was_delivering
        return 0

    cdef int _deliver_all(self, Codec rules) except -1:
        """Deliver lists of frames, until there are no more, or a callback has closed, handed over or changed codecs."""
        cdef list frames
        cdef Py_ssize_t count
        while True:
            frames = []                 # the frames before are given back, unless somebody has kept them
            error = None
            try:
                decode_some(rules, self.chain, frames, IN_A_LIST)
            except FrameError as exc:
                error = exc
            finally:
                count = len(frames)
                if count > 0:
                    self.has_frame = True
                    self.frames_received(frames)
            if error is not None:
                return self._refuse(error)
            if count < IN_A_LIST or self.rules is not rules or self.is_over or self._is_closing():
                return 0

    cdef int _deliver_single(self) except -1:
        cdef Chain chain = self.chain
        while chain.size > 0 and chain.size >= chain.wanted and not self._is_closing():
            ensure_not_shared(self.rules)
            try:
                frame = decode_next(self.rules, chain)
            except FrameError as exc:
                return self._refuse(exc)
            if frame is None:
                break
            self.has_frame = True
            self.frame_received(frame)
        return chain.unpin()

    cdef bint _is_closing(self) except -1:
        if type(self.transport) is StreamTransport:
            return (<StreamTransport>self.transport).state & CLOSING != 0
        return self.transport is not None and self.transport.is_closing()

    cdef int _refuse(self, error) except -1:
        """The peer has sent what is no frame, or not all of one: let frame_error() answer, then close."""
        if self.transport is None:          # fed by hand: the error is the caller's
            raise error
        self.is_over = True
        self.chain.clear()
        if not self._is_closing():
            try:
                self.frame_error(error)
            finally:
                self.transport.close()
        return 0

    # --- what a subclass overrides ----------------------------------------------------------------------

    def frames_received(self, frames):
        """Called with a list of frames that a read has completed, in order, 1 to 256. The frames are yours.

        If a read has completed more, the next list follows when this returns, unless it has closed the transport.
        """

    def frame_received(self, frame):
        """Override this instead of frames_received() to get one frame at a time.

        The next frame is cut when this returns, so it may call set_codec(), hand_over() or `transport.close()`: the
        bytes behind this frame are the new codec's, the other protocol's or nobody's.
        """

    def frame_error(self, exc):
        """Called when the peer has sent what is no frame, or has ended within one; the connection is closed then.

        `exc` is the codec's FrameError, or an asyncio.IncompleteReadError that has the unfinished frame. The frames
        before it were delivered. What an override writes is sent before the end; connection_lost() gets None. This one
        logs a line at INFO with the logger "poolio".
        """
        log_fault_of_peer(self.transport, exc)

    def eof_received(self):
        """Called when the peer has sent its last byte; delivers a last frame, and closes."""
        if self.is_over:
            return
        try:
            frame = self._find_rules().decode_last(self.chain)
        except (FrameError, IncompleteReadError) as exc:
            self._refuse(exc)
            return
        if frame is not None:
            self.receives()
            self.frame_received(frame) if self.takes_single else self.frames_received([frame])

    def connection_lost(self, exc):
        """Called once at the end; `exc` is None after an orderly close. An override must call super's."""
        self.chain.clear()

    # --- what it calls ----------------------------------------------------------------------------------

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

    def set_codec(self, codec):
        """Use another codec, for what is not decoded yet and for what is written from now on.

        In frame_received() that begins right behind its frame; in frames_received() behind all frames of its list.
        Elsewhere the new codec looks at once at what has come and is no whole frame of the old one's.
        """
        self._choose(codec)
        self.chain.wanted = 0
        if not self.is_delivering:
            self.receives()
            self._deliver()

    def hand_over(self, protocol):
        """Give the connection to another protocol, for an upgrade of what both ends speak.

        The protocol gets connection_made(), then what is not decoded yet, then what comes. In frame_received() that
        begins right behind its frame; in frames_received() behind all frames of its list. This protocol gets no further
        callback, connection_lost() included. ConnectionResetError if the connection is closed or lost.
        """
        if self.transport is None or self._is_closing():
            raise ConnectionResetError("Connection lost")
        self.is_over = True
        transport, self.transport = self.transport, None
        is_paused = transport.get_write_buffer_size() > transport.get_write_buffer_limits()[1]
        hand_over(transport, protocol, self.chain.cut_all(), is_paused=is_paused)

    cdef First first_frame(self) noexcept:
        return CAME if self.has_frame else OWED

    cdef Py_ssize_t unread_in(self, Pool pool) except -1:
        return self.chain.bytes_in(pool)

    cdef bytes unread(self):
        return self.chain.copy()

    cdef int drop_unread(self) except -1:
        self.chain.clear()
        return 0


class FramedProtocol(FramedCore, Protocol):
    """A stream protocol whose `frames_received(frames)` gets the frames of a read at once, up to 256 in a list.

    codec  a poolio.Codec (LengthPrefixed, Delimited, ...), or its class, or a function without arguments that makes
           one, which is called for each connection; None means the class attribute `codec`. An object may serve all
           connections if it keeps no state, as poolio's own; if it does, a second connection is a RuntimeError.
           The `codec` of a FramedProtocol is the one of its connection

    In everything else it is as poolio.Protocol. An override of connection_lost() must call super's, which drops an
    unfinished frame.
    """

    codec = None
