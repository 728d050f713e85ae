# Searching in a Holder's bytes. See search.pyx.

from poolio.memory.allocation cimport Holder

cdef enum Search:
    FIRST
    LAST
    COUNT

cdef struct Needle:              # bytes to search for or to fill with: one byte, or those of a bytes-like object
    const char *data
    Py_ssize_t length
    char byte
    bint is_view                 # the view must be released
    Py_buffer view

cdef struct Range:
    Py_ssize_t start
    Py_ssize_t length            # below 0: start is beyond the end; not even b"" is found, as in bytes.find


cdef inline Range range_of(Holder holder, Py_ssize_t start, Py_ssize_t stop) noexcept:
    cdef Range found
    if stop > holder.length:
        stop = holder.length
    elif stop < 0:
        stop = max(stop + holder.length, 0)
    if start < 0:
        start = max(start + holder.length, 0)
    found.start = start
    found.length = stop - start
    return found


cdef int take_needle(value, Needle *needle) except -1
cdef void drop_needle(Needle *needle) noexcept
cdef unsigned char byte_of(value) except? 255
cdef Py_ssize_t bound(value, Py_ssize_t default) except? -1
cdef Py_ssize_t search(Holder holder, sub, start, stop, Search kind) except? -2
cdef Py_ssize_t required(Py_ssize_t index) except -1
cdef bint has_end(Holder holder, ends, start, stop, Search kind) except -1
cdef Py_ssize_t length_of_end(Holder holder, end, Search kind) except -1
