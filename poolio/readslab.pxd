# ReadSlab: the slab that one loop receives into. Reservation: room handed to a transport, not yet filled.

from poolio.buffer cimport Buffer
from poolio.pool cimport Pool
from poolio.slab cimport Slab, SlabStore

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
    cdef Py_ssize_t written        # of the slab: no byte at or after it was received; zeroing mode on_alloc
    cdef Reservation latest        # the last one handed out, to be used again when nobody else holds it
    cdef object timer              # of the loop, until the next trimming; None: nothing to trim

    cdef Reservation reserve(self)
    cdef Buffer commit(self, Reservation room, Py_ssize_t size)
    # For who receives at once, between two steps of Python: the room is nobody's until take().
    # LIFETIME of the room: until the next call of any method here
    cdef char *room(self, Py_ssize_t *length) except NULL
    cdef Buffer take(self, Py_ssize_t size)
    cdef void leave(self) noexcept
    cdef int _need_slab(self) except -1
    cdef void _give_up_latest(self) noexcept
    cdef object _trim_later(self)


cdef ReadSlab read_slab_for(Pool pool, object loop)
