"""Owns cutting a Holder's bytes into slices by what stands in them: at separators, at whitespace, at the ends.

Refuses to copy: each piece is a Holder on the same memory, also a piece of all bytes, which can be released by itself.
The pieces are those of `bytes`' methods of the same names. Called by buffer.

Arguments are converted first and the Holder is looked at afterwards, as their __index__ or __buffer__ may release it.
"""

from cpython.buffer cimport PyObject_CheckBuffer
from libc.string cimport memset

from poolio.c.search cimport poolio_find, poolio_rfind
from poolio.memory.allocation cimport Holder, blank_holder, ensure_alive, join_allocation
from poolio.memory.search cimport FIRST, LAST, Needle, drop_needle, length_of_end, take_needle

cdef enum:
    BYTES = 256             # a byte's values


cdef inline Holder _piece(Holder holder, Py_ssize_t start, Py_ssize_t stop):
    cdef Holder piece = blank_holder()
    join_allocation(piece, holder, start, stop - start)
    return piece


cdef int _take_separator(sep, Needle *needle) except -1:
    if not PyObject_CheckBuffer(sep):
        raise TypeError(f"a separator is a bytes-like object, not {type(sep).__name__!r}")
    take_needle(sep, needle)
    if needle.length == 0:
        drop_needle(needle)
        raise ValueError("an empty separator splits nothing")
    return 0


cdef list split_at(Holder holder, sep, Py_ssize_t most):
    cdef Needle needle
    cdef Py_ssize_t start = 0
    cdef Py_ssize_t found
    cdef list pieces = []
    _take_separator(sep, &needle)
    try:
        ensure_alive(holder)
        while len(pieces) < most:
            found = poolio_find(holder.data + start, holder.length - start, needle.data, needle.length)
            if found < 0:
                break
            pieces.append(_piece(holder, start, start + found))
            start += found + needle.length
        pieces.append(_piece(holder, start, holder.length))
    finally:
        drop_needle(&needle)
    return pieces


cdef inline bint _is_space(char byte) noexcept:
    return byte == c" " or c"\t" <= byte <= c"\r"      # tab, line feed, vertical tab, form feed, carriage return


cdef list split_whitespace(Holder holder, Py_ssize_t most):
    cdef Py_ssize_t start
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t end
    cdef list pieces = []
    ensure_alive(holder)
    end = holder.length
    while True:
        while at < end and _is_space(holder.data[at]):
            at += 1
        if at == end:
            return pieces
        start = at
        if len(pieces) == most:
            at = end             # the rest as it is, with the whitespace at its end
        while at < end and not _is_space(holder.data[at]):
            at += 1
        pieces.append(_piece(holder, start, at))


cdef tuple parted(Holder holder, sep, Search kind):
    """Return three pieces: before the separator, the separator, behind it. `kind` says which one: FIRST or LAST."""
    cdef Needle needle
    cdef Py_ssize_t start, stop
    _take_separator(sep, &needle)
    try:
        ensure_alive(holder)
        if kind == LAST:
            start = poolio_rfind(holder.data, holder.length, needle.data, needle.length)
        else:
            start = poolio_find(holder.data, holder.length, needle.data, needle.length)
        stop = start + needle.length
        if start < 0:
            start = stop = 0 if kind == LAST else holder.length
        return _piece(holder, 0, start), _piece(holder, start, stop), _piece(holder, stop, holder.length)
    finally:
        drop_needle(&needle)


cdef Holder stripped(Holder holder, chars, Ends ends):
    cdef char strips[BYTES]
    cdef Py_ssize_t start = 0
    cdef Py_ssize_t stop
    _mark(chars, strips)
    ensure_alive(holder)
    stop = holder.length
    if ends != RIGHT_END:
        while start < stop and strips[<unsigned char>holder.data[start]]:
            start += 1
    if ends != LEFT_END:
        while stop > start and strips[<unsigned char>holder.data[stop - 1]]:
            stop -= 1
    return _piece(holder, start, stop)


cdef int _mark(chars, char *strips) except -1:
    """Mark the bytes that are stripped: these, or ASCII whitespace for None."""
    cdef Needle needle
    cdef Py_ssize_t at
    memset(strips, 0, BYTES)
    if chars is None:
        for at in range(BYTES):
            strips[at] = _is_space(<char>at)
        return 0
    if not PyObject_CheckBuffer(chars):
        raise TypeError(f"the bytes to strip are a bytes-like object or None, not {type(chars).__name__!r}")
    take_needle(chars, &needle)
    for at in range(needle.length):
        strips[<unsigned char>needle.data[at]] = 1
    drop_needle(&needle)
    return 0


cdef Holder without_prefix(Holder holder, prefix):
    cdef Py_ssize_t length = length_of_end(holder, prefix, FIRST)
    ensure_alive(holder)
    return _piece(holder, length, holder.length)


cdef Holder without_suffix(Holder holder, suffix):
    cdef Py_ssize_t length = length_of_end(holder, suffix, LAST)
    ensure_alive(holder)
    return _piece(holder, 0, holder.length - length)
