# Claimant: a source that may need memory of a pool to go on, and may hold some of it. See shortage.pyx.

from cpython.object cimport PyObject

from poolio.memory.pool cimport Pool
from poolio.wire.reactor cimport Reactor, Source
from poolio.wire.readslab cimport ReadSlab


cdef class Claimant(Source):
    cdef Reactor reactor
    # its neighbours in the reactor's list of claimants, borrowed; NULL: there is none on that side
    cdef PyObject *next_claimant
    cdef PyObject *previous_claimant
    cdef bint is_listed

    # Bytes of this pool that it holds: they are still to be sent, or received and not delivered yet
    cdef Py_ssize_t holds_of(self, Pool pool) except -1
    # Called when there is memory again that it waits for
    cdef int room_again(self) except -1
    # True if it has ended, so that it neither waits nor can be closed
    cdef bint is_over(self) noexcept
    # Called when there was no memory for long. True if it has told its protocol and waits on; False if it may be closed
    cdef bint endures(self, exc) except -1
    # Close it with this error
    cdef int fail(self, exc, message) except -1


cdef void enter_list(Claimant claimant, Reactor reactor) noexcept
cdef void leave_list(Claimant claimant) noexcept

cdef int wait_for_room(Claimant claimant, ReadSlab slab) except -1
cdef int stop_waiting(Claimant claimant, ReadSlab slab) except -1
