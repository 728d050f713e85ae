"""Owns FrameBuilder: a frame whose size is known only at its end, with room for its header in front.

Refuses to know what a header says (the codec's put_header()), and connections: it sends through any object that has
write() and writelines(). Made by `writer.frame(codec)`, which gives it the pool of the connection.
"""

cimport cython
from cpython.bytes cimport PyBytes_CheckExact

from poolio.framing.codec cimport Codec
from poolio.framing.encoding cimport pool_or_default
from poolio.memory.allocation cimport try_freeze
from poolio.memory.buffer cimport Buffer, slice_of
from poolio.memory.pool cimport Pool

cdef enum:
    BLOCK_BYTES = 4096          # for small pieces of a frame; pieces larger than half of it are sent as they are


@cython.final
@cython.nonecheck(True)
cdef class FrameBuilder:
    """Builds one frame whose size is known only at its end, with room for its header in front.

        with writer.frame(codec) as frame:
            frame.reserve(4).write_u32be(kind, 0)
            frame.write(payload)

    codec   a LengthPrefixed without offset, or a Varint
    pool    where the frame lies: the connection's pool; None means the default pool

    At the end of the `with` block the header is filled in and the frame is sent. If the block raises, nothing is sent.
    FrameTooLarge is raised at the end of the block if the body is beyond the codec's max_frame, or beyond what the
    length field can say.
    """

    cdef object writer              # has write() and writelines()
    cdef Codec codec
    cdef Pool pool
    cdef Buffer head                # the first block, with room for the header
    cdef Buffer block               # small pieces are copied here; None: closed
    cdef Py_ssize_t start           # of the bytes in the block that are not yet among the pieces
    cdef Py_ssize_t end             # of all bytes in the block
    cdef list pieces                # of the body
    cdef Py_ssize_t size            # of the body so far

    def __init__(self, writer, codec, pool=None):
        if not isinstance(codec, Codec) or (<Codec>codec).header_room == 0:
            raise TypeError(f"frame() takes a LengthPrefixed without offset or a Varint, not {codec!r}")
        self.writer = writer
        self.codec = <Codec>codec
        self.pool = pool_or_default(pool)
        self.pieces = []
        self.head = self.block = self.pool.allocate(BLOCK_BYTES)
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
        """Append a Buffer or any bytes-like object.

        `bytes` and Buffers above 2 KiB are not copied; such a Buffer is frozen from here on.
        """
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
        """Return the next `size` bytes of the body as a writable Buffer.

        Fill all of it: only a pool that zeroes has cleared it.
        """
        self._ensure_open()
        if size < 0:
            raise ValueError(f"size must be at least 0, not {size}")
        return self._reserve(size)

    cdef Buffer _reserve(self, Py_ssize_t size):
        cdef Buffer room
        if size > self.block.length - self.end:
            self._end_piece()
            self.block = self.pool.allocate(max(size, BLOCK_BYTES))
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
