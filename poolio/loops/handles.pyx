"""Owns the handles that call_soon() and its kin return: a callback, its arguments, its context; and how one is run.

Refuses to know the queue that they lie in (core) and the times of timers (timers). Called by both, and by whoever has a
handle, as he calls an asyncio.Handle.

A compiled class can't be derived from asyncio.Handle. To isinstance() a handle is an asyncio.Handle all the same, as
its `__class__` says so. It has that class's methods and attributes, and asyncio's code describes it in repr().
"""

import sys
from asyncio import events, format_helpers

cimport cython
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF

from poolio.c.objects cimport poolio_raise_again
from poolio.c.turns cimport poolio_call_within, poolio_tuple_items
from poolio.wire.schedule cimport Schedule

from poolio.memory.methods import forbid_new

cdef object _describe = events.Handle._repr_info
cdef object _show = events.Handle.__repr__
# CPython 3.13 shows arguments in debug mode only.
cdef bint _hides_arguments = sys.version_info >= (3, 13)


@cython.freelist(256)
cdef class Handle:
    """What call_soon() returns: a callback that is to be run once. isinstance() takes it for an asyncio.Handle."""

    def __init__(self, callback, tuple args not None, Schedule loop not None, context=None):
        self.is_single = False
        fill(self, loop, <PyObject *>callback, poolio_tuple_items(<PyObject *>args), len(args), <PyObject *>context)

    @property
    def __class__(self):
        return events.Handle

    def cancel(self):
        cancel(self)

    def cancelled(self):
        return self.is_cancelled

    def get_context(self):
        return self.context

    def _run(self):
        run(self)

    def _repr_info(self):
        return _describe(self)

    def __repr__(self):
        return _show(self)

    # --- asyncio's attributes -----------------------------------------------------------------------------

    @property
    def _callback(self):
        return self.callback

    @_callback.setter
    def _callback(self, value):
        self.callback = value

    @property
    def _args(self):
        return (self.argument,) if self.is_single else self.argument

    @_args.setter
    def _args(self, value):
        self.is_single = False
        self.argument = value

    @property
    def _context(self):
        return self.context

    @property
    def _loop(self):
        return self.loop

    @property
    def _cancelled(self):
        return self.is_cancelled

    @_cancelled.setter
    def _cancelled(self, value):
        self.is_cancelled = value

    @property
    def _source_traceback(self):
        return self.traceback

    @_source_traceback.setter
    def _source_traceback(self, value):
        self.traceback = value

    # Named after asyncio's attribute: its __repr__() returns this rather than a new description.
    @property
    def _repr(self):
        return self.text


cdef int remember_source(Handle handle) except -1:
    """Debug mode: keep where the handle is made."""
    handle.traceback = format_helpers.extract_stack(sys._getframe(0))
    return 0


cdef Handle new_handle(
        Schedule loop, PyObject *callback, PyObject **arguments, Py_ssize_t count, PyObject *context):
    cdef Handle handle = Handle.__new__(Handle)
    fill(handle, loop, callback, arguments, count, context)
    return handle


cdef int cancel(Handle handle) except -1:
    if not handle.is_cancelled:
        handle.is_cancelled = True
        if handle.loop is not None and handle.loop._debug:      # None: a garbage collection is clearing it
            handle.text = repr(handle)      # it shows what was to be called, which the handle does not keep
        handle.is_single = False
        handle.callback = handle.argument = None
    return 0


cdef int run(Handle handle) except -1:
    """Call the callback in the handle's context. The loop's exception handler is told what it raises."""
    cdef PyObject *result
    cdef PyObject *single
    callback, argument, context = handle.callback, handle.argument, handle.context  # kept though it may be cancelled
    if handle.is_single:
        single = <PyObject *>argument
        result = poolio_call_within(<PyObject *>context, <PyObject *>callback, &single, 1)
    else:
        result = poolio_call_within(
            <PyObject *>context, <PyObject *>callback, poolio_tuple_items(<PyObject *>argument),
            <size_t>len(<tuple?>argument))
    if result == NULL:
        return _failed(handle)
    Py_DECREF(<object>result)
    return 0


cdef int _failed(Handle handle) except -1:
    try:
        poolio_raise_again()
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as exc:
        options = {"debug": handle.loop._debug} if _hides_arguments else {}
        called = format_helpers._format_callback_source(handle._callback, handle._args, **options)
        context = {"message": f"Exception in callback {called}", "exception": exc, "handle": handle}
        if handle.traceback:
            context["source_traceback"] = handle.traceback
        handle.loop.call_exception_handler(context)
    return 0


forbid_new(Handle)
