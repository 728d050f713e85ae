"""Owns the kernel timer (timerfd) that ends the sleep of a poolio.EventLoop when its first timer is due.

Refuses to know timers and callbacks: it is told a deadline. Made, asked and closed by the selector.

epoll_wait's own timeout is a timer that the kernel sets at the beginning of each sleep and takes back at its end: that
is 0.2 us of the 6 that a message takes in a virtual machine, and a server sleeps thousands of times before one of its
timers is due. So the alarm is set to the earliest deadline, and the loop sleeps without a timeout until then. It is not
set back if that deadline is given up, as most are: it rings for nothing then, and is set to what is first by that time.

    deadline           here          given up, the next one is there       it rings, and is set anew
    sleeps    ──╴╴──╴──╴╴╴──╴╴──╴╴──╴╴──╴──╴╴──╴╴──╴──╴──╴╴──╴──╴╴╴──╴╴──╴╴──╴╴──╴──╴╴──╴╴──╴──╴
    alarm       set: one system call                                      │

To set it costs as much as a timeout, so a deadline that is near is left to epoll_wait, unless the alarm rings by then
anyway. So are all deadlines where epoll does not wait for the alarm, as in a sandbox that forbids it.

Each ring is an event of its own (EPOLLET), so nothing is read. An event may be lost, if a callback that runs before it
in the same pass raises, or runs a loop. So only time counts here: the alarm is set as long as its time has not come.
"""

from libc.math cimport INFINITY, ceil

from poolio.c.net cimport EPOLLET, EPOLLIN, poolio_alarm_create, poolio_alarm_set, poolio_close

from poolio.memory.methods import forbid_new

cdef double NEAR = 0.05         # seconds: a loop that always has a timer within it sleeps with timeouts
cdef double LATE = 1e-6         # seconds: a deadline that is computed anew in the next turn differs by less
cdef double LONGEST_WAIT = 24 * 3600.0      # asyncio's own limit


cdef class Alarm(Source):

    def __init__(self, Reactor reactor not None):
        self.reactor = reactor
        self.only_notes = True
        self._open()

    def __dealloc__(self):
        if self.fd >= 0:
            poolio_close(self.fd)

    cdef int _open(self) except -1:
        self.due = 0
        self.fd = poolio_alarm_create()
        if self.fd >= 0:
            self.reactor.set_interest(self, EPOLLIN | EPOLLET)
        return 0

    cdef int on_ready(self, unsigned int events) except -1:
        return 0                        # the loop sleeps no more, which is all that it was for

    cdef int milliseconds(self, double deadline, double now) noexcept:
        if deadline <= now:
            return 0
        if deadline == INFINITY:
            return -1
        deadline = min(deadline, now + LONGEST_WAIT)
        if self.interest != 0:
            if now < self.due <= deadline + LATE:
                return -1
            if deadline - now > NEAR and poolio_alarm_set(self.fd, deadline) == 0:
                self.due = deadline
                return -1
        return <int>ceil((deadline - now) * 1e3)        # rounded up, as a timer must not fire early

    cdef int renew(self) except -1:
        """In the child of a fork: it has the parent's descriptor, and would set the parent's alarm."""
        self.close()
        return self._open()

    cdef object close(self):
        if self.fd >= 0:
            self.reactor.set_interest(self, 0)
            poolio_close(self.fd)
            self.fd = -1


forbid_new(Alarm)
