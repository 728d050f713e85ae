# Delimited: frames that end with a delimiter. See delimited.pyx.

from poolio.framing.codec cimport Codec
from poolio.memory.chain cimport Chain

cdef class Delimited(Codec):
    cdef readonly tuple delimiters  # the longest first, as of those that end together the longest must be found
    cdef bytes written
    cdef Py_ssize_t longest
    cdef int byte                   # the delimiter, if there is only one and it has one byte; -1 otherwise
    cdef bint keeps
    cdef bint delivers

    # Return where the first delimiter begins, and set `length` to its length; -1 if there is none
    cdef Py_ssize_t find(self, Chain chain, Py_ssize_t *length) except -2
    cdef inline Py_ssize_t _find_near(self, Chain chain) noexcept
    cdef Py_ssize_t _find_one_of(self, Chain chain, Py_ssize_t start, Py_ssize_t *length) except -2
    cdef int _discard_begun(self, Chain chain) except -1
    cdef int _discard_found(self, Chain chain, Py_ssize_t count) except -1
