# Slab and SlabStore: raw memory in large runs. See slab.pyx.
#
#      0        256      264            4360            top                      capacity
#      ├─ ... ──┼─ b ────┼─ c ──────────┼────────────────┼── free: the next carve goes here ──┤
#
# Every carve starts on a multiple of ALIGNMENT. `live` counts what lies in the slab: allocations, and
# reservations (room given to a transport and not yet filled). live == 0 means that no byte of it is in use.

from cpython.object cimport PyObject

from poolio.c.guard cimport ensure, poison, unpoison

cdef enum Zeroing:
    NEVER
    ON_ALLOC
    ON_RELEASE

cdef struct Slab:
    # valid from map to unmap
    char *memory
    Py_ssize_t capacity
    int list_index          # the free list that it returns to, or OVERSIZE
    PyObject *identity      # the object that Buffer.slab shows; NULL until it is asked for
    Slab *previous          # all slabs of the store, in no order
    Slab *following
    # what is carved
    Py_ssize_t top          # the next carve starts here; a multiple of ALIGNMENT
    Py_ssize_t live
    Py_ssize_t written      # bytes at and after it are still zero, as they came from the system
    Py_ssize_t received     # of a read slab: nothing was read at or after it, as far as transports report
    Slab **carver           # where the pool or read slab that carves it keeps its pointer to it; NULL: nobody carves
    # on a free list only
    Slab *next_free

cdef struct FreeList:
    Slab *first             # the slab that was emptied last, still warm
    Py_ssize_t count
    Py_ssize_t unneeded     # the fewest that lay here since the last trim_idle()

cdef enum:
    ALIGNMENT = 8
    CLASS_COUNT = 24
    SMALL = CLASS_COUNT     # the list of slabs that are carved from; the lists below it are the size classes
    LIST_COUNT = CLASS_COUNT + 1
    OVERSIZE = -1

cdef inline Py_ssize_t aligned(Py_ssize_t size) noexcept nogil:
    return (size + (ALIGNMENT - 1)) & ~(<Py_ssize_t>(ALIGNMENT - 1))


cdef struct Survey:         # what a walk over all slabs finds
    Py_ssize_t used         # slabs in which something lives
    Py_ssize_t used_bytes   # their carved bytes; all of their bytes if nobody carves from them any more
    Py_ssize_t live         # what lives in them
    Py_ssize_t free         # slabs in which nothing lives, on a free list or waiting to be carved from
    Py_ssize_t free_bytes
    Py_ssize_t carved_free  # those of the free ones that somebody carves from


cdef class SlabStore:
    # fixed at creation
    cdef readonly Py_ssize_t slab_size
    cdef Py_ssize_t small_limit        # the largest size carved from a shared slab, inclusive
    cdef Py_ssize_t max_bytes_or_none  # -1: no limit
    cdef Zeroing zeroing_mode
    cdef bint scribbles                # debugging: what has ended is overwritten
    cdef bint cleans_up                # an ending allocation is wiped, overwritten, or dropped from `sites`
    cdef dict sites                    # debugging: address of an allocation -> where it was made; None: off
    # free memory
    cdef FreeList free_lists[LIST_COUNT]
    cdef Py_ssize_t kept_bytes         # on the free lists
    cdef Slab *all_slabs
    cdef Py_ssize_t returns            # slabs given back since creation
    cdef long long trimmed_at          # seconds on the monotonic clock
    # accounting; bytes, and counts since creation
    cdef Py_ssize_t slab_count
    cdef Py_ssize_t reserved_bytes     # slabs and size classes; what max_bytes bounds
    cdef Py_ssize_t oversize_bytes
    cdef Py_ssize_t own_bytes          # allocations in memory of their own size, outside any slab
    cdef Py_ssize_t live_bytes
    cdef Py_ssize_t hidden_bytes       # of the live ones, those that no Buffer shows
    cdef Py_ssize_t live_allocations
    cdef Py_ssize_t own_allocations
    cdef Py_ssize_t open_reservations
    cdef Py_ssize_t live_buffers
    cdef Py_ssize_t reuses
    cdef Py_ssize_t copied_bytes

    cdef Slab *take_small(self) except NULL
    cdef Slab *take_large(self, Py_ssize_t size) except NULL
    cdef void give_back(self, Slab *slab) noexcept
    cdef Slab *_take_free(self, int index) noexcept
    cdef void _keep_free(self, Slab *slab) noexcept
    cdef Slab *_map_slab(self, Py_ssize_t capacity, int index) except NULL
    cdef void _unmap_slab(self, Slab *slab) noexcept
    cdef void reclaim_carved(self) noexcept
    cdef Py_ssize_t release_free(self) noexcept
    cdef Py_ssize_t trim_idle(self) noexcept
    cdef void _shorten(self, FreeList *free, Py_ssize_t keep) noexcept
    cdef Survey survey(self) noexcept
    cpdef check(self)


# --- carving: nothing but slab writes top, live, written and received ----------------------------------------

cdef inline char *carve(SlabStore store, Slab *slab, Py_ssize_t size) noexcept:
    """Take the next `size` bytes of a slab that has them, for one allocation that is going to be written to.

    LIFETIME of the memory: until leave_slab().
    """
    cdef char *memory = slab.memory + slab.top
    ensure(0 < size and size <= slab.capacity - slab.top)
    slab.top += aligned(size)
    slab.live += 1
    if slab.top > slab.written and store.zeroing_mode != ON_RELEASE:
        slab.written = slab.top
    unpoison(memory, <size_t>size)
    return memory


# carve_zeroed() does the same, and zeroes the bytes. carve_whole() takes all of a slab that is empty and has no carver,
# for one allocation of `size` bytes.
cdef char *carve_zeroed(SlabStore store, Slab *slab, Py_ssize_t size) noexcept
cdef char *carve_whole(SlabStore store, Slab *slab, Py_ssize_t size, bint zeroed) noexcept


cdef inline void enter_slab(Slab *slab) noexcept:
    """Count one more hold on memory that is carved already."""
    ensure(slab.live > 0)
    slab.live += 1


cdef inline void leave_slab(SlabStore store, Slab *slab) noexcept:
    """Count one allocation or reservation less in the slab. The last one leaves the slab empty."""
    ensure(slab.live > 0)
    slab.live -= 1
    if slab.live == 0:
        if slab.carver != NULL:
            slab.top = 0
            store.reuses += 1
        else:
            store.give_back(slab)


cdef inline void begin_carving(Slab *slab, Slab **carver) noexcept:
    ensure(slab.live == 0 and slab.carver == NULL)
    slab.carver = carver
    slab.received = slab.written
    carver[0] = slab


cdef inline void end_carving(SlabStore store, Slab **carver) noexcept:
    cdef Slab *slab = carver[0]
    if slab != NULL:
        carver[0] = NULL
        slab.carver = NULL
        if slab.live == 0:
            store.give_back(slab)


# --- the tail of a slab, which is read into --------------------------------------------------------------------
#
# From open_tail() until one of the others is called, the memory behind `top` may be written to. carve_received() is for
# a caller that has already read into it; a reservation holds the tail until its owner knows how much came.

cdef inline void open_tail(Slab *slab) noexcept:
    unpoison(slab.memory + slab.top, <size_t>(slab.capacity - slab.top))


cdef inline void close_tail(Slab *slab) noexcept:
    """Close the tail after nothing came."""
    poison(slab.memory + slab.top, <size_t>(slab.capacity - slab.top))


cdef inline char *carve_received(
    SlabStore store, Slab *slab, Py_ssize_t size, Py_ssize_t extent, Py_ssize_t allocations
) noexcept:
    """Carve the first `size` bytes of the tail for this number of allocations. Each of them leaves the slab at its end.

    The tail was written to up to `extent`. The bytes beyond `size` are wiped (on_release) or covered by `written`.
    """
    cdef char *memory = slab.memory + slab.top
    cdef Py_ssize_t end = slab.top + extent
    ensure(0 <= size and size <= aligned(extent) and end <= slab.capacity and allocations >= 0)
    slab.live += allocations
    slab.top += aligned(size)
    if store.zeroing_mode == ON_RELEASE:
        if extent > size:
            wipe(memory + size, extent - size)
    elif end > slab.written:
        slab.written = end
    if end > slab.received:
        slab.received = end
    poison(memory + size, <size_t>(slab.memory + slab.capacity - memory - size))
    return memory


# The steps of a reservation: hold_tail() takes the whole tail, which begins at top; then keep_of_tail() carves its
# first `size` bytes, or give_up_tail() ends it without any.
cdef char *hold_tail(SlabStore store, Slab *slab, Py_ssize_t *length) noexcept
cdef void keep_of_tail(Slab *slab, Py_ssize_t size) noexcept
cdef void give_up_tail(SlabStore store, char *memory, Py_ssize_t length) noexcept


# --- zeroing -----------------------------------------------------------------------------------------------------

# wipe() writes zeros that the compiler may not drop. forget() is called for memory that has ended: it wipes the memory,
# overwrites it while debugging, or leaves it as it is.
cdef void wipe(char *memory, Py_ssize_t size) noexcept nogil
cdef void forget(SlabStore store, char *memory, Py_ssize_t size) noexcept


cdef object slab_identity(Slab *slab)
