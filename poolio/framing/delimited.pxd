# Delimited: frames that end with a delimiter. See delimited.pyx.

from poolio.framing.codec cimport Codec
from poolio.memory.chain cimport Chain

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
