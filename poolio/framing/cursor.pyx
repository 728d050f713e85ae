"""Owns Cursor: a place in a Chain, for codecs that look at many places of a frame before they take it out.

Refuses to know what is read there. Called by marked and announced. A cursor takes nothing and keeps nothing alive.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize

from poolio.c.guard cimport ensure
from poolio.memory.buffer cimport Buffer, slice_of
from poolio.memory.chain cimport Chain, read_from


cdef void cursor_at(Cursor *cursor, Chain chain, Py_ssize_t at) noexcept:
    ensure(0 <= at and at <= chain.size and chain.size > 0)
    cursor.link = chain.first
    cursor.here = at
    cursor.at = at
    if chain.begun_in != NULL and chain.begun_at <= at:
        cursor.link = chain.begun_in
        cursor.here = at - chain.begun_at
    if cursor.here > cursor.link.length:
        at = cursor.here
        cursor.here = 0
        cross(cursor, at)


cdef void remember(Cursor *cursor, Chain chain) noexcept:
    chain.begun_in = cursor.link
    chain.begun_at = cursor.at - cursor.here


cdef void cross(Cursor *cursor, Py_ssize_t count) noexcept:
    """As step(), into other links; `at` is set already."""
    cursor.here += count
    while cursor.here > cursor.link.length:
        cursor.here -= cursor.link.length
        cursor.link = cursor.link.following


cdef const char *straddling(Cursor *cursor, Chain chain, char *copy, Py_ssize_t *there) noexcept:
    """As front(), if the link has fewer bytes than WINDOW and another one follows."""
    while cursor.here == cursor.link.length and cursor.link.following != NULL:
        cursor.link = cursor.link.following
        cursor.here = 0
    there[0] = min(max(cursor.link.length - cursor.here, WINDOW), chain.size - cursor.at)
    if there[0] <= cursor.link.length - cursor.here:
        return cursor.link.data + cursor.here
    read_from(cursor.link, cursor.here, copy, there[0])
    return copy


cdef object string_at(Cursor *cursor, Chain chain, Py_ssize_t count, Py_ssize_t bytes_up_to):
    cdef bint is_whole = cursor.here + count <= cursor.link.length
    if count > bytes_up_to:
        if not is_whole and cursor.here == cursor.link.length:
            cursor.link = cursor.link.following
            cursor.here = 0
            is_whole = count <= cursor.link.length
        if is_whole:
            return slice_of(
                <Buffer>cursor.link.buf, cursor.link.data - (<Buffer>cursor.link.buf).data + cursor.here, count)
        return copied(cursor, chain, count)
    if is_whole:
        return PyBytes_FromStringAndSize(cursor.link.data + cursor.here, count)
    piece = PyBytes_FromStringAndSize(NULL, count)
    read_from(cursor.link, cursor.here, PyBytes_AS_STRING(piece), count)
    return piece


cdef Buffer copied(Cursor *cursor, Chain chain, Py_ssize_t count):
    return chain._copy(cursor.link, cursor.here, count)
