"""Owns the codecs that know a frame's length before its body: LengthPrefixed, Varint, FixedSize.

Refuses to know connections (codec) and how bytes are laid into memory (encoding).
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from poolio.c.python cimport PY_SSIZE_T_MAX
from poolio.framing.codec cimport Codec, ensure_chain, one_of, size_in
from poolio.framing.encoding cimport LARGEST_HEADER, frame_of, header_and_body, joined, pool_or_default, sum_of
from poolio.memory.buffer cimport Buffer, slice_of
from poolio.memory.chain cimport Chain, Link
from poolio.memory.pool cimport Pool

from poolio.errors import FrameError, FrameTooLarge
from poolio.framing.codec import MAX_FRAME, own_encoders
from poolio.memory.methods import own_methods

cdef enum:
    VARINT_BYTES = 10           # 64 bits in groups of 7


cdef class LengthPrefixed(Codec):
    "LengthPrefixed(width=4, *, byteorder='big', offset=0, counts='body', adjustment=0, header='strip', " \
        "max_frame=1048576, too_large='raise')\n--\n\n" \
        """Frames with their length before them.

    width       bytes of the length field: 1, 2, 3, 4 or 8
    byteorder   "big" or "little"
    offset      bytes of the header before the length field: 0 to 32
    counts      "body" counts what follows the length field; "frame" counts the whole frame, header included
    adjustment  added to the length that is read, subtracted from the one written, if a protocol counts otherwise
    header      with "strip" frames are bodies; with "keep" they begin with the header
    max_frame, too_large   as in Codec; max_frame is for the body

    The header is `offset` bytes and the length field. FrameError if a length is less than the bytes that it must count.
    """

    cdef readonly int width
    cdef readonly Py_ssize_t adjustment
    cdef Py_ssize_t offset
    cdef Py_ssize_t header_size
    cdef Py_ssize_t counted         # bytes of the header that the length includes, less the adjustment
    cdef Py_ssize_t largest         # the largest body that can be written: max_frame, or what the field can say
    cdef bint is_little
    cdef bint keeps

    def __cinit__(self, *arguments, **options):
        self.width = self.header_size = 4       # valid values, even if a subclass does not call __init__()

    def __init__(
        self, width=4, *, byteorder="big", offset=0, counts="body", adjustment=0, header="strip", max_frame=MAX_FRAME,
        too_large="raise",
    ):
        super().__init__(max_frame=max_frame, too_large=too_large)
        if width not in (1, 2, 3, 4, 8):
            raise ValueError(f"width must be 1, 2, 3, 4 or 8 bytes, not {width!r}")
        self.width = width
        self.offset = size_in("offset", offset, 0, LARGEST_HEADER // 2)
        if not -(1 << 30) <= adjustment <= 1 << 30:
            raise ValueError(f"adjustment must be in -2**30..2**30 bytes, not {adjustment!r}")
        self.adjustment = adjustment
        self.header_size = self.offset + self.width
        self.header_room = self.width if self.offset == 0 else 0
        self.is_little = one_of("byteorder", byteorder, "big", "little")
        self.keeps = one_of("header", header, "strip", "keep")
        self.counted = (self.header_size if one_of("counts", counts, "body", "frame") else 0) - self.adjustment
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

    cdef int decode_front(self, Chain chain, list frames, Py_ssize_t most) except -1:
        cdef Link *link = chain.first
        cdef Buffer whole = <Buffer>link.buf
        cdef Py_ssize_t start = link.data - whole.data
        cdef Py_ssize_t left = link.length
        cdef uint64_t size
        if self.counted != 0 or self.keeps:
            return 0
        try:
            while left > self.header_size and PyList_GET_SIZE(frames) < most:
                size = _number(whole.data + start + self.offset, self.width, self.is_little)
                if not 0 < size <= <uint64_t>self.max_frame or <Py_ssize_t>size > left - self.header_size:
                    break
                frames.append(slice_of(whole, start + self.header_size, <Py_ssize_t>size))
                start += self.header_size + <Py_ssize_t>size
                left -= self.header_size + <Py_ssize_t>size
        finally:
            chain.drop(link.length - left)
        return 0

    cdef uint64_t _body_of(self, uint64_t number) except? 0:
        """Return the bytes of the body, from what the length field says."""
        if self.counted >= 0:
            if number < <uint64_t>self.counted:
                raise FrameError(f"the length field says {number}, and is to count {self.counted} bytes at least")
            return number - <uint64_t>self.counted
        return number + <uint64_t>-self.counted if number < <uint64_t>PY_SSIZE_T_MAX else number

    def encode(self, *pieces, before=b"", pool=None):
        """Return one Buffer: the header, and these bytes-like objects as the body.

        before  the `offset` bytes in front of the length field
        pool    where the Buffer lies; None means the default pool

        FrameTooLarge beyond max_frame, and beyond what the field can say; PoolExhausted at the pool's limit.
        """
        cdef bytes front = bytes(before)
        cdef Buffer frame
        if PyBytes_GET_SIZE(front) != self.offset:
            raise ValueError(f"before must be {self.offset} bytes, the offset of the length field, not {len(front)}")
        frame = frame_of(self, self.header_size, pieces, pool_or_default(pool))
        memcpy(frame.data, PyBytes_AS_STRING(front), <size_t>self.offset)
        return frame

    cdef object build(self, tuple pieces, Pool pool):
        return header_and_body(self, pieces, pool) if self.offset == 0 else self.encode(*pieces, pool=pool)

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
    "Varint(*, offset=0, header='strip', width=10, max_frame=1048576, too_large='raise')\n--\n\n" \
        """Frames with their length before them as a variable-length integer: groups of 7 bits, the lowest first, the
    high bit set on all but the last byte (LEB128, as in Protocol Buffers' delimited messages and in MQTT).

    offset      bytes of the header before the length: 0 to 32
    header      with "strip" frames are bodies; with "keep" they begin with the header
    width       the most bytes of a length: 10 by default, which any of 64 bits fits; 4 in MQTT
    max_frame, too_large   as in Codec; max_frame is for the body

    The header is `offset` bytes and the length. FrameError for a length that does not end within `width` bytes or does
    not fit 64 bits.
    """

    cdef readonly int width
    cdef Py_ssize_t offset
    cdef Py_ssize_t largest         # the largest body that can be written: max_frame, or what the length can say
    cdef bint keeps

    def __cinit__(self, *arguments, **options):
        self.width = self.header_room = VARINT_BYTES    # valid values, even if a subclass does not call __init__()
        self.largest = MAX_FRAME

    def __init__(self, *, offset=0, header="strip", width=10, max_frame=MAX_FRAME, too_large="raise"):
        super().__init__(max_frame=max_frame, too_large=too_large)
        self.offset = size_in("offset", offset, 0, LARGEST_HEADER // 2)
        self.width = size_in("width", width, 1, VARINT_BYTES)
        self.keeps = one_of("header", header, "strip", "keep")
        self.largest = min(self.max_frame, (1 << 7 * width) - 1)
        self.header_room = VARINT_BYTES if self.offset == 0 else 0

    def __repr__(self):
        return f"<poolio.Varint, max_frame {self.max_frame}>"

    cpdef object decode(self, Chain chain):
        cdef const char *data
        cdef Py_ssize_t width
        cdef uint64_t size = 0
        ensure_chain(chain)
        while chain.size > self.offset:
            data = chain.first.data
            width = 1
            if chain.first.length > self.offset and <unsigned char>data[self.offset] < 128:
                size = <unsigned char>data[self.offset]
            else:
                width = self._long_length(chain, &size)
                if width == 0:
                    break
            width += self.offset
            if size > <uint64_t>self.max_frame:
                self._too_large(chain, size, <uint64_t>width)
                continue
            if chain.size < width + <Py_ssize_t>size:
                chain.wanted = width + <Py_ssize_t>size
                return None
            if self.keeps:
                return chain.cut(width + <Py_ssize_t>size)
            return chain.cut_out(width, <Py_ssize_t>size, 0)
        chain.wanted = max(chain.size, self.offset) + 1
        return None

    cdef Py_ssize_t _long_length(self, Chain chain, uint64_t *size) except -1:
        """Return how many bytes the length takes; 0 if it does not end yet."""
        cdef char header[LARGEST_HEADER]
        cdef const char *data = chain.first.data
        cdef Py_ssize_t there = min(chain.size, self.offset + self.width)
        cdef Py_ssize_t width
        if chain.first.length < there:
            chain.read_into(header, there)
            data = header
        width = _varint_at(data + self.offset, there - self.offset, size)
        if width == 0 and there == self.offset + self.width:
            raise FrameError(f"a length does not fit 64 bits, or does not end within {self.width} bytes")
        return width

    def encode(self, *pieces, before=b"", pool=None):
        """Return one Buffer: the header, and these bytes-like objects as the body.

        before  the `offset` bytes in front of the length
        pool    where the Buffer lies; None means the default pool

        FrameTooLarge beyond max_frame, and beyond what the length can say; PoolExhausted at the pool's limit.
        """
        cdef bytes front = before if PyBytes_CheckExact(before) else bytes(before)
        if PyBytes_GET_SIZE(front) != self.offset:
            raise ValueError(f"before must be {self.offset} bytes, the offset of the length, not {len(front)}")
        if self.offset == 0:
            return frame_of(self, VARINT_BYTES, pieces, pool_or_default(pool))
        return self._behind(front, pieces, pool_or_default(pool))

    cdef Buffer _behind(self, bytes front, tuple pieces, Pool pool):
        """Return one Buffer: these bytes, the length, and the body."""
        cdef char header[LARGEST_HEADER]
        cdef Py_ssize_t size = sum_of(pieces)
        cdef Py_ssize_t width = self.put_header(header + LARGEST_HEADER, size)
        cdef Buffer frame = joined(pool, pieces, size, self.offset + width, 0)
        memcpy(frame.data, PyBytes_AS_STRING(front), <size_t>self.offset)
        memcpy(frame.data + self.offset, header + LARGEST_HEADER - width, <size_t>width)
        return frame

    cdef object build(self, tuple pieces, Pool pool):
        return header_and_body(self, pieces, pool) if self.offset == 0 else self.encode(*pieces, pool=pool)

    cdef Py_ssize_t put_header(self, char *end, Py_ssize_t size) except -1:
        cdef Py_ssize_t width = 1
        cdef Py_ssize_t rest = size >> 7
        cdef Py_ssize_t index
        if size > self.largest:
            raise FrameTooLarge(size, self.largest)
        while rest > 0:
            rest >>= 7
            width += 1
        for index in range(width):
            end[index - width] = <char>(size & 127 | (128 if index < width - 1 else 0))
            size >>= 7
        return width


cdef class FixedSize(Codec):
    "FixedSize(size)\n--\n\n" \
        """Frames of `size` bytes each, 1 or more, with nothing between them."""

    cdef readonly Py_ssize_t size

    def __init__(self, size):
        self.size = size_in("size", size, 1, PY_SSIZE_T_MAX // 4)
        super().__init__(max_frame=size)

    def __repr__(self):
        return f"<poolio.FixedSize of {self.size} bytes>"

    cpdef object decode(self, Chain chain):
        ensure_chain(chain)
        if chain.size < self.size:
            chain.wanted = self.size
            return None
        return chain.cut(self.size)

    def encode(self, *pieces, pool=None):
        """Return one Buffer of these bytes-like objects. ValueError if they are not `size` bytes together.

        pool  where the Buffer lies; None means the default pool. PoolExhausted at its limit
        """
        return self.build(pieces, pool_or_default(pool))

    cdef object build(self, tuple pieces, Pool pool):
        cdef Py_ssize_t size = sum_of(pieces)
        if size != self.size:
            raise ValueError(f"a frame here is {self.size} bytes, not {size}")
        return joined(pool, pieces, size, 0, 0)


own_encoders.update((LengthPrefixed, Varint, FixedSize))
for _kind in (LengthPrefixed, Varint, FixedSize):
    own_methods(_kind)


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
    """Return how many bytes the integer takes; 0 if it does not end here, or does not fit 64 bits."""
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
