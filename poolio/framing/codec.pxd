# Codecs: what a frame is, for each protocol on the wire. See framing.pyx.

from libc.stdint cimport uint64_t

from poolio.memory.buffer cimport Buffer
from poolio.memory.chain cimport Chain

cdef class Codec:
    cdef Chain chain_of_feed            # None before the first feed()
    cdef object error_of_feed           # what the next feed() raises; None: nothing
    cdef readonly Py_ssize_t max_frame
    cdef readonly Py_ssize_t discarded  # frames too large, since creation
    cdef bint discards
    cdef Py_ssize_t header_room         # bytes that are enough for the header of a frame of any size; 0: it has none

    cpdef object decode(self, Chain chain)
    cpdef object decode_last(self, Chain chain)
    cpdef object gather(self, list pieces)

    # Write the header of a body of `size` bytes, so that it ends at `end`; returns its length, header_room at most
    cdef Py_ssize_t put_header(self, char *end, Py_ssize_t size) except -1
    cdef int _too_large(self, Chain chain, uint64_t size, uint64_t header) except -1


cdef class Delimited(Codec):
    cdef readonly tuple delimiters  # the longest first: of those that end together it is found first
    cdef bytes written
    cdef Py_ssize_t longest
    cdef int byte                   # of the delimiter, if it is one alone of one byte; -1 otherwise
    cdef bint keeps
    cdef bint delivers

    # Where the first delimiter begins, and how long it is; -1: none is there
    cdef Py_ssize_t find(self, Chain chain, Py_ssize_t *length) except -2
    cdef inline Py_ssize_t _find_near(self, Chain chain) noexcept
    cdef Py_ssize_t _find_one_of(self, Chain chain, Py_ssize_t start, Py_ssize_t *length) except -2
    cdef int _discard_begun(self, Chain chain) except -1
    cdef int _discard_found(self, Chain chain, Py_ssize_t count) except -1


cdef inline object decode_next(Codec codec, Chain chain):
    """codec.decode(chain), which must get on: nothing waits for ever, whatever a codec does."""
    cdef Py_ssize_t before = chain.size
    frame = codec.decode(chain)
    if chain.size == before and frame is not None:
        raise_stuck(codec)
    return frame


cdef int raise_stuck(Codec codec) except -1
cdef int decode_all(Codec codec, Chain chain, list frames) except -1
