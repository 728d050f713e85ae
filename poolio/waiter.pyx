"""Owns the wait of a task for data: Waiter, which the task gets in place of a future, and Awaitable, which it awaits.

Refuses to know what is waited for (reader, writer). An Awaitable is asked to proceed(): it has a result at once,
without a switch of tasks, or it gives a Waiter. The task hangs its callback and its context on that, as on any future.

    await reader.read(n) ──> Awaitable.proceed() ──> a result
                                                └──> a Waiter ──> the task waits
    data arrives ──> step_waiter(): the task's callback, at once ──> Awaitable.proceed() ──> a result

step_waiter() is for the reactor's own dispatch: no protocol callback runs, no context of one is entered, no task is
current. If one is nevertheless, or the task's context is in use, and everywhere else (wake(), cancel()), the callback
goes through call_soon(), as asyncio's futures do it.

An Awaitable is a coroutine for all that asyncio does with one: create_task(), wait_for(), gather().
"""

import asyncio
import warnings
from asyncio import CancelledError, InvalidStateError

cimport cython
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_DECREF, Py_INCREF

cdef extern from "Python.h":
    int PyContext_Enter(PyObject *context) except -1
    int PyContext_Exit(PyObject *context) except -1
    PyObject *PyObject_CallOneArg(PyObject *callable, PyObject *argument)
    enum:
        PYGEN_RETURN
        PYGEN_NEXT

cdef extern from "_objects.h":
    int poolio_raise_again() except -1
    ctypedef int (*poolio_step)(PyObject *self, PyObject *value, PyObject **result) except -1
    void poolio_set_send(PyTypeObject *kind, poolio_step send)


class _NoLoop:
    def get_debug(self):
        return False


# What a task is woken with by step_waiter(): it asks an exact future of asyncio's for its result without a Python call.
cdef object _done = asyncio.Future(loop=_NoLoop())
_done.set_result(None)


@cython.final
cdef class Waiter:
    """A future for tasks alone: they use what is here, and nobody else sees it.

    It has no get_loop(): asking for `_loop` instead costs a task no call.
    """

    def __init__(self):
        raise TypeError("a Waiter is made by what a task awaits")

    def __repr__(self):
        return f"<poolio.Waiter {('waiting', 'woken', 'cancelled')[self.state]}>"

    def add_done_callback(self, callback, *, context=None):
        if self.state != WAITING:
            self._loop.call_soon(callback, self, context=context)
        elif self.callback is None:
            self.callback = callback
            self.context = context
        else:
            raise RuntimeError("a task waits with this already")

    def remove_done_callback(self, callback):
        if self.callback is None or self.callback != callback:
            return 0
        self.callback = self.context = None
        return 1

    def done(self):
        return self.state != WAITING

    def cancelled(self):
        return self.state == CANCELLED

    def cancel(self, msg=None):
        if self.state != WAITING:
            return False
        self.state = CANCELLED
        self.message = msg
        self._schedule()
        return True

    def result(self):
        if self.state == WOKEN:
            return None
        if self.state == WAITING:
            raise InvalidStateError("Result is not set.")
        raise CancelledError() if self.message is None else CancelledError(self.message)

    def exception(self):
        return self.result()

    cdef int wake(self) except -1:
        """Let the task go on in the loop's next turn."""
        if self.state == WAITING:
            self.state = WOKEN
            self._schedule()
        return 0

    cdef int _schedule(self) except -1:
        callback, context = self.callback, self.context
        self.callback = self.context = None
        if callback is not None:
            self._loop.call_soon(callback, self, context=context)
        return 0


cdef int step_waiter(PyObject *waiter) except -1:
    """Let the task go on now, where that is safe. It may wait with this Waiter again, or end it, before this returns.

    SAFE: the Waiter is borrowed, so that its owner's is the only reference, and is not looked at after the call.
    """
    cdef PyObject *result
    if (<Waiter>waiter).state != WAITING:
        return 0
    if (<Waiter>waiter).context is None:
        return (<Waiter>waiter).wake()
    callback, context, loop = (<Waiter>waiter).callback, (<Waiter>waiter).context, (<Waiter>waiter)._loop
    try:
        PyContext_Enter(<PyObject *>context)
    except RuntimeError:                # the task shares its context with what runs now
        return (<Waiter>waiter).wake()
    (<Waiter>waiter).state = WOKEN
    (<Waiter>waiter).callback = (<Waiter>waiter).context = None
    result = PyObject_CallOneArg(<PyObject *>callback, <PyObject *>_done)
    PyContext_Exit(<PyObject *>context)
    if result == NULL:
        return _not_stepped(loop, callback, context)
    Py_DECREF(<object>result)
    return 0


cdef int _not_stepped(loop, callback, context) except -1:
    """Another task is current, and asyncio has refused to enter this one: it has to wait for its turn."""
    try:
        poolio_raise_again()
    except RuntimeError:
        if asyncio.current_task(loop) is None:
            raise
        loop.call_soon(callback, _done, context=context)
    return 0


cdef Waiter waiter_on(object loop, PyObject *used):
    """A Waiter to wait with: the used one, borrowed, if its owner's is the only reference; else a new one."""
    cdef Waiter waiter
    if used == <PyObject *>None or used.ob_refcnt > 1 or (<Waiter>used).state == WAITING:
        waiter = Waiter.__new__(Waiter)
        waiter._loop = loop
    else:
        waiter = <Waiter>used
    waiter.state = WAITING
    return waiter


cdef class Awaitable:
    """What `await` takes, once. It does nothing before that."""

    def __dealloc__(self):
        if not self.is_started:
            warnings.warn(f"{self.name()} was never awaited", RuntimeWarning)

    cdef object proceed(self):
        raise NotImplementedError

    cdef int give_up(self) except -1:
        return 0

    cdef object name(self):
        return type(self).__name__

    def __repr__(self):
        return f"<{self.name()}>"

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self.send(None)

    def send(self, value):
        cdef PyObject *result
        if _send(<PyObject *>self, <PyObject *>value, &result) == PYGEN_NEXT:
            return _owned(result)
        raise StopIteration(_owned(result))

    def throw(self, kind, value=None, traceback=None):
        """Wait no longer; raises what is thrown."""
        self.close()
        if value is None:
            value = kind() if isinstance(kind, type) else kind
        elif not isinstance(value, BaseException):
            value = kind(value)
        raise value if traceback is None else value.with_traceback(traceback)

    def close(self):
        """Wait no longer."""
        self.is_started = True
        if not self.is_finished:
            self.is_finished = True
            self.give_up()


cdef int _send(PyObject *self, PyObject *value, PyObject **result) except -1:
    """What the interpreter calls for each step of an `await`: the slot am_send, as of a coroutine."""
    cdef Awaitable awaitable = <Awaitable>self
    if awaitable.is_finished:
        raise RuntimeError("cannot reuse already awaited coroutine")
    awaitable.is_started = True
    awaitable.is_finished = True
    found = awaitable.proceed()
    Py_INCREF(found)
    result[0] = <PyObject *>found
    if type(found) is not Waiter:
        return PYGEN_RETURN
    awaitable.is_finished = False
    return PYGEN_NEXT


cdef object _owned(PyObject *thing):
    """Takes over a reference."""
    found = <object>thing
    Py_DECREF(found)
    return found


cdef int make_awaitable(kind) except -1:
    """To be called for each final class: `await` then takes its result without a StopIteration around it."""
    poolio_set_send(<PyTypeObject *>kind, _send)
    return 0


cdef int _send_ready(PyObject *self, PyObject *value, PyObject **result) except -1:
    result[0] = <PyObject *>(<Ready>self).value
    Py_INCREF((<Ready>self).value)
    return PYGEN_RETURN


@cython.final
cdef class Ready(Awaitable):
    """A result that is there. It may be awaited more than once."""

    cdef object value

    cdef object proceed(self):
        self.is_finished = False
        return self.value

cdef object ready(object value):
    cdef Ready done = Ready.__new__(Ready)
    done.value = value
    return done

poolio_set_send(<PyTypeObject *>Ready, _send_ready)
