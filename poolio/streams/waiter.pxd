# Awaitable: what a task awaits, and is stepped with. See waiter.pyx.

cdef class Awaitable:
    cdef bint is_started
    cdef bint is_finished
    cdef bint is_waiting

    # The result; or a future, with is_waiting set: to be asked again when that is done. What it raises ends it
    cdef object proceed(self)
    # The task was cancelled, or what waits was closed: wait no longer
    cdef int give_up(self) except -1
    # After it has given a future: is that still waited for?
    cdef bint still_waits(self) noexcept
    cdef object name(self)


cdef int make_awaitable(kind) except -1
cdef object ready(object value)

cdef tuple take_callback(object future)
cdef int call_now(tuple pair, object loop) except -1
