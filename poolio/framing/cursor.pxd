# Cursor: a place in a Chain. See cursor.pyx.

from poolio.memory.buffer cimport Buffer
from poolio.memory.chain cimport Chain, Link

cdef enum:
    WINDOW = 32                 # bytes that front() gives in one piece, if there are so many: a line with a number

cdef struct Cursor:
    # LIFETIME: until something is taken from the chain. What is put behind it is seen by go_on()
    Link *link
    Py_ssize_t here             # index in the link; its length: the next byte is in the next link, if there is one
    Py_ssize_t at               # index in the chain


# Set a cursor on an index of a chain that has bytes, up to its size. Links that were walked over before are not again
cdef void cursor_at(Cursor *cursor, Chain chain, Py_ssize_t at) noexcept
# Let the next search of the chain, and the next cursor behind this one, begin at this cursor's link
cdef void remember(Cursor *cursor, Chain chain) noexcept
cdef void cross(Cursor *cursor, Py_ssize_t count) noexcept
cdef const char *straddling(Cursor *cursor, Chain chain, char *copy, Py_ssize_t *there) noexcept
cdef Buffer copied(Cursor *cursor, Chain chain, Py_ssize_t count)
# Return the next `count` bytes, which are there: as `bytes` up to a limit, beyond as a Buffer, without a copy unless
# they straddle. The cursor stays
cdef object string_at(Cursor *cursor, Chain chain, Py_ssize_t count, Py_ssize_t bytes_up_to)


cdef inline void step(Cursor *cursor, Py_ssize_t count) noexcept:
    """Go on by `count` bytes, which are there."""
    cursor.at += count
    if cursor.here + count <= cursor.link.length:
        cursor.here += count
    else:
        cross(cursor, count)


cdef inline const char *front(Cursor *cursor, Chain chain, char *copy, Py_ssize_t *there) noexcept:
    """Return the next bytes and how many lie there: WINDOW at least, or all that the chain has.

    `copy` has room for WINDOW bytes; it is used if they straddle.
    """
    there[0] = cursor.link.length - cursor.here
    if there[0] >= WINDOW or cursor.link.following == NULL:
        return cursor.link.data + cursor.here
    return straddling(cursor, chain, copy, there)
