# Owns the rule by which small rests move to memory of their own, so that they keep no slab.
#
# Refuses to know what moves: chain moves its links and writequeue its pieces, each in its own way. They look at
# whatever poolio keeps after a callback, because a thousand peers that stop in the middle of a frame, or read no
# answer, must not keep a thousand slabs. All of it is inline, so there is no module behind this file.

from cpython.object cimport PyObject
from libc.string cimport memcpy

from poolio.memory.allocation cimport Allocation
from poolio.memory.slab cimport SlabStore

cdef enum:
    PINS_TOO_MUCH = 8       # a rest moves if it is less than an eighth of the memory that it keeps


cdef inline bint pins_too_much(Allocation *allocation, Py_ssize_t kept) noexcept:
    """Is `kept` less than an eighth of what the allocation keeps: its slab, or its own memory outside any slab?"""
    return kept * PINS_TOO_MUCH < (allocation.slab.capacity if allocation.slab != NULL else allocation.size)


cdef inline Py_ssize_t block_size(Py_ssize_t needed, Py_ssize_t before, Py_ssize_t most) noexcept:
    """Return the size of a block for a rest of `needed` bytes and for rests to come.

    It is twice the block before, `most` at most, and `needed` at least.
    """
    return max(needed, min(2 * before, most))


cdef inline void move_bytes(PyObject *store, char *target, const char *source, Py_ssize_t length) noexcept:
    """Copy bytes that move, and count them as copied in their store, which is NULL if they came from none."""
    memcpy(target, source, <size_t>length)
    if store != NULL:
        (<SlabStore>store).copied_bytes += length
