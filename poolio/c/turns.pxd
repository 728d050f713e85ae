# Declares turns.h: the C of a turn of the loop. Needs the GIL.

from cpython.object cimport PyObject, PyTypeObject

cdef extern from "poolio/c/turns.h":
    void poolio_learn_deque(object kind)
    int poolio_put_last(object queue, object item) except -1
    object poolio_take_first(object queue)
    Py_ssize_t poolio_length(object queue) except -1
    double poolio_monotonic() noexcept
    # NULL: an exception is set; see poolio_raise_again() in objects.pxd
    PyObject *poolio_call_within(PyObject *context, PyObject *callback, PyObject **arguments, size_t count) noexcept
    PyObject *poolio_in_type(PyTypeObject *kind, object name) noexcept
    PyObject **poolio_tuple_items(PyObject *items) noexcept
    void poolio_swap_items(PyObject *items, Py_ssize_t one, Py_ssize_t other) noexcept
    bint poolio_same_method(PyObject *one, PyObject *other) noexcept
    object poolio_tuple_of(PyObject **items, Py_ssize_t count)
    int poolio_drop_last(PyObject *items) except -1
    unsigned int poolio_version(PyTypeObject *kind) noexcept
    ctypedef object (*poolio_entry)(PyObject *self, PyObject **arguments, Py_ssize_t count, PyObject *names)
    poolio_entry poolio_put_before(PyTypeObject *kind, object name, poolio_entry entry) noexcept
