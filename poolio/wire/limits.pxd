# Limits: what one server allows its peers, and how many there are. See limits.pyx.

from poolio.wire.reactor cimport Reactor
from poolio.wire.stream cimport StreamTransport

cdef class Watch:
    cdef object limits             # weakly: its transports keep the Limits alive
    cdef double seconds
    cdef double period             # seconds between two looks
    cdef object timer              # of the next look; None: there is no connection to look at
    cdef Py_ssize_t closed         # connections that it has closed

    cdef int start(self, Limits limits) except -1
    cdef list _overdue(self, Limits limits)
    cdef bint is_overdue(self, StreamTransport transport) except -1


cdef class Limits:
    cdef object __weakref__
    # what was asked for; None: no limit
    cdef object max_connections
    cdef str when_full
    cdef object idle_timeout
    cdef object first_frame_timeout
    # once it serves
    cdef Reactor reactor
    cdef object server             # weakly: the server has its Limits
    cdef Py_ssize_t most           # connections
    cdef readonly bint refuses
    cdef list watches
    cdef list waiting              # functions to call when there is room for another connection
    cdef bint has_refused          # since there was room last
    cdef double told_at            # the loop's time when it was logged last that the server is full
    # figures
    cdef Py_ssize_t listeners
    cdef Py_ssize_t connections
    cdef Py_ssize_t accepted
    cdef Py_ssize_t refused
    cdef Py_ssize_t filled

    cdef int enter(self, Reactor reactor, object server) except -1
    cdef int leave(self, callback) except -1
    cdef bint is_full(self) noexcept
    cdef int note_full(self) except -1
    cdef int refuse(self, int fd) except -1
    cdef int wait(self, callback) except -1
    cdef int _call_waiting(self) except -1
    cdef Py_ssize_t _closed_by(self, Watch watch) noexcept
    cdef int _end_timers(self) except -1
