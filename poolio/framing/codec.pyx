"""Owns the codecs: where a frame begins and ends in a stream of bytes, and how one is written.

Refuses to know connections: bytes come in a Chain, frames go out as Buffers. Called by FramedProtocol, by
`reader.frames()`, by `writer.write_frame()`, and by anybody who calls feed().

A codec is the rules alone; how far a connection has come is in its Chain. So one codec serves any number of
connections, but for `feed()`, which keeps a chain of its own. A frame is a slice of what was received, or one copy
where it straddles two Buffers. What a peer announces is compared with `max_frame` and reserves nothing.

A frame that is too large raises FrameTooLarge, after all frames before it were handed over, each time that its chain is
looked at; or it is dropped as it comes and counted (too_large="discard").
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcpy

from asyncio import IncompleteReadError

from poolio.c.python cimport PY_SSIZE_T_MAX
from poolio.memory.buffer cimport Buffer, slice_of
from poolio.memory.chain cimport UNTIL_THE_END, Chain
from poolio.memory.pool cimport default_pool

from poolio.errors import FrameError, FrameTooLarge

cdef enum:
    MAX_FRAME = 1 << 20         # the default: what WebSocket libraries allow; gRPC 4 MiB
    LARGEST_HEADER = 64
    VARINT_BYTES = 10           # 64 bits in groups of 7
    # Up to so many bytes a copy into one Buffer costs less than sending header and body as two pieces.
    COPY_UP_TO = 4096
    # Several delimiters are searched in windows that double: one that is nowhere costs no more than those that are.
    FIRST_WINDOW = 256


cdef class Codec:
    """Base of all codecs, and of your own: override `decode(chain)`, and `encode(...)` if you also write.

    max_frame  the largest frame in bytes, without header and delimiter, inclusive; 1 MiB by default. A codec of your
               own looks after it itself.
    too_large  "raise": FrameTooLarge; "discard": drop such frames, count them in `discarded` and go on.

    `decode(chain)` takes the next frame out of a `poolio.Chain`, a byte at least, and returns it, a Buffer or any other
    object; None: it is not complete. It may set `chain.wanted` to the number of bytes that the chain must hold for
    another try, and raise FrameError for what is no frame: the connection is then closed. State of a codec of your own
    belongs to one connection: give each its own codec then.
    """

    def __init__(self, *, max_frame=MAX_FRAME, too_large="raise"):
        if not 1 <= max_frame <= PY_SSIZE_T_MAX // 4:
            raise ValueError(f"max_frame must be in 1..{PY_SSIZE_T_MAX // 4} bytes, not {max_frame}")
        self.max_frame = max_frame
        self.discards = _one_of("too_large", too_large, "raise", "discard")

    cpdef object decode(self, Chain chain):
        """The next frame; None if it is not complete."""
        raise NotImplementedError(f"{type(self).__name__} has no decode()")

    cpdef object decode_last(self, Chain chain):
        """Called at the end of the stream, after the last whole frame: a last frame, or None.

        Bytes that are left are an asyncio.IncompleteReadError, which has them.
        """
        ensure_chain(chain)
        if chain.size > 0:
            raise IncompleteReadError(bytes(chain.cut(chain.size)), None)
        return None

    def encode(self, *pieces):
        """One frame, ready to be sent."""
        raise NotImplementedError(f"{type(self).__name__} has no encode()")

    cpdef object gather(self, list pieces):
        """A list of what to send for a frame of these pieces. encode(*pieces), or without a copy of the large ones."""
        return [self.encode(*pieces)]

    cdef Py_ssize_t put_header(self, char *end, Py_ssize_t size) except -1:
        raise NotImplementedError

    @property
    def chain(self):
        """The Chain of `feed()`: what was fed and is not yet a whole frame."""
        if self.chain_of_feed is None:
            self.chain_of_feed = Chain()
        return self.chain_of_feed

    def feed(self, data):
        """The frames that are complete with these bytes, in order. A Buffer is not copied; you may release yours.

        What decode() raises comes at the first call that has no whole frame to return before it.
        """
        cdef Chain chain = self.chain
        cdef list frames = []
        chain.append(data)
        error, self.error_of_feed = self.error_of_feed, None
        if error is not None:
            raise error
        try:
            decode_all(self, chain, frames)
        except Exception as exc:
            if not frames:
                raise
            self.error_of_feed = exc
        return frames

    cdef int _too_large(self, Chain chain, uint64_t size, uint64_t header) except -1:
        """This frame with its header is not wanted."""
        if not self.discards:
            raise FrameTooLarge(size, self.max_frame)
        self.discarded += 1
        chain.discard(<Py_ssize_t>min(size, <uint64_t>PY_SSIZE_T_MAX // 2) + <Py_ssize_t>header)
        return 0


cdef inline int ensure_chain(Chain chain) except -1:
    if chain is None:
        raise TypeError("a codec decodes a poolio.Chain, not None")
    return 0


cdef int decode_all(Codec codec, Chain chain, list frames) except -1:
    """Append all whole frames of the chain. What raises has left those before it in the list."""
    while chain.size > 0 and chain.size >= chain.wanted:
        frame = decode_next(codec, chain)
        if frame is None:
            break
        frames.append(frame)
    return chain.unpin()


cdef int raise_stuck(Codec codec) except -1:
    raise RuntimeError(f"{type(codec).__name__}.decode() has returned a frame without taking a byte from the chain")


cdef class LengthPrefixed(Codec):
    """Frames with their length before them.

    width       bytes of the length field: 1, 2, 3, 4 or 8
    byteorder   "big" or "little"
    offset      bytes of the header before the length field: 0 to 32
    counts      "body": the length is that of what follows the field; "frame": of the whole, header included
    adjustment  added to the length read, subtracted from the one written: if the protocol counts otherwise
    header      "strip": frames are bodies; "keep": they begin with the header
    max_frame, too_large   as Codec; max_frame is for the body

    The header is `offset` bytes and the length field. FrameError if a length is less than what it must count.
    """

    cdef readonly int width
    cdef readonly Py_ssize_t adjustment
    cdef Py_ssize_t offset
    cdef Py_ssize_t header_size
    cdef Py_ssize_t counted         # of the header: what the length includes, less the adjustment
    cdef Py_ssize_t largest         # body that can be written: max_frame, or what the field can say
    cdef bint is_little
    cdef bint keeps

    def __cinit__(self, *arguments, **options):
        self.width = self.header_size = 4       # sound, whatever a subclass does

    def __init__(
        self, width=4, *, byteorder="big", offset=0, counts="body", adjustment=0, header="strip", max_frame=MAX_FRAME,
        too_large="raise",
    ):
        super().__init__(max_frame=max_frame, too_large=too_large)
        if width not in (1, 2, 3, 4, 8):
            raise ValueError(f"width must be 1, 2, 3, 4 or 8 bytes, not {width!r}")
        if not 0 <= offset <= LARGEST_HEADER // 2:
            raise ValueError(f"offset must be in 0..{LARGEST_HEADER // 2} bytes, not {offset!r}")
        if not -(1 << 30) <= adjustment <= 1 << 30:
            raise ValueError(f"adjustment must be in -2**30..2**30 bytes, not {adjustment!r}")
        self.width = width
        self.offset = offset
        self.adjustment = adjustment
        self.header_size = self.offset + self.width
        self.header_room = self.width if self.offset == 0 else 0
        self.is_little = _one_of("byteorder", byteorder, "big", "little")
        self.keeps = _one_of("header", header, "strip", "keep")
        self.counted = (self.header_size if _one_of("counts", counts, "body", "frame") else 0) - self.adjustment
        self.largest = min(self.max_frame, (1 << 8 * width) - 1 - self.counted)

    def __repr__(self):
        return f"<poolio.LengthPrefixed of {self.width} bytes, max_frame {self.max_frame}>"

    cpdef object decode(self, Chain chain):
        cdef char header[LARGEST_HEADER]
        cdef uint64_t size
        ensure_chain(chain)
        while chain.size >= self.header_size:
            if chain.first.length >= self.header_size:
                size = _number(chain.first.data + self.offset, self.width, self.is_little)
            else:
                chain.read_into(header, self.header_size)
                size = _number(header + self.offset, self.width, self.is_little)
            if self.counted != 0:
                size = self._body_of(size)
            if size > <uint64_t>self.max_frame:
                self._too_large(chain, size, <uint64_t>self.header_size)
                continue
            if chain.size < self.header_size + <Py_ssize_t>size:
                chain.wanted = self.header_size + <Py_ssize_t>size
                return None
            if self.keeps:
                return chain.cut(self.header_size + <Py_ssize_t>size)
            return chain.cut_out(self.header_size, <Py_ssize_t>size, 0)
        chain.wanted = self.header_size
        return None

    cdef uint64_t _body_of(self, uint64_t number) except? 0:
        """Bytes of the body, from what the length field says."""
        if self.counted >= 0:
            if number < <uint64_t>self.counted:
                raise FrameError(f"the length field says {number}, and is to count {self.counted} bytes at least")
            return number - <uint64_t>self.counted
        return number + <uint64_t>-self.counted if number < <uint64_t>PY_SSIZE_T_MAX else number

    def encode(self, *pieces, before=b""):
        """One Buffer: the header, and these bytes-like objects as the body.

        before  the `offset` bytes in front of the length field. FrameTooLarge beyond max_frame, and beyond what the
                field can say.
        """
        cdef bytes front = bytes(before)
        cdef Buffer frame
        if PyBytes_GET_SIZE(front) != self.offset:
            raise ValueError(f"before must be {self.offset} bytes, the offset of the length field, not {len(front)}")
        frame = _frame_of(self, self.header_size, list(pieces))
        memcpy(frame.data, PyBytes_AS_STRING(front), <size_t>self.offset)
        return frame

    cpdef object gather(self, list pieces):
        return _gathered(self, pieces) if self.offset == 0 else [self.encode(*pieces)]

    cdef Py_ssize_t put_header(self, char *end, Py_ssize_t size) except -1:
        cdef uint64_t number = <uint64_t>(size + self.counted)
        cdef int index
        if size > self.largest:
            raise FrameTooLarge(size, max(self.largest, 0))
        if size + self.counted < 0:
            raise FrameError(f"a frame of {size} bytes can't be written with an adjustment of {self.adjustment}")
        for index in range(self.width):
            if self.is_little:
                end[index - self.width] = <char>(number & 0xFF)
            else:
                end[-1 - index] = <char>(number & 0xFF)
            number >>= 8
        return self.width


cdef class Varint(Codec):
    """Frames with their length before them as a variable-length integer: groups of 7 bits, the lowest first, the high
    bit set on all but the last byte, 10 bytes at most (LEB128, as Protocol Buffers' delimited messages).

    max_frame, too_large   as Codec; max_frame is for the body

    FrameError for a length that does not end within 10 bytes or does not fit 64 bits.
    """

    def __init__(self, *, max_frame=MAX_FRAME, too_large="raise"):
        super().__init__(max_frame=max_frame, too_large=too_large)
        self.header_room = VARINT_BYTES

    def __repr__(self):
        return f"<poolio.Varint, max_frame {self.max_frame}>"

    cpdef object decode(self, Chain chain):
        cdef char header[VARINT_BYTES]
        cdef const char *data
        cdef Py_ssize_t there, width
        cdef uint64_t size
        ensure_chain(chain)
        while chain.size > 0:
            there = min(chain.size, VARINT_BYTES)
            data = chain.first.data
            if chain.first.length < there:
                chain.read_into(header, there)
                data = header
            width = _varint_at(data, there, &size)
            if width == 0:
                if there == VARINT_BYTES:
                    raise FrameError("a length that does not fit 64 bits, or does not end within 10 bytes")
                break
            if size > <uint64_t>self.max_frame:
                self._too_large(chain, size, <uint64_t>width)
                continue
            if chain.size < width + <Py_ssize_t>size:
                chain.wanted = width + <Py_ssize_t>size
                return None
            return chain.cut_out(width, <Py_ssize_t>size, 0)
        chain.wanted = chain.size + 1
        return None

    def encode(self, *pieces):
        """One Buffer: the length, and these bytes-like objects. FrameTooLarge beyond max_frame."""
        return _frame_of(self, VARINT_BYTES, list(pieces))

    cpdef object gather(self, list pieces):
        return _gathered(self, pieces)

    cdef Py_ssize_t put_header(self, char *end, Py_ssize_t size) except -1:
        cdef Py_ssize_t width = 1
        cdef Py_ssize_t rest = size >> 7
        cdef Py_ssize_t index
        if size > self.max_frame:
            raise FrameTooLarge(size, self.max_frame)
        while rest > 0:
            rest >>= 7
            width += 1
        for index in range(width):
            end[index - width] = <char>(size & 127 | (128 if index < width - 1 else 0))
            size >>= 7
        return width


cdef class FixedSize(Codec):
    """Frames of `size` bytes each, 1 and more, with nothing between them."""

    cdef readonly Py_ssize_t size

    def __init__(self, size):
        if not 1 <= size <= PY_SSIZE_T_MAX // 4:
            raise ValueError(f"size must be in 1..{PY_SSIZE_T_MAX // 4} bytes, not {size}")
        super().__init__(max_frame=size)
        self.size = size

    def __repr__(self):
        return f"<poolio.FixedSize of {self.size} bytes>"

    cpdef object decode(self, Chain chain):
        ensure_chain(chain)
        if chain.size < self.size:
            chain.wanted = self.size
            return None
        return chain.cut(self.size)

    def encode(self, *pieces):
        """One Buffer of these bytes-like objects, which must be `size` bytes together: ValueError."""
        cdef list bodies = list(pieces)
        cdef Py_ssize_t size = _sum_of(bodies)
        if size != self.size:
            raise ValueError(f"a frame here is {self.size} bytes, not {size}")
        return _joined(bodies, size, 0, 0)


cdef class Delimited(Codec):
    """Frames that end with a delimiter, such as lines.

    delimiter   the bytes, or a sequence of several: whichever ends first ends the frame; of those that end together the
                longest, so of b"\\r\\n" and b"\\n" both. Written is the first one
    ends        "strip": frames are what stands between; "keep": each has its delimiter
    last        what stands behind the last delimiter when the stream ends: "refuse", an asyncio.IncompleteReadError;
                "deliver", as a last frame
    max_frame, too_large   as Codec; max_frame is without the delimiter. `size` of the error is the least that it can be
    """

    def __cinit__(self, *arguments, **options):
        self.byte = -1

    def __init__(self, delimiter, *, ends="strip", last="refuse", max_frame=MAX_FRAME, too_large="raise"):
        super().__init__(max_frame=max_frame, too_large=too_large)
        several = [_as_bytes(one) for one in ((delimiter,) if PyObject_CheckBuffer(delimiter) else delimiter)]
        if not several or b"" in several:
            raise ValueError(f"a delimiter must not be empty: {delimiter!r}")
        self.written = several[0]
        self.delimiters = tuple(sorted(set(several), key=len, reverse=True))
        self.longest = len(self.delimiters[0])
        self.byte = self.written[0] if self.longest == 1 and len(self.delimiters) == 1 else -1
        self.keeps = _one_of("ends", ends, "strip", "keep")
        self.delivers = _one_of("last", last, "refuse", "deliver")

    def __repr__(self):
        return f"<poolio.Delimited by {self.delimiters}, max_frame {self.max_frame}>"

    cpdef object decode(self, Chain chain):
        cdef Py_ssize_t found, length
        ensure_chain(chain)
        while True:
            found = self._find_near(chain)
            length = 1
            if found < 0:
                found = self.find(chain, &length)
            if found < 0:
                if chain.size >= self.max_frame + self.longest or chain.to_discard == UNTIL_THE_END:
                    self._discard_begun(chain)
                chain.wanted = chain.size + 1
                return None
            if found > self.max_frame or chain.to_discard == UNTIL_THE_END:
                self._discard_found(chain, found + length)
            elif self.keeps:
                return chain.cut(found + length)
            else:
                return chain.cut_out(0, found, length)

    cdef inline Py_ssize_t _find_near(self, Chain chain) noexcept:
        """As find(), for what lines mostly are: ended by one byte, in the Buffer that they begin in. -1: look again."""
        cdef const char *at
        if self.byte < 0 or chain.searched > 0 or chain.first == NULL:
            return -1
        at = <const char *>memchr(chain.first.data, self.byte, <size_t>chain.first.length)
        return -1 if at == NULL else at - chain.first.data

    cpdef object decode_last(self, Chain chain):
        ensure_chain(chain)
        if chain.to_discard == UNTIL_THE_END:
            self._discard_found(chain, chain.size)
        if not self.delivers or chain.size == 0:
            return Codec.decode_last(self, chain)
        if chain.size <= self.max_frame:
            return chain.cut(chain.size)
        self._discard_found(chain, chain.size)
        return None

    cdef Py_ssize_t find(self, Chain chain, Py_ssize_t *length) except -2:
        cdef Py_ssize_t found, start
        if chain.searched_for is not self.delimiters:
            chain.searched_for = self.delimiters
            chain.searched = 0
        start = max(chain.searched - self.longest + 1, 0)
        if len(self.delimiters) == 1:
            length[0] = self.longest
            found = chain.find_from(start, chain.size, PyBytes_AS_STRING(self.written), self.longest)
        else:
            found = self._find_one_of(chain, start, length)
        if found < 0:
            chain.searched = chain.size
        return found

    cdef Py_ssize_t _find_one_of(self, Chain chain, Py_ssize_t start, Py_ssize_t *length) except -2:
        """The one that ends first."""
        cdef Py_ssize_t window = FIRST_WINDOW
        cdef Py_ssize_t best = -1
        cdef Py_ssize_t stop, found
        while True:
            stop = min(start + window, chain.size)
            for delimiter in self.delimiters:
                found = chain.find_from(start, stop, PyBytes_AS_STRING(delimiter), PyBytes_GET_SIZE(delimiter))
                if found >= 0:
                    best = found
                    length[0] = PyBytes_GET_SIZE(delimiter)
                    stop = found + length[0] - 1        # others have to end before it
            if best >= 0 or stop == chain.size:
                return best
            start = max(stop - self.longest + 1, start)
            window *= 2

    cdef int _discard_begun(self, Chain chain) except -1:
        """The frame is too large already; of a delimiter that has begun, less than the longest one is here."""
        if not self.discards:
            raise FrameTooLarge(self.max_frame + 1, self.max_frame)
        chain.to_discard = UNTIL_THE_END
        chain.drop(max(chain.size - self.longest + 1, 0))
        return 0

    cdef int _discard_found(self, Chain chain, Py_ssize_t count) except -1:
        if not self.discards:
            raise FrameTooLarge(self.max_frame + 1, self.max_frame)
        self.discarded += 1
        chain.to_discard = 0
        chain.drop(count)
        return 0

    def encode(self, *pieces):
        """One Buffer: these bytes-like objects and the delimiter. FrameTooLarge beyond max_frame.

        ValueError if it would be read as another frame, because a delimiter is in it or is formed with its end.
        """
        cdef list bodies = list(pieces)
        cdef Py_ssize_t size = _sum_of(bodies)
        cdef Py_ssize_t length
        cdef Buffer frame
        cdef Chain chain
        if size > self.max_frame:
            raise FrameTooLarge(size, self.max_frame)
        frame = _joined(bodies, size, 0, PyBytes_GET_SIZE(self.written))
        memcpy(frame.data + size, PyBytes_AS_STRING(self.written), <size_t>PyBytes_GET_SIZE(self.written))
        chain = Chain()
        chain.put(frame)
        if self.find(chain, &length) != size or length != PyBytes_GET_SIZE(self.written):
            raise ValueError("a delimiter stands in this frame, or is formed with its end")
        return frame


# --- of all codecs --------------------------------------------------------------------------------------------

cdef inline uint64_t _number(const char *data, int width, bint is_little) noexcept:
    cdef uint64_t number = 0
    cdef int index
    if is_little:
        for index in range(width - 1, -1, -1):
            number = number << 8 | <unsigned char>data[index]
    else:
        for index in range(width):
            number = number << 8 | <unsigned char>data[index]
    return number


cdef Py_ssize_t _varint_at(const char *data, Py_ssize_t there, uint64_t *number) noexcept:
    """How many bytes the integer takes; 0: it does not end here."""
    cdef Py_ssize_t index
    cdef unsigned char byte
    number[0] = 0
    for index in range(there):
        byte = <unsigned char>data[index]
        if index == VARINT_BYTES - 1 and byte > 1:
            return 0
        number[0] |= <uint64_t>(byte & 127) << <int>(7 * index)
        if byte < 128:
            return index + 1
    return 0


cdef Py_ssize_t _sum_of(list pieces) except -1:
    cdef Py_buffer view
    cdef Py_ssize_t size = 0
    for piece in pieces:
        PyObject_GetBuffer(piece, &view, PyBUF_SIMPLE)
        size += view.len
        PyBuffer_Release(&view)
    return size


cdef Buffer _joined(list pieces, Py_ssize_t size, Py_ssize_t before, Py_ssize_t behind):
    """A Buffer of these pieces, `size` bytes together, with room before and behind."""
    cdef Buffer joined = default_pool()._carve(before + size + behind, False)
    cdef char *room = joined.data + before
    cdef Py_buffer view
    for piece in pieces:
        PyObject_GetBuffer(piece, &view, PyBUF_SIMPLE)
        if view.len <= size:
            memcpy(room, view.buf, <size_t>view.len)
            room += view.len
        size -= view.len
        PyBuffer_Release(&view)
    if size != 0:
        raise ValueError("the pieces of a frame changed their size while it was written")
    return joined


cdef Buffer _frame_of(Codec codec, Py_ssize_t room, list pieces):
    """Header and body in one Buffer. The header ends behind `room` bytes; if it is shorter, the frame begins later."""
    cdef Py_ssize_t size = _sum_of(pieces)
    cdef char header[LARGEST_HEADER]
    cdef Py_ssize_t width = codec.put_header(header + LARGEST_HEADER, size)
    cdef Buffer frame = _joined(pieces, size, room, 0)
    memcpy(frame.data + room - width, header + LARGEST_HEADER - width, <size_t>width)
    return frame if codec.header_room == 0 or width == room else slice_of(frame, room - width, width + size)


cdef list _gathered(Codec codec, list pieces):
    """What to send for a frame: one Buffer, or the header and the pieces as they are."""
    cdef Py_ssize_t size = _sum_of(pieces)
    cdef Buffer header
    cdef Py_ssize_t width
    if size <= COPY_UP_TO:
        return [_frame_of(codec, codec.header_room, pieces)]
    header = default_pool()._carve(codec.header_room, False)
    width = codec.put_header(header.data + codec.header_room, size)
    return [slice_of(header, codec.header_room - width, width), *pieces]


cdef bytes _as_bytes(delimiter):
    if not PyObject_CheckBuffer(delimiter):
        raise TypeError(f"a delimiter is a bytes-like object, not {type(delimiter).__name__!r}")
    return bytes(delimiter)


cdef int _one_of(name, value, first, second) except -1:
    """0 or 1: which one it is."""
    if value != first and value != second:
        raise ValueError(f"{name} must be {first!r} or {second!r}, not {value!r}")
    return value == second
