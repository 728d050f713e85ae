"""Owns the wait of a task for data: Awaitable, which the task awaits, and how the task is told to go on.

Refuses to know what is waited for (inflow, reader, frames). Called by these, by the writer, and by the interpreter,
which makes each step of an `await`. A step calls proceed(), which returns a result at once, without a switch of tasks,
or a future of the loop. The task puts its callback and its context on that future.

    await reader.read(n) ──> Awaitable.proceed() ──> a result
                                                └──> a future ──> the task waits
    data arrives ──> take_callback(future), call_now(): the task goes on at once ──> proceed() ──> a result

call_now() is for the reactor's own dispatch, in which no protocol callback runs, no context of one is entered and no
task is current. If a task is current nevertheless, or the context of the task is in use, the callback goes through
call_soon(). Everywhere else the future is given a result or cancelled, and calls call_soon() itself. A future whose
callback was taken is as good as new, and is used for the next wait.

An Awaitable is a coroutine for all that asyncio does with one: create_task(), wait_for(), gather().
"""

import asyncio

cimport cython
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_DECREF, Py_INCREF

from poolio.c.objects cimport poolio_raise_again, poolio_set_send, poolio_warn_at_end
from poolio.c.python cimport PYGEN_NEXT, PYGEN_RETURN, PyContext_Enter, PyContext_Exit, PyObject_CallOneArg


class _NoLoop:
    def get_debug(self):
        return False


# How many steps all awaitables have made so far.
cdef long long steps = 0
# call_now() gives this to the callback of a task, in place of the future that the task waits for. It is done, with the
# result None.
cdef object _done = asyncio.Future(loop=_NoLoop())
_done.set_result(None)
cdef object _future_type = asyncio.Future
cdef object _remove_done_callback = asyncio.Future.remove_done_callback
# Since CPython 3.14 a future remembers the tasks that await it, for call graphs, until it is done. None before.
cdef object _forget_awaiter = getattr(asyncio, "future_discard_from_awaited_by", None)


cdef tuple take_callback(future):
    """Detach and return the only waiter's (callback, context).

    None unless a plain asyncio.Future has exactly one callback.
    """
    if type(future) is not _future_type:
        return None
    callbacks = future._callbacks
    if callbacks is None or len(<list?>callbacks) != 1:
        return None
    pair = (<list>callbacks)[0]
    callback = (<tuple?>pair)[0]
    _remove_done_callback(future, callback)
    if _forget_awaiter is not None:
        _forget_awaiter(future, getattr(callback, "__self__", None))
    return <tuple>pair


cdef int call_now(tuple pair, loop) except -1:
    """Let the task go on in its context, as if the future that it waits for were done."""
    cdef PyObject *result
    cdef long long before = steps
    callback, context = pair
    try:
        PyContext_Enter(<PyObject *>context)
    except (RuntimeError, MemoryError):     # the context is in use, or there is no memory to enter it
        loop.call_soon(callback, _done, context=context)
        return 0
    result = PyObject_CallOneArg(<PyObject *>callback, <PyObject *>_done)
    PyContext_Exit(<PyObject *>context)
    if result == NULL:
        return _not_called(pair, loop, steps != before)
    Py_DECREF(<object>result)
    return 0


cdef int _not_called(tuple pair, loop, bint was_entered) except -1:
    """Let the task go on in the loop's next turn if it could not be entered; raise any other exception again.

    Either another task is current, and asyncio has refused to enter this one. Or there was no memory to enter it: then
    no step was made, and nothing else would wake the task.
    """
    try:
        poolio_raise_again()
    except MemoryError:
        if was_entered:
            raise
        loop.call_soon(pair[0], _done, context=pair[1])
    except RuntimeError:
        if asyncio.current_task(loop) is None:
            raise
        loop.call_soon(pair[0], _done, context=pair[1])
    return 0


cdef class Awaitable:
    """What `await` takes, once. It does nothing before it is awaited."""

    def __dealloc__(self):
        if not self.is_started:
            poolio_warn_at_end(RuntimeWarning, f"{self.name()} was never awaited", NULL)

    cdef object proceed(self):
        raise NotImplementedError

    cdef int give_up(self) except -1:
        return 0

    cdef bint still_waits(self) noexcept:
        return False

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
        """Stop waiting, and raise what is thrown."""
        self.close()
        if value is None:
            value = kind() if isinstance(kind, type) else kind
        elif not isinstance(value, BaseException):
            value = kind(value)
        raise value if traceback is None else value.with_traceback(traceback)

    def close(self):
        """Stop waiting."""
        self.is_started = True
        if not self.is_finished:
            self.is_finished = True
            self.give_up()


cdef int _send(PyObject *self, PyObject *value, PyObject **result) except -1:
    """Make one step of an `await`. The interpreter calls this through the slot am_send, as it does for a coroutine."""
    cdef Awaitable awaitable = <Awaitable>self
    if awaitable.is_finished:
        raise RuntimeError("cannot reuse already awaited coroutine")
    if awaitable.is_waiting and awaitable.still_waits():
        raise RuntimeError("coroutine is being awaited already")
    global steps
    steps += 1
    awaitable.is_started = True
    awaitable.is_finished = True            # also if proceed() raises
    awaitable.is_waiting = False
    found = awaitable.proceed()
    Py_INCREF(found)
    result[0] = <PyObject *>found
    if not awaitable.is_waiting:
        return PYGEN_RETURN
    awaitable.is_finished = False
    return PYGEN_NEXT


cdef object _owned(PyObject *thing):
    """Take over the caller's reference, and return the object."""
    found = <object>thing
    Py_DECREF(found)
    return found


cdef int make_awaitable(kind) except -1:
    """Called once for each class of Awaitables: `await` then takes its result without a StopIteration around it."""
    poolio_set_send(<PyTypeObject *>kind, _send)
    return 0


@cython.final
cdef class Ready(Awaitable):
    """A result that is there already. It may be awaited more than once."""

    cdef object value

    cdef object proceed(self):
        self.is_finished = False
        return self.value

    cdef int give_up(self) except -1:
        self.is_finished = False
        return 0


cdef object ready(object value):
    cdef Ready done = Ready.__new__(Ready)
    done.value = value
    return done


make_awaitable(Ready)
