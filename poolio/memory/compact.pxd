# Owns the rule by which small rests move to memory of their own, so that they keep no slab.
#
# Refuses to know what moves: a chain's links and a write queue's pieces do, each in its own way. Whatever poolio keeps
# after a callback is looked at: a thousand peers that stop in the middle of a frame, or read no answer, must not keep a
# thousand slabs. All of it is inline, so there is no module behind this file.

from cpython.object cimport PyObject
from libc.string cimport memcpy

from poolio.memory.allocation cimport Allocation
from poolio.memory.slab cimport SlabStore

cdef enum:
    PINS_TOO_MUCH = 8       # a rest moves if it is less than an eighth of the memory that it keeps


cdef inline bint pins_too_much(Allocation *allocation, Py_ssize_t kept) noexcept:
    """Is `kept` less than an eighth of the slab, or of the memory of its own, that the allocation keeps?"""
    return kept * PINS_TOO_MUCH < (allocation.slab.capacity if allocation.slab != NULL else allocation.size)


cdef inline Py_ssize_t block_size(Py_ssize_t needed, Py_ssize_t before, Py_ssize_t most) noexcept:
    """Bytes for a rest of `needed` bytes and for rests to come: twice the block before it, `most` at most."""
    return max(needed, min(2 * before, most))


cdef inline void move_bytes(PyObject *store, char *target, const char *source, Py_ssize_t length) noexcept:
    """Copy what moves, and count it as copied in its store. NULL: it came from none."""
    memcpy(target, source, <size_t>length)
    if store != NULL:
        (<SlabStore>store).copied_bytes += length
