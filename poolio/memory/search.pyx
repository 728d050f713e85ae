"""Owns the search in a Holder's bytes: what may be searched for, in which part, what is found, and what is at the ends.

Refuses to know slices: it answers with indices. Results are those of `bytes`' methods of the same names. Called by
buffer.

Arguments are converted first and the Holder is looked at afterwards, as their __index__ or __buffer__ may release it.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from libc.string cimport memcmp

from poolio.c.python cimport PY_SSIZE_T_MAX, PyIndex_Check, PyNumber_AsSsize_t
from poolio.c.search cimport poolio_count, poolio_find, poolio_rfind
from poolio.memory.allocation cimport Holder, ensure_alive

cdef int take_needle(value, Needle *needle) except -1:
    """Make a needle of an integer in 0..255 or of a bytes-like object.

    LIFETIME of needle.data: until drop_needle(), while the caller holds value.
    """
    needle.is_view = False
    if PyBytes_CheckExact(value):
        needle.data = PyBytes_AS_STRING(value)
        needle.length = PyBytes_GET_SIZE(value)
    elif PyIndex_Check(value) and not PyObject_CheckBuffer(value):     # a numpy array is both
        needle.byte = <char>byte_of(value)
        needle.data = &needle.byte
        needle.length = 1
    else:
        PyObject_GetBuffer(value, &needle.view, PyBUF_SIMPLE)
        needle.is_view = True
        needle.data = <const char *>needle.view.buf
        needle.length = needle.view.len
    return 0


cdef void drop_needle(Needle *needle) noexcept:
    if needle.is_view:
        PyBuffer_Release(&needle.view)


cdef unsigned char byte_of(value) except? 255:
    cdef Py_ssize_t number = PyNumber_AsSsize_t(value, NULL)
    if not 0 <= number <= 255:
        raise ValueError(f"a byte must be in 0..255, not {value!r}")
    return <unsigned char>number


cdef Py_ssize_t bound(value, Py_ssize_t default) except? -1:
    return default if value is None else PyNumber_AsSsize_t(value, NULL)


cdef Py_ssize_t search(Holder holder, sub, start, stop, Search kind) except? -2:
    cdef Needle needle
    cdef Range place
    cdef Py_ssize_t first = bound(start, 0)
    cdef Py_ssize_t last = bound(stop, PY_SSIZE_T_MAX)
    cdef Py_ssize_t at
    take_needle(sub, &needle)
    try:
        ensure_alive(holder)
        place = range_of(holder, first, last)
        if needle.length > place.length:
            return 0 if kind == COUNT else -1
        if kind == COUNT:
            return poolio_count(holder.data + place.start, place.length, needle.data, needle.length)
        if kind == LAST:
            at = poolio_rfind(holder.data + place.start, place.length, needle.data, needle.length)
        else:
            at = poolio_find(holder.data + place.start, place.length, needle.data, needle.length)
        return at + place.start if at >= 0 else -1
    finally:
        drop_needle(&needle)


cdef Py_ssize_t required(Py_ssize_t index) except -1:
    if index < 0:
        raise ValueError("the bytes searched for are not in the Buffer")
    return index


cdef bint has_end(Holder holder, ends, start, stop, Search kind) except -1:
    cdef Py_ssize_t first = bound(start, 0)
    cdef Py_ssize_t last = bound(stop, PY_SSIZE_T_MAX)
    if isinstance(ends, tuple):
        for end in ends:
            if _end_matched(holder, end, first, last, kind) >= 0:
                return True
        ensure_alive(holder)
        return False
    return _end_matched(holder, ends, first, last, kind) >= 0


cdef Py_ssize_t length_of_end(Holder holder, end, Search kind) except -1:
    """Return how long this end of the Holder's bytes is; 0 if they have another one."""
    if isinstance(end, tuple):
        raise TypeError("the end to remove is a bytes-like object, not 'tuple'")
    return max(_end_matched(holder, end, 0, PY_SSIZE_T_MAX, kind), 0)


cdef Py_ssize_t _end_matched(Holder holder, end, Py_ssize_t first, Py_ssize_t last, Search kind) except -2:
    """Return the length of `end` if the range has it at this end, else -1."""
    cdef Needle needle
    cdef Range place
    cdef Py_ssize_t skipped
    if not PyObject_CheckBuffer(end):
        raise TypeError(f"an end is a bytes-like object or a tuple of them, not {type(end).__name__!r}")
    take_needle(end, &needle)
    try:
        ensure_alive(holder)
        place = range_of(holder, first, last)
        if needle.length > place.length:
            return -1
        skipped = place.length - needle.length if kind == LAST else 0
        if memcmp(holder.data + place.start + skipped, needle.data, <size_t>needle.length) != 0:
            return -1
        return needle.length
    finally:
        drop_needle(&needle)
