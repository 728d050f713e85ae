# SelectorCore: the compiled half of the selector of poolio.EventLoop. See selector.pyx.

from poolio.wire.alarm cimport Alarm
from poolio.wire.reactor cimport Reactor, Source
from poolio.wire.schedule cimport Schedule
from poolio.wire.waker cimport Waker


cdef class Watched(Source):
    cdef SelectorCore selector
    cdef object key


cdef class SelectorCore:
    cdef readonly Reactor reactor
    cdef Alarm alarm
    cdef Waker waker            # None until the selector serves a loop, and once it is closed
    cdef Schedule loop          # None, likewise
    cdef object own_callback    # the handle that runs _handle_seen()
    cdef bint is_acting         # it is running: a loop that runs meanwhile needs another handle
    cdef dict watched           # descriptor -> Watched
    cdef dict keys              # descriptor -> SelectorKey
    cdef list ready             # (Watched, events) that wait() has found so far

    cdef list wait(self, double seconds)
    cdef int _pass(self, int milliseconds) except -1
    cdef bint watches_nothing(self) noexcept
    cdef int renew_descriptors(self) except -1
    cdef int _forget(self, Watched watched) except -1
    cdef Watched _find(self, fileobj)
    cdef object _new_callback(self)
    cdef list _take_ready(self)
