# Awaitable: what a task awaits. See waiter.pyx.

cdef class Awaitable:
    cdef bint is_started
    cdef bint is_finished
    cdef bint is_waiting

    # Return the result, or set is_waiting and return a future: this is called again when the future is done. An
    # exception ends the Awaitable
    cdef object proceed(self)
    # Stop waiting: the task was cancelled, or the Awaitable was closed
    cdef int give_up(self) except -1
    # After proceed() has returned a future: is it still waited for?
    cdef bint still_waits(self) noexcept
    cdef object name(self)


cdef int make_awaitable(kind) except -1
cdef object ready(object value)

cdef tuple take_callback(object future)
cdef int call_now(tuple pair, object loop) except -1
