# Claimant: a source that needs memory of a pool to go on, and may hold some of it. See shortage.pyx.

from cpython.object cimport PyObject

from poolio.memory.pool cimport Pool
from poolio.wire.reactor cimport Reactor, Source
from poolio.wire.readslab cimport ReadSlab


cdef class Claimant(Source):
    cdef Reactor reactor
    # its place in the reactor's list of claimants, borrowed; NULL: the last one, the first one
    cdef PyObject *next_claimant
    cdef PyObject *previous_claimant
    cdef bint is_listed

    # Bytes of this pool that it holds: still to be sent, or received and not read yet
    cdef Py_ssize_t holds_of(self, Pool pool) except -1
    # There is memory again
    cdef int room_again(self) except -1
    # Is it over, so that it neither waits nor can be closed?
    cdef bint is_over(self) noexcept
    # There was no memory for long. Does it wait on, having told its protocol? Else it may be closed for it
    cdef bint endures(self, exc) except -1
    # Close it with this error
    cdef int fail(self, exc, message) except -1


cdef void enter_list(Claimant claimant, Reactor reactor) noexcept
cdef void leave_list(Claimant claimant) noexcept

cdef int wait_for_room(Claimant claimant, ReadSlab slab) except -1
cdef int stop_waiting(Claimant claimant, ReadSlab slab) except -1
