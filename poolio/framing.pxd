# Codecs: what a frame is, for each protocol on the wire. See framing.pyx.

from libc.stdint cimport uint64_t

from poolio.buffer cimport Buffer
from poolio.chain cimport Chain

cdef class Codec:
    cdef Chain chain_of_feed            # None before the first feed()
    cdef object error_of_feed           # what the next feed() raises; None: nothing
    cdef readonly Py_ssize_t max_frame
    cdef readonly Py_ssize_t discarded  # frames too large, since creation
    cdef bint discards

    cpdef object decode(self, Chain chain)
    cpdef object decode_last(self, Chain chain)
    cpdef object gather(self, list pieces)

    cdef int _too_large(self, Chain chain, uint64_t size, uint64_t header) except -1


cdef int decode_all(Codec codec, Chain chain, list frames) except -1
