# TimerHandle, and the heap of a loop's timers. See timers.pyx.

from cpython.object cimport PyObject

from poolio.loops.handles cimport Handle
from poolio.wire.schedule cimport Schedule


cdef class TimerHandle(Handle):
    pass


cdef TimerHandle new_timer(
    Schedule loop, double due, PyObject *callback, PyObject **arguments, Py_ssize_t count, PyObject *context)
cdef int put_timer(list heap, TimerHandle timer) except -1
cdef object take_timer(list heap)
cdef double first_time(list heap) except? -1.0
cdef bint first_is_cancelled(list heap) except -1
