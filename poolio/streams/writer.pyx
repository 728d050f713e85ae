"""Owns the writing side of a stream, and the protocol between a stream and its transport.

Refuses to know who connects and serves (streams) and how reading waits (reader, waiter). Called by transports
(StreamCore) and by user code (WriterCore, FrameBuilder). What is rare, and waits, stands in streams.py.

A write goes to the transport at once, which knows when to send. drain() waits only while the transport's queue is above
high water.
"""

cimport cython
from cpython.bytes cimport PyBytes_CheckExact

from poolio.framing.codec cimport Codec
from poolio.memory.allocation cimport try_freeze
from poolio.memory.buffer cimport Buffer, slice_of
from poolio.memory.pool cimport Pool, default_pool
from poolio.protocols.protocol cimport ProtocolCore
from poolio.streams.reader cimport StreamReader
from poolio.streams.waiter cimport ready
from poolio.wire.endpoint cimport CLOSING
from poolio.wire.readslab cimport Reservation
from poolio.wire.stream cimport StreamTransport

cdef enum:
    BLOCK_BYTES = 4096          # of small pieces of a frame; larger ones than half of it are sent as they are


@cython.nonecheck(True)             # subclasses may forget to call __init__()
cdef class StreamCore(ProtocolCore):
    """The compiled half of StreamProtocol."""

    cdef int receive(self, Buffer buf) except -1:
        return self.reader.arrived(buf)

    cdef object _deliver(self, Reservation room, Py_ssize_t nbytes):
        self.reader.fed(self.read_slab.commit(room, nbytes))

    def data_received(self, buf):
        """For who has data that no transport brought: a Buffer, or a bytes-like object that is copied."""
        self.reader.feed_data(buf)

    cdef Py_ssize_t unread(self) except -1:
        return self.reader.chain.size

    cdef Py_ssize_t unread_in(self, Pool pool) except -1:
        return self.reader.chain.bytes_in(pool)

    @property
    def loop(self):
        """The event loop of the stream."""
        return self.reader.given_loop

    @property
    def pool(self):
        """What is received into; None: the default pool."""
        return self.reader.chain.pool

    def start_reader(self, limit, loop, pool):
        """Make the StreamReader; once, at the beginning."""
        self.reader = StreamReader(limit, loop, pool=pool)
        self.receives_in_c = True

    def pause_writing(self):
        """For the transport: its queue is above high water."""
        self.is_writing_paused = True

    def resume_writing(self):
        """For the transport: its queue has fallen to low water."""
        self.is_writing_paused = False
        self._end_drain(None)

    def stop_writing(self, exc):
        """The connection is lost."""
        self.is_lost = True
        self._end_drain(exc)

    def _end_drain(self, exc):
        waiters, self.drain_waiters = self.drain_waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None) if exc is None else waiter.set_exception(exc)

    def drain_waiter(self, loop):
        """A future until writing may go on; None: it may. ConnectionResetError when the connection is lost."""
        if self.is_lost:
            raise ConnectionResetError("Connection lost")
        if not self.is_writing_paused:
            return None
        if self.drain_waiters is None:
            self.drain_waiters = {}
        waiter = loop.create_future()
        self.drain_waiters[waiter] = None
        return waiter

    def forget_drain(self, waiter):
        """Nobody waits with it any more."""
        if self.drain_waiters is not None:
            self.drain_waiters.pop(waiter, None)


cdef object _nothing = ready(None)


@cython.nonecheck(True)
cdef class WriterCore:
    """The compiled half of StreamWriter."""

    def __init__(self, transport, protocol, reader):
        self.protocol = protocol
        self.reader = reader
        self._set_transport(transport)

    def _set_transport(self, transport):
        self.given_transport = transport
        self.own = <StreamTransport>transport if type(transport) is StreamTransport else None
        self.protocol.transport = transport

    @property
    def transport(self):
        """The transport that it writes to."""
        return self.given_transport

    def write(self, data):
        """Send a Buffer or any bytes-like object, what it holds now; never waits. As `poolio.Protocol.write()`.

        Write as much as you like between two `await writer.drain()`, but not without end.
        """
        if self.own is not None:
            self.own.write_data(data)
        else:
            self.protocol._write_elsewhere(data)

    def writelines(self, data):
        """Send several pieces in order, gathered."""
        self.protocol.writelines(data)

    def drain(self):
        """Wait while the transport's queue is above high water; mostly there is nothing to wait for.

        Raises the error of the connection.
        """
        if (self.protocol.is_writing_paused or self.protocol.is_lost or self._is_closing()
                or (self.reader is not None and self.reader.error is not None)):
            return self._drain()
        return _nothing

    cdef bint _is_closing(self) except -1:
        if self.own is not None:
            return (self.own.state & CLOSING) != 0
        return self.given_transport.is_closing()

    def write_frame(self, codec, *pieces):
        """Send one frame of these pieces as the codec encodes it; large ones are not copied."""
        cdef list parts
        if not isinstance(codec, Codec):
            raise TypeError(f"write_frame() takes a poolio.Codec, not {type(codec).__name__!r}")
        parts = (<Codec>codec).gather(list(pieces))
        if len(parts) == 1:
            self.write(parts[0])
        else:
            self.writelines(parts)

    def frame(self, codec):
        """A FrameBuilder, to be used in a `with` statement; the frame is sent at its end."""
        return FrameBuilder(self, codec)


@cython.final
@cython.nonecheck(True)
cdef class FrameBuilder:
    """Builds one frame whose size is not known before, with room for its header in front.

        with writer.frame(codec) as frame:
            frame.reserve(4).write_u32be(kind, 0)
            frame.write(payload)

    codec  a LengthPrefixed without offset, or a Varint

    At the end of the `with` the header is filled in and the frame is sent; if the block raises, nothing is sent.
    FrameTooLarge beyond the codec's max_frame, when the frame is sent.
    """

    cdef WriterCore writer
    cdef Codec codec
    cdef Buffer head                # the first block, with room for the header
    cdef Buffer block               # small pieces are copied here; None: closed
    cdef Py_ssize_t start           # of what is in it and not yet among the pieces
    cdef Py_ssize_t end
    cdef list pieces                # of the body
    cdef Py_ssize_t size

    def __init__(self, WriterCore writer, codec):
        if not isinstance(codec, Codec) or (<Codec>codec).header_room == 0:
            raise TypeError(f"frame() takes a LengthPrefixed without offset or a Varint, not {codec!r}")
        self.writer = writer
        self.codec = <Codec>codec
        self.pieces = []
        self.head = self.block = default_pool()._carve(BLOCK_BYTES, False)
        self.start = self.end = self.codec.header_room

    def __enter__(self):
        self._ensure_open()
        return self

    def __exit__(self, kind, exc, traceback):
        self._ensure_open()
        try:
            if kind is None:
                self._send()
        finally:
            self.block = self.head = None
            self.pieces = []

    def __len__(self):
        """Bytes of the body so far."""
        return self.size

    def write(self, data):
        """Append a Buffer or any bytes-like object. Large Buffers, frozen from here on, and `bytes` are not copied."""
        cdef Py_ssize_t size = len(data) if PyBytes_CheckExact(data) or type(data) is Buffer else 0
        self._ensure_open()
        if size > BLOCK_BYTES // 2 and (PyBytes_CheckExact(data) or try_freeze(<Buffer>data)):
            self._end_piece()
            self.pieces.append(data if PyBytes_CheckExact(data) else slice_of(<Buffer>data, 0, size))
            self.size += size
            return
        with memoryview(data) as view:
            self._reserve(view.nbytes)[:] = view.cast("B") if view.nbytes else b""

    def reserve(self, Py_ssize_t size):
        """The next `size` bytes of the body, as a Buffer to be written to. They are not zeroed: fill them."""
        self._ensure_open()
        if size < 0:
            raise ValueError(f"size must be at least 0, not {size}")
        return self._reserve(size)

    cdef Buffer _reserve(self, Py_ssize_t size):
        cdef Buffer room
        if size > self.block.length - self.end:
            self._end_piece()
            self.block = default_pool()._carve(max(size, BLOCK_BYTES), False)
            self.start = self.end = 0
        room = slice_of(self.block, self.end, size)
        self.end += size
        self.size += size
        return room

    cdef int _ensure_open(self) except -1:
        if self.block is None:
            raise ValueError("this frame was sent or given up")
        return 0

    cdef int _end_piece(self) except -1:
        if self.end > self.start:
            self.pieces.append(slice_of(self.block, self.start, self.end - self.start))
            self.start = self.end
        return 0

    cdef int _send(self) except -1:
        cdef Py_ssize_t room = self.codec.header_room
        cdef Py_ssize_t header = self.codec.put_header(self.head.data + room, self.size)
        if self.block is self.head and not self.pieces:
            self.writer.write(slice_of(self.head, room - header, header + self.size))
        else:
            self._end_piece()
            self.writer.writelines([slice_of(self.head, room - header, header), *self.pieces])
        return 0
