# ReadSlab: the slab that one loop receives into. Reservation: room given to a transport, not yet filled. See
# readslab.pyx.

from poolio.c.guard cimport POISONS
from poolio.memory.buffer cimport Buffer
from poolio.memory.pool cimport Pool
from poolio.memory.slab cimport Slab, SlabStore


cdef class Reservation:
    # the room; data is NULL once filled or ended, length stays, as views that are alive point to it.
    # LIFETIME of data: while `slab` is held
    cdef char *data
    cdef Py_ssize_t length
    cdef bint is_open
    # the hold on the slab: while open, and while a view is alive after that; NULL otherwise
    cdef SlabStore store
    cdef Slab *slab
    cdef Py_ssize_t exports


cdef class ReadSlab:
    cdef object __weakref__
    cdef Pool pool
    cdef object loop
    cdef Slab *slab
    cdef Reservation latest        # the last one handed out, to be used again when nobody else holds it
    cdef object timer              # of the loop, until the next trimming; None: nothing to trim
    cdef object refusal            # the MemoryError of the last make_room() that failed; None: none did
    cdef object shortage           # the claimants that wait for memory; None: none waits. See shortage

    # --- for a caller that receives at once: no Python runs between room_in() and take(), claim() or leave()
    cdef Buffer take(self, Py_ssize_t size)
    # take() in two steps, for many allocations at once; look_after_timer() when they are made
    cdef Slab *claim(self, Py_ssize_t size, Py_ssize_t extent, Py_ssize_t allocations) noexcept
    cdef object look_after_timer(self)
    cdef void leave(self) noexcept
    cdef bint make_room(self) except -1

    # --- for a transport that asks for room, and says later how much came
    cdef Reservation reserve(self)
    cdef Buffer commit(self, Reservation room, Py_ssize_t size)

    cdef int _need_slab(self) except -1
    cdef void _give_up_latest(self) noexcept
    cdef object _trim_later(self)


cdef inline char *room_in(ReadSlab reader, Py_ssize_t *length) except? NULL:
    """What `reserve()` gives, to be filled and taken before anybody else runs: no object, no hold. NULL: no memory now.

    LIFETIME: until the next call of any method of the ReadSlab. A sanitized build opens it in make_room() alone.
    """
    if POISONS or reader.latest is not None or not has_room(reader):
        if not reader.make_room():
            return NULL
    length[0] = reader.slab.capacity - reader.slab.top
    return reader.slab.memory + reader.slab.top


cdef inline bint has_room(ReadSlab reader) noexcept:
    return reader.slab != NULL and reader.slab.capacity - reader.slab.top >= reader.pool.small_limit


cdef ReadSlab read_slab_for(Pool pool, object loop)
