# Owns lists of spare structs: small C structs that have ended and are used again, instead of going to malloc and back.
# Refuses to know what a struct means. Used by allocation, chain and writequeue.
#
#     first ──> Spare ──> Spare ──> ...       a struct that is on its list begins with a Spare, and means nothing else
#
# All of it is inline, so there is no module behind this file. It needs the GIL.

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
    """Return a struct of `size` bytes, which is always the same for one list. It holds what was left in it.

    NULL if there is no memory.
    """
    cdef Spare *found = spares.first
    if found == NULL or poolio_armed():
        return poolio_malloc(size)
    spares.first = found.following
    spares.count -= 1
    return found


cdef inline void keep_struct(SpareList *spares, void *ended) noexcept:
    """Put a struct that has ended on its list, or free it if the list has enough."""
    if spares.count >= MOST_SPARE:
        PyMem_Free(ended)
        return
    (<Spare *>ended).following = spares.first
    spares.first = <Spare *>ended
    spares.count += 1
