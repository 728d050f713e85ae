# Declares objects.h: what poolio does to Python objects and types below the level of Cython. Needs the GIL.

from cpython.object cimport PyObject, PyTypeObject

cdef extern from "poolio/c/objects.h":
    object poolio_revive(PyObject *object)
    bint poolio_is_method(object thing)
    object poolio_method_of(PyTypeObject *kind, object method)
    Py_hash_t poolio_hash(const char *data, Py_ssize_t size)
    void poolio_without_dict(PyObject *object, PyObject *empty)
    object poolio_with_own_dict(PyObject *object, PyObject *empty)
    void poolio_rename(PyTypeObject *kind, const char *name)
    PyObject *poolio_owner_of_view(object view)
    ctypedef PyObject *(*poolio_new)(PyTypeObject *kind, PyObject *arguments, PyObject *options) except NULL
    object poolio_made_by_object(PyTypeObject *kind)
    void poolio_set_new(PyTypeObject *kind, poolio_new make)
    bint poolio_lacks_values(PyTypeObject *kind) noexcept
    int poolio_give_dict(object thing) except -1
    int poolio_raise_again() except -1
    bint poolio_is_finalizing() noexcept
    void poolio_warn_at_end(object category, object text, PyObject *source) noexcept
    ctypedef int (*poolio_step)(PyObject *self, PyObject *value, PyObject **result) except -1
    void poolio_set_send(PyTypeObject *kind, poolio_step send)
