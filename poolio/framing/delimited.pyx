"""Owns Delimited: the codec of frames that end with a delimiter, such as lines. StreamReader searches with it, too.

Refuses to know connections (codec) and how bytes are laid into memory (encoding). The chain remembers how far it was
searched, so nothing is searched twice.
"""

from cpython.buffer cimport PyObject_CheckBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_SIZE
from libc.string cimport memchr, memcpy

from poolio.framing.codec cimport Codec, ensure_chain, one_of
from poolio.framing.encoding cimport joined, pool_or_default, sum_of
from poolio.memory.buffer cimport Buffer, slice_of
from poolio.memory.chain cimport UNTIL_THE_END, Chain, Link
from poolio.memory.pool cimport Pool

from poolio.errors import FrameTooLarge
from poolio.framing.codec import MAX_FRAME, own_encoders
from poolio.memory.methods import own_methods

cdef enum:
    # Several delimiters are searched in windows that double, so that one that is nowhere costs no more than the others.
    FIRST_WINDOW = 256


cdef class Delimited(Codec):
    "Delimited(delimiter, *, ends='strip', last='refuse', max_frame=1048576, too_large='raise')\n--\n\n" \
        """Frames that end with a delimiter, such as lines.

    delimiter   the bytes, or a sequence of several. The one that ends first ends the frame; of those that end together
                it is the longest, so both b"\\r\\n" and b"\\n" can be given. The first of the sequence is written
    ends        with "strip" frames are what stands between; with "keep" each has its delimiter
    last        for bytes behind the last delimiter when the stream ends: "refuse" raises an
                asyncio.IncompleteReadError; "deliver" makes them a last frame
    max_frame, too_large   as in Codec; max_frame is without the delimiter. When decode() raises, `size` of the error
                is the least that it can be
    """

    def __cinit__(self, *arguments, **options):
        self.byte = -1
        self.written = b""                      # sound, whatever a subclass does

    def __init__(self, delimiter, *, ends="strip", last="refuse", max_frame=MAX_FRAME, too_large="raise"):
        super().__init__(max_frame=max_frame, too_large=too_large)
        several = [_as_bytes(one) for one in ((delimiter,) if PyObject_CheckBuffer(delimiter) else delimiter)]
        if not several or b"" in several:
            raise ValueError(f"a delimiter must not be empty: {delimiter!r}")
        self.written = several[0]
        self.delimiters = tuple(sorted(set(several), key=len, reverse=True))
        self.longest = len(self.delimiters[0])
        self.byte = self.written[0] if self.longest == 1 and len(self.delimiters) == 1 else -1
        self.keeps = one_of("ends", ends, "strip", "keep")
        self.delivers = one_of("last", last, "refuse", "deliver")

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

    cdef int decode_front(self, Chain chain, list frames, Py_ssize_t most) except -1:
        cdef Link *link = chain.first
        cdef Buffer whole = <Buffer>link.buf
        cdef Py_ssize_t start = link.data - whole.data
        cdef Py_ssize_t left = link.length
        cdef Py_ssize_t size
        cdef const char *at
        if self.byte < 0 or self.keeps or chain.searched > 0 or chain.to_discard == UNTIL_THE_END:
            return 0
        try:
            while left > 0 and PyList_GET_SIZE(frames) < most:
                at = <const char *>memchr(whole.data + start, self.byte, <size_t>left)
                size = -1 if at == NULL else at - (whole.data + start)
                if not 0 < size <= self.max_frame:
                    break
                frames.append(slice_of(whole, start, size))
                start += size + 1
                left -= size + 1
        finally:
            chain.drop(link.length - left)
        return 0

    cdef inline Py_ssize_t _find_near(self, Chain chain) noexcept:
        """As find(), for most lines: one byte ends them, in the Buffer where they begin. -1 if find() must look."""
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
        """As find(), for several delimiters: the one that ends first."""
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
                    stop = found + length[0] - 1        # another one has to end before it
            if best >= 0 or stop == chain.size:
                return best
            start = max(stop - self.longest + 1, start)
            window *= 2

    cdef int _discard_begun(self, Chain chain) except -1:
        """Refuse or drop a frame that is too large before its delimiter has come.

        As many bytes stay as the beginning of a delimiter can have.
        """
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

    def encode(self, *pieces, pool=None):
        """Return one Buffer: these bytes-like objects and the delimiter. FrameTooLarge beyond max_frame.

        pool  where the Buffer lies; None means the default pool. PoolExhausted at its limit

        ValueError if it would be decoded as another frame, because a delimiter is in it or is formed with its end.
        """
        return self.build(pieces, pool_or_default(pool))

    cdef object build(self, tuple pieces, Pool pool):
        if self.delimiters is None:
            raise RuntimeError(f"this {type(self).__name__} has no delimiter: its __init__() was not called")
        cdef Py_ssize_t size = sum_of(pieces)
        cdef Py_ssize_t length
        cdef Buffer frame
        cdef Chain chain
        if size > self.max_frame:
            raise FrameTooLarge(size, self.max_frame)
        frame = joined(pool, pieces, size, 0, PyBytes_GET_SIZE(self.written))
        memcpy(frame.data + size, PyBytes_AS_STRING(self.written), <size_t>PyBytes_GET_SIZE(self.written))
        chain = Chain()
        chain.put(frame)
        if self.find(chain, &length) != size or length != PyBytes_GET_SIZE(self.written):
            raise ValueError("a delimiter stands in this frame, or is formed with its end")
        return frame


own_encoders.add(Delimited)
own_methods(Delimited)


cdef bytes _as_bytes(delimiter):
    if not PyObject_CheckBuffer(delimiter):
        raise TypeError(f"a delimiter is a bytes-like object, not {type(delimiter).__name__!r}")
    return bytes(delimiter)
