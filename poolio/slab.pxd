# Slab and SlabStore: raw memory in large runs. See slab.pyx for who owns what.
#
#      0        256      264            4360            top                      capacity
#      ├─ ... ──┼─ b ────┼─ c ──────────┼────────────────┼── free: the next carve goes here ──┤
#
# Every carve starts on a multiple of ALIGNMENT. `live` counts what lies in the slab: allocations, and
# reservations (room handed to a transport and not yet filled). live == 0 means that no byte is anybody's.

from cpython.object cimport PyObject

cdef enum Zeroing:
    NEVER
    ON_ALLOC
    ON_RELEASE

cdef struct Slab:
    # valid from map to unmap
    char *memory
    Py_ssize_t capacity
    int size_class          # SMALL, OVERSIZE, or an index into SlabStore.free_classes
    PyObject *identity      # the object that Buffer.slab shows; NULL until somebody asks
    Slab *previous          # all slabs of the store, in no order
    Slab *following
    # what is carved
    Py_ssize_t top          # the next carve starts here; a multiple of ALIGNMENT
    Py_ssize_t live
    Py_ssize_t dirty        # bytes at and after it are still zero, as they came from the system
    Slab **carver           # the field in which the one who carves keeps its pointer to this slab; NULL: nobody
    # on a free list only
    Slab *next_free

cdef enum:
    ALIGNMENT = 8
    CLASS_COUNT = 24
    SMALL = -1
    OVERSIZE = -2

cdef inline Py_ssize_t aligned(Py_ssize_t size) noexcept nogil:
    return (size + (ALIGNMENT - 1)) & ~(<Py_ssize_t>(ALIGNMENT - 1))


cdef class SlabStore:
    # fixed at creation
    cdef readonly Py_ssize_t slab_size
    cdef Py_ssize_t small_limit        # the largest size carved from a shared slab, inclusive
    cdef Py_ssize_t max_bytes_or_none  # -1: no limit
    cdef Zeroing zeroing_mode
    # free memory, most recently used first
    cdef Slab *free_small
    cdef Slab *free_classes[CLASS_COUNT]
    cdef Py_ssize_t free_count
    cdef Py_ssize_t free_bytes
    cdef Slab *all_slabs
    # accounting; bytes, and counts since creation
    cdef Py_ssize_t slab_count
    cdef Py_ssize_t reserved_bytes    # slabs and size classes; what max_bytes bounds
    cdef Py_ssize_t oversize_bytes
    cdef Py_ssize_t own_bytes         # allocations in memory of their own size, outside any slab
    cdef Py_ssize_t live_bytes
    cdef Py_ssize_t live_allocations
    cdef Py_ssize_t own_allocations
    cdef Py_ssize_t open_reservations
    cdef Py_ssize_t live_buffers
    cdef Py_ssize_t reuses
    cdef Py_ssize_t copied_bytes

    cdef Slab *take_small(self) except NULL
    cdef Slab *take_large(self, Py_ssize_t size) except NULL
    cdef void give_back(self, Slab *slab) noexcept
    cdef Slab *map_slab(self, Py_ssize_t capacity, int size_class) except NULL
    cdef void unmap_slab(self, Slab *slab) noexcept
    cdef void reclaim_carved(self) noexcept
    cdef Py_ssize_t release_free(self, Py_ssize_t keep) noexcept
    cpdef check(self)


cdef inline void leave_slab(SlabStore store, Slab *slab) noexcept:
    slab.live -= 1
    if slab.live == 0:
        if slab.carver != NULL:
            slab.top = 0
            store.reuses += 1
        else:
            store.give_back(slab)


cdef inline void begin_carving(Slab *slab, Slab **carver) noexcept:
    slab.carver = carver
    carver[0] = slab


cdef inline void end_carving(SlabStore store, Slab **carver) noexcept:
    cdef Slab *slab = carver[0]
    if slab != NULL:
        carver[0] = NULL
        slab.carver = NULL
        if slab.live == 0:
            store.give_back(slab)


cdef object slab_identity(Slab *slab)
