# Alarm: what ends the sleep of a loop when a timer is due. See alarm.pyx.

from poolio.wire.reactor cimport Reactor, Source

cdef double LONGEST_WAIT         # seconds: no longer sleep is asked for


cdef class Alarm(Source):
    cdef Reactor reactor
    cdef double due             # seconds, by poolio_now(): when it rings, or has rung

    # How long epoll_wait may sleep until `deadline`, in milliseconds; -1: until the alarm rings, or for ever
    cdef int milliseconds(self, double deadline, double now) noexcept
    cdef int _open(self) except -1
    cdef int renew(self) except -1
    cdef object close(self)
