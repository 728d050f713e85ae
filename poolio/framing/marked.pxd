# Marked: values whose first byte says what they are. See marked.pyx.

from libc.stdint cimport int64_t, uint64_t

from poolio.framing.codec cimport Codec
from poolio.framing.cursor cimport Cursor
from poolio.framing.values cimport KINDS, Kind
from poolio.memory.chain cimport Chain

cdef enum:
    DEEPEST = 32

cdef struct Scan:
    # how far a frame is known to be right; only what is behind it is looked at again when more has come
    Py_ssize_t at                       # index in the chain of the next value
    Py_ssize_t searched                 # bytes of it, a line, that hold no end of a line
    Py_ssize_t items                    # values in all arrays so far
    int depth
    Py_ssize_t left[DEEPEST + 1]        # values still to come: on the top level, in the array there, in the one in it


cdef class Progress:
    # `searched_for` of a chain in which a frame has begun. It holds while the chain's `searched` is what is said here
    cdef uint64_t rules                 # of the codec that has looked; a reference to it would be a cycle
    cdef Scan scan


cdef class Marked(Codec):
    cdef readonly Py_ssize_t bytes_up_to
    cdef readonly Py_ssize_t max_items
    cdef readonly int max_depth
    cdef unsigned char kinds[256]       # by mark
    cdef char marks[KINDS]              # by kind: what is written; 0: none
    cdef uint64_t rules                 # a serial number, which tells these rules from others
    cdef bint takes_commands
    cdef bint splits

    cdef int _take_marks(self, dict marks) except -1
    cdef tuple _simple(self, Chain chain)
    cdef int _resume(self, Chain chain, Scan *scan) except -1
    cdef int _save(self, Chain chain, Scan *scan, Cursor *cursor) except -1
    cdef bint _find_end(self, Chain chain, Scan *scan) except -1
    cdef Py_ssize_t _pass(self, Chain chain, Scan *scan, Cursor *cursor) except -1
    cdef Py_ssize_t _pass_string(
        self, Chain chain, Scan *scan, Cursor *cursor, const char *data, Py_ssize_t width, int64_t size) except -1
    cdef Py_ssize_t _pass_line(self, Chain chain, Scan *scan, bytes end, Py_ssize_t limit) except -1
    cdef int _begin_array(self, Scan *scan, int64_t count) except -1
    cdef Py_ssize_t _odd_number_at(self, const char *data, Py_ssize_t there, Kind kind, int64_t *number) except -1
    cdef object _value(self, Chain chain, Cursor *cursor)
    cdef tuple _array(self, Chain chain, Cursor *cursor, Py_ssize_t count)
    cdef object _line(self, Chain chain, Cursor *cursor, Kind kind)
