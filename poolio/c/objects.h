/* Owns what poolio does to Python objects below the level of Cython. Needs the GIL. */

#ifndef POOLIO_OBJECTS_H
#define POOLIO_OBJECTS_H

#include <Python.h>

/* A new reference to an object that has ended and was kept, its type still in place. PyObject_Init() does the same by
   way of two functions, and counts it where somebody counts. */
static inline PyObject *poolio_revive(PyObject *object)
{
#ifdef Py_REF_DEBUG
    return PyObject_Init(object, Py_TYPE(object));
#else
    Py_SET_REFCNT(object, 1);
    return object;
#endif
}

/* Is it a method as compiled classes have them? And the same one, belonging to another class that inherits it. */
static inline int poolio_is_method(PyObject *object)
{
    return Py_IS_TYPE(object, &PyMethodDescr_Type);
}
static inline PyObject *poolio_method_of(PyTypeObject *kind, PyObject *method)
{
    return PyDescr_NewMethod(kind, ((PyMethodDescrObject *)method)->d_method);
}

/* What a type is called from now on: `module.Name`. LIFETIME of name: the type's. */
static inline void poolio_rename(PyTypeObject *kind, const char *name)
{
    kind->tp_name = name;
}

/* Whose memory a memoryview shows, borrowed; NULL: that is not known, as for the views that io.BufferedWriter makes. */
static inline PyObject *poolio_owner_of_view(PyObject *view)
{
    return PyMemoryView_GET_BUFFER(view)->obj;
}

/* The slot that `await` calls on each step; Cython has no name for it. `send` returns a PySendResult, -1 with an
   exception set. */
typedef int (*poolio_step)(PyObject *self, PyObject *value, PyObject **result);
static inline void poolio_set_send(PyTypeObject *kind, poolio_step send)
{
    kind->tp_as_async->am_send = (sendfunc)send;
}

/* For a Cython function that finds an exception set: declared `except -1`, it raises that exception on. */
static inline int poolio_raise_again(void)
{
    return -1;
}

#endif
