# Owns lists of spare structs: small C structs that have ended and are used again, instead of going to malloc and back.
#
#     first ──> Spare ──> Spare ──> ...       what a struct begins with, while it is on its list and means nothing else
#
# All of it is inline, so there is no module behind this file. With the GIL.

from cpython.mem cimport PyMem_Free

from poolio.c.faults cimport poolio_armed, poolio_malloc

cdef enum:
    MOST_SPARE = 256        # structs on a list: one for each message in flight of a busy loop

cdef struct Spare:
    Spare *following

cdef struct SpareList:
    Spare *first
    int count


cdef inline void *take_struct(SpareList *spares, size_t size) noexcept:
    """A struct of `size` bytes, always the same for one list; it holds what was left in it. NULL: no memory."""
    cdef Spare *found = spares.first
    if found == NULL or poolio_armed():
        return poolio_malloc(size)
    spares.first = found.following
    spares.count -= 1
    return found


cdef inline void keep_struct(SpareList *spares, void *ended) noexcept:
    """Put it on its list, or give it back to the system if there are enough."""
    if spares.count >= MOST_SPARE:
        PyMem_Free(ended)
        return
    (<Spare *>ended).following = spares.first
    spares.first = <Spare *>ended
    spares.count += 1
