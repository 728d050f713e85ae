# Schedule: what a loop of poolio's has to do, as far as its selector and its handles look at it. See schedule.pyx.


cdef class Schedule:
    cdef public object _ready           # the callbacks that are to run next: a collections.deque of handles
    cdef public list _scheduled         # the timers, a heap by the time when they are due
    cdef public bint _stopping          # the loop ends after this turn
    cdef public bint _debug

    # Put callback(argument) at the end of _ready, as call_soon() does
    cdef int put(self, callback, argument, context) except -1
    # When the first of _scheduled is due, by the loop's clock; INFINITY: there is none
    cdef double first_due(self) except? -1.0
    # Take the first of _ready, and run it unless it is cancelled
    cdef int run_first(self) except -1


# The same of the queue of a loop that is not poolio's
cdef int run_first_of(callbacks) except -1
