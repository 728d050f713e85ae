# Chain: buffers in order, as one byte sequence. See chain.pyx.
#
#     first ──> Link ──> Link ──> Link <── last        size = sum of their lengths
#               │ data, length: what is left of it       (room: free bytes behind it, in memory of the chain's own)
#               └ buf: the Buffer that it lies in, which nobody else may release

from cpython.object cimport PyObject

from poolio.memory.buffer cimport Buffer
from poolio.memory.digits cimport Digits
from poolio.memory.pool cimport Pool

cdef enum:
    UNTIL_THE_END = -1
    # what _seek() returns instead of an index
    NOT_YET = -1                # the separator is not there, and may still come
    TOO_FAR = -2                # the separator is not within the limit, whatever comes

cdef struct Link:
    # LIFETIME of data: while the link is in the chain
    const char *data
    Py_ssize_t length
    Py_ssize_t room
    PyObject *buf
    Link *following


cdef class Chain:
    cdef Pool pool              # what is appended and is no Buffer is copied into it; None: into the default pool
    cdef Link *first
    cdef Link *last
    cdef Link *looked_at        # the last link that unpin() has seen; NULL: none
    cdef Py_ssize_t size
    # for callers that cut frames out of it
    cdef public Py_ssize_t wanted   # with fewer bytes than this there is no frame yet; back to 0 when some are dropped
    cdef Py_ssize_t searched    # no match of what is searched for ends within so many bytes, if it begins ...
    cdef Py_ssize_t reach       # ... among the last `reach` of them; all of them for a tuple. See _seek()
    cdef object searched_for    # bytes, or a tuple of them; None: nothing
    cdef Link *begun_in         # the link where the last search began, and the index of its first byte; NULL: none
    cdef Py_ssize_t begun_at
    cdef Py_ssize_t to_discard  # bytes still to come that are dropped; UNTIL_THE_END of a frame that is too large

    cpdef object append(self, data)
    # Put a Buffer at the end: one that is alive, is not empty, and is the chain's from now on
    cdef int put(self, Buffer buf) except -1
    cdef Buffer cut(self, Py_ssize_t count)
    # Take out everything, as a list of Buffers
    cdef list cut_all(self)
    # Copy all of it. RuntimeError while a frame is being dropped: then the beginning is lost already
    cdef bytes copy(self)
    cdef Buffer cut_out(self, Py_ssize_t before, Py_ssize_t count, Py_ssize_t behind)
    cdef Buffer _copy(self, Link *link, Py_ssize_t start, Py_ssize_t count)
    cdef void drop(self, Py_ssize_t count) noexcept
    cdef void discard(self, Py_ssize_t count) noexcept
    cdef void read_into(self, char *target, Py_ssize_t count) noexcept
    cdef Py_ssize_t find_from(self, Py_ssize_t start, Py_ssize_t stop, const char *needle, Py_ssize_t length) noexcept
    cdef int unpin(self) except -1
    cdef int _unpin(self) except -1
    cdef void _drop_first(self) noexcept
    cdef Py_ssize_t bytes_in(self, Pool pool) noexcept
    cdef Py_ssize_t _within(self, count) except -1
    cdef bint _begins_with(self, bytes prefix) noexcept
    cdef object _integer(self, Py_ssize_t length, Digits *allowed, least, most)
    cdef Py_ssize_t _seek(self, bytes separator, Py_ssize_t start, Py_ssize_t limit) except -3


# Return a bytes-like object as `bytes`; the TypeError for anything else calls it by this name
cdef bytes bytes_of(name, value)
cdef void read_from(Link *link, Py_ssize_t start, char *target, Py_ssize_t count) noexcept


# --- for other people's Cython: `from poolio cimport Chain, Codec, chain_front, ...` -------------------------

cdef inline Py_ssize_t chain_length(Chain chain) noexcept:
    """How many bytes there are; 0 for None."""
    return 0 if chain is None else chain.size


cdef inline const char *chain_front(Chain chain, Py_ssize_t *length) noexcept:
    """The first bytes, as many as lie in one Buffer; NULL if there are none, and for None.

    LIFETIME: until anything is taken from the chain or appended to it.
    """
    if chain is None or chain.first == NULL:
        length[0] = 0
        return NULL
    length[0] = chain.first.length
    return chain.first.data


cdef inline Buffer chain_take(Chain chain, Py_ssize_t count):
    """As `chain.take(count)`: ValueError for more than there is, TypeError for None."""
    if chain is None:
        raise TypeError("a Chain is needed, not None")
    if not 0 <= count <= chain.size:
        raise ValueError(f"count must be in 0..{chain.size}, the bytes of the chain, not {count}")
    return chain.cut(count)
