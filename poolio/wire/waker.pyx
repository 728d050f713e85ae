"""Owns the descriptor (eventfd) that ends the sleep of a poolio.EventLoop.

Refuses to know why the loop is woken. Made and closed by the selector; called by call_soon_threadsafe() (loops.core)
from any thread, and after a fork.

A thread that adds a callback wakes the loop only if it sleeps, and the first of several does it for all:

    the loop's thread                                   another thread
    `sleeping` is set (Reactor._sleep)                  the callback is added
    no callback is there: epoll_wait, without the GIL   `sleeping` is set: clear it, write
    `sleeping` is cleared

Both sides hold the GIL for their two steps, so either the loop sees the callback or the thread sees that it sleeps.
(poolio refuses interpreters without the GIL. There both sides would need a full memory barrier between the two steps.)

Each write is an event of its own (EPOLLET), so nothing is read: a wake costs one system call. Signals wake the loop
through asyncio's self-pipe, as on asyncio's loops.
"""

import os

from poolio.c.net cimport EPOLLET, EPOLLIN, poolio_close, poolio_wake, poolio_waker_create

from poolio.memory.methods import forbid_new


cdef class Waker(Source):

    def __init__(self, Reactor reactor not None):
        self.reactor = reactor
        self.only_notes = True
        self._open()

    def __dealloc__(self):
        if self.fd >= 0:
            poolio_close(self.fd)

    cdef int _open(self) except -1:
        self.fd = poolio_waker_create()
        if self.fd < 0:
            raise OSError(-self.fd, f"eventfd: {os.strerror(-self.fd)}")
        self.reactor.set_interest(self, EPOLLIN | EPOLLET)
        return 0

    cdef int on_ready(self, unsigned int events) except -1:
        return 0                        # the loop sleeps no more, which is all that it was for

    cdef int wake(self) except -1:
        """Let the loop look for callbacks now, if it sleeps. Any thread may call this."""
        if self.reactor.sleeping:
            self.reactor.sleeping = False
            poolio_wake(self.fd)
        return 0

    cdef int renew(self) except -1:
        """In the child of a fork: what wakes the child must not wake the parent."""
        self.close()
        return self._open()

    cdef object close(self):
        if self.fd >= 0:
            self.reactor.set_interest(self, 0)
            poolio_close(self.fd)
            self.fd = -1


forbid_new(Waker)
