# ReadSlab: the slab of a pool that one loop reads into. Reservation: room that a transport has asked for and not yet
# filled. See readslab.pyx.

from cpython.object cimport PyObject

from poolio.c.guard cimport POISONS
from poolio.memory.buffer cimport Buffer
from poolio.memory.pool cimport Pool
from poolio.memory.slab cimport Slab, SlabStore


cdef class Reservation:
    # the room: data is NULL once it is filled or given up; length stays, as views that are alive point to it.
    # LIFETIME of data: while `slab` is held
    cdef char *data
    cdef Py_ssize_t length
    cdef bint is_open
    # the hold on the slab: while open, and while a view is alive after that; NULL otherwise
    cdef SlabStore store
    cdef Slab *slab
    cdef Py_ssize_t exports


cdef class ReadSlab:
    cdef Pool pool
    cdef PyObject *next_reader     # of the same pool, on another loop, borrowed; NULL: it is the last of the list
    cdef object loop
    cdef Slab *slab
    cdef Reservation latest        # the last reservation; it is used again when nothing else holds it
    cdef object timer              # the loop's timer for the next trimming; None: there is nothing to trim
    cdef object refusal            # the MemoryError of the last make_room() that failed; None: none did
    cdef object shortage           # the Shortage with the claimants that wait for memory; None: none waits

    # --- for a caller that reads at once: no Python code runs between room_in() and take(), claim() or leave()
    cdef Buffer take(self, Py_ssize_t size)
    # take() in two steps, for many allocations at once: claim(), and look_after_timer() when they are made
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
    """The same room that `reserve()` gives, but without an object and without a hold. NULL if there is no memory now.

    The caller fills and takes it before any other code runs.
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
