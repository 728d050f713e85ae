# Handle: a callback with its arguments and its context. See handles.pyx.

from cpython.object cimport PyObject

from poolio.c.python cimport PyContext_CopyCurrent
from poolio.c.turns cimport poolio_tuple_of
from poolio.wire.schedule cimport Schedule


cdef class Handle:
    cdef object __weakref__
    cdef Schedule loop
    cdef object callback        # None once it is cancelled
    cdef object argument        # the only one, if is_single; else a tuple of all; None once the handle is cancelled
    cdef object context
    cdef bint is_single
    cdef bint is_cancelled
    # in debug mode: where the handle was made, and what it was before it was cancelled
    cdef object traceback
    cdef object text
    # of a TimerHandle. They lie here as only classes of one size share a list of spares
    cdef bint is_scheduled
    cdef double due
    cdef Py_ssize_t index       # where in the heap it is, unless others have moved it; valid while it is scheduled


cdef inline int fill(
        Handle handle, Schedule loop, PyObject *callback, PyObject **arguments, Py_ssize_t count,
        PyObject *context) except -1:
    """What the constructor does. `context` is None for a copy of the current one."""
    handle.loop = loop
    handle.callback = <object>callback
    handle.context = PyContext_CopyCurrent() if <object>context is None else <object>context
    if count == 1:
        handle.argument = <object>arguments[0]
        handle.is_single = True
    else:
        handle.argument = poolio_tuple_of(arguments, count)
    if loop._debug:
        remember_source(handle)
    return 0


cdef int remember_source(Handle handle) except -1
cdef Handle new_handle(
    Schedule loop, PyObject *callback, PyObject **arguments, Py_ssize_t count, PyObject *context)
cdef int run(Handle handle) except -1
cdef int cancel(Handle handle) except -1
