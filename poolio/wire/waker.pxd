# Waker: what another thread rings when the loop sleeps. See waker.pyx.

from poolio.wire.reactor cimport Reactor, Source


cdef class Waker(Source):
    cdef Reactor reactor

    cdef int _open(self) except -1
    cdef int wake(self) except -1
    cdef int renew(self) except -1
    cdef object close(self)
