# Allocation: a range that was carved once, with a count of its holders. Holder: a hold on a part of an allocation, and
# the base of Buffer. See allocation.pyx.

from cpython.object cimport PyObject, PyTypeObject

from poolio.c.guard cimport ensure
from poolio.memory.slab cimport Slab, SlabStore

cdef enum:
    NOT_HASHED = -1                # no hash is -1

cdef struct Allocation:
    # the range; valid while holders > 0
    PyObject *store                # a reference of its own: the pool outlives its allocations
    Slab *slab                     # NULL: memory of its own, or none at all (size 0)
    char *memory
    Py_ssize_t size
    # its holders
    Py_ssize_t holders             # Buffers on it that are alive, and pieces of write queues that are still to be sent
    Py_ssize_t shown               # sum of their lengths; overlaps count twice
    int writable_exports           # views of them that can be written to; 2 ** 31 would be half a terabyte of views
    bint frozen
    Py_hash_t hash                 # of all its bytes; NOT_HASHED until a holder of all of them is hashed, once frozen


cdef class Holder:
    # LIFETIME of data: while this object lives and is not released; NULL and 0 afterwards
    cdef char *data
    cdef Py_ssize_t length
    cdef Py_ssize_t exports        # views of this range that are alive
    cdef Allocation *allocation    # NULL while blank, and after release()


# --- for other people's Cython: `from poolio cimport buffer_data, ...` -------------------------------------

cdef inline const char *buffer_data(Holder buf) noexcept nogil:
    """The first byte, aligned to 8 at the start of an allocation; NULL once released, and for None. Takes no reference.

    LIFETIME: while the caller holds a reference and nobody calls release(). To be safe from other holders, take a
    slice and keep it to yourself: `mine = buf[:]`.
    """
    return NULL if buf is None else buf.data


cdef inline Py_ssize_t buffer_length(Holder buf) noexcept nogil:
    """How many bytes are at `buffer_data`; 0 once released, and for None."""
    return 0 if buf is None else buf.length


cdef inline char *buffer_writable_data(Holder buf) except NULL:
    """As `buffer_data`, for writing. BufferReleased once released, TypeError if frozen or None.

    LIFETIME: as there, and until freeze().
    """
    if buf is None:
        raise TypeError("a Buffer is needed, not None")
    ensure_writable(buf)
    return buf.data


# As `buf.release()`. BufferError while a view of the Buffer is alive, TypeError for None.
cdef int buffer_release(Holder buf) except -1


# --- for poolio's own modules --------------------------------------------------------------------------------

cdef inline int ensure_alive(Holder holder) except -1:
    if holder.allocation == NULL:
        raise_released()
    return 0


cdef inline int ensure_writable(Holder holder) except -1:
    if holder.allocation == NULL:
        raise_released()
    if holder.allocation.frozen:
        raise_frozen()
    return 0


cdef inline SlabStore store_of(Holder holder):
    return <SlabStore>holder.allocation.store


cdef inline void count_copied(Holder holder) noexcept:
    (<SlabStore>holder.allocation.store).copied_bytes += holder.length


cdef inline bint try_freeze(Holder holder) noexcept:
    if holder.allocation.writable_exports > 0 and not holder.allocation.frozen:
        return False
    holder.allocation.frozen = True
    return True


cdef inline Py_ssize_t hidden_in(Allocation *allocation) noexcept:
    """Return how many bytes of an allocation no holder shows. There can be more: overlaps are counted twice."""
    return allocation.size - allocation.shown if allocation.shown < allocation.size else 0


cdef inline void show(Allocation *allocation, Py_ssize_t length) noexcept:
    """Count `length` bytes that one more holder shows, or -length for one holder less.

    The fast path is for an allocation of which nothing is hidden.
    """
    cdef Py_ssize_t before
    if allocation.shown >= allocation.size and length >= 0:
        allocation.shown += length
        return
    before = hidden_in(allocation)
    allocation.shown += length
    (<SlabStore>allocation.store).hidden_bytes += hidden_in(allocation) - before


cdef inline void drop_hold(Allocation *allocation, Py_ssize_t length) noexcept:
    """End the hold of a holder that counted `length` bytes. The last holder ends the allocation."""
    ensure(allocation.holders > 0 and length <= allocation.shown)
    (<SlabStore>allocation.store).live_buffers -= 1
    allocation.holders -= 1
    if allocation.holders == 0:
        end_allocation(allocation)
    else:
        show(allocation, -length)


cdef inline void take_hold(Allocation *allocation, Py_ssize_t length) noexcept:
    """Hold `length` bytes of an allocation without a Buffer; drop_hold() with the same length ends it."""
    ensure(allocation.holders > 0 and length <= allocation.size)
    allocation.holders += 1
    show(allocation, length)
    (<SlabStore>allocation.store).live_buffers += 1


cdef inline void join_allocation(Holder holder, Holder other, Py_ssize_t start, Py_ssize_t length) noexcept:
    """Make a blank holder hold `length` bytes of another holder's range, from its byte `start` on."""
    ensure(0 <= start and 0 <= length and start + length <= other.length)
    holder.allocation = other.allocation
    holder.data = other.data + start
    holder.length = length
    take_hold(holder.allocation, length)


cdef int make_holders(PyTypeObject *kind) except -1
cdef Holder new_holder(SlabStore store, Slab *slab, char *memory, Py_ssize_t size)
cdef Holder blank_holder()
cdef void end_allocation(Allocation *allocation) noexcept
cdef void let_go(Holder holder) noexcept
cdef int raise_released() except -1
cdef int raise_frozen() except -1
cdef void fill_view(
    Py_buffer *view, object owner, char *data, Py_ssize_t *length, bint readonly, int flags
) noexcept
