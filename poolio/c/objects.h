/* Owns what poolio does to Python objects and types below the level of Cython. Needs the GIL. */

#ifndef POOLIO_OBJECTS_H
#define POOLIO_OBJECTS_H

#include <Python.h>

/* Returns a new reference to an object that has ended and was kept, with its type still in place. PyObject_Init() does
   the same through two functions; it is needed only where Python counts all references. */
static inline PyObject *poolio_revive(PyObject *object)
{
#ifdef Py_REF_DEBUG
    return PyObject_Init(object, Py_TYPE(object));
#else
    Py_SET_REFCNT(object, 1);
    return object;
#endif
}

/* poolio_is_method(): is this a method as compiled classes have them? poolio_method_of() makes the same method for
   another class, one that inherits it. */
static inline int poolio_is_method(PyObject *object)
{
    return Py_IS_TYPE(object, &PyMethodDescr_Type);
}
static inline PyObject *poolio_method_of(PyTypeObject *kind, PyObject *method)
{
    return PyDescr_NewMethod(kind, ((PyMethodDescrObject *)method)->d_method);
}

/* Gives a type a new name, `module.Name`. LIFETIME of name: the type's. */
static inline void poolio_rename(PyTypeObject *kind, const char *name)
{
    kind->tp_name = name;
}

/* Returns the object whose memory a memoryview shows, as a borrowed reference. NULL if that object is not known, as for
   the views that io.BufferedWriter makes. */
static inline PyObject *poolio_owner_of_view(PyObject *view)
{
    return PyMemoryView_GET_BUFFER(view)->obj;
}

/* Sets the slot that `await` calls on each step; Cython has no name for it. `send` returns a PySendResult, which is -1
   if an exception is set. */
typedef int (*poolio_step)(PyObject *self, PyObject *value, PyObject **result);
static inline void poolio_set_send(PyTypeObject *kind, poolio_step send)
{
    kind->tp_as_async->am_send = (sendfunc)send;
}

/* Returns the hash that `bytes` of these bytes have, without making them. */
static inline Py_hash_t poolio_hash(const char *data, Py_ssize_t size)
{
#if PY_VERSION_HEX >= 0x030E0000
    return Py_HashBuffer(data, size);
#else
    Py_hash_t hash = size == 0 ? 0 : PyHash_GetFuncDef()->hash(data, size);
    return hash == -1 ? -2 : hash;
#endif
}

/* poolio_without_dict(): drops the __dict__ that Cython has made for a new object: 64 bytes. Python makes another one
   when an attribute is set. But CPython 3.11 calls a method without a detour only if there is a dict (the detour is 110
   instructions; later versions want none). So there the object shares `empty` with all others, and
   poolio_with_own_dict() must be called before anything may be put into it. */
static inline PyObject **poolio_dict_of(PyObject *object)
{
    return (PyObject **)((char *)object + Py_TYPE(object)->tp_dictoffset);
}
static inline void poolio_without_dict(PyObject *object, PyObject *empty)
{
#if PY_VERSION_HEX >= 0x030C0000
    Py_CLEAR(*poolio_dict_of(object));
#else
    Py_INCREF(empty);
    Py_SETREF(*poolio_dict_of(object), empty);
#endif
}
static inline PyObject *poolio_with_own_dict(PyObject *object, PyObject *empty)
{
    PyObject **dict = poolio_dict_of(object);
    if (*dict == NULL || *dict == empty) {
        PyObject *own = PyDict_New();
        if (own == NULL)
            return NULL;
        Py_XSETREF(*dict, own);
    }
    Py_INCREF(*dict);
    return *dict;
}

/* poolio_made_by_object(): makes an object of a class whose compiled bases have not filled in anything yet, by
   object.__new__(). poolio_set_new() sets the slot for that; Cython has no name for it. On 3.11 object.__new__() makes a
   dict, too, where a compiled class has a field for it: Cython's constructor would make another one in its place. */
typedef PyObject *(*poolio_new)(PyTypeObject *kind, PyObject *arguments, PyObject *options);
static inline PyObject *poolio_made_by_object(PyTypeObject *kind)
{
    PyObject *made, *none = PyTuple_New(0);
    if (none == NULL)
        return NULL;
    made = PyBaseObject_Type.tp_new(kind, none, NULL);
    Py_DECREF(none);
    if (made != NULL && kind->tp_dictoffset > 0)
        Py_CLEAR(*poolio_dict_of(made));
    return made;
}
static inline void poolio_set_new(PyTypeObject *kind, poolio_new make)
{
    kind->tp_new = make;
}

/* poolio_lacks_values(): will the attributes of these objects lie in a split dict, for which CPython has no fast
   instructions? Only 3.13 has such classes: earlier versions have values for all, if object.__new__() is called, and
   later ones too. poolio_give_dict() gives an object a dict of its own, which is none. */
static inline int poolio_lacks_values(PyTypeObject *kind)
{
#if PY_VERSION_HEX >= 0x030D0000 && PY_VERSION_HEX < 0x030E0000
    return PyType_HasFeature(kind, Py_TPFLAGS_MANAGED_DICT) && !PyType_HasFeature(kind, Py_TPFLAGS_INLINE_VALUES);
#else
    return 0;
#endif
}
static inline int poolio_give_dict(PyObject *object)
{
    PyObject *dict = PyDict_New();
    int result = dict == NULL ? -1 : PyObject_GenericSetDict(object, dict, NULL);
    Py_XDECREF(dict);
    return result;
}

/* For a Cython function that finds an exception set: this call, declared `except -1`, raises that exception. */
static inline int poolio_raise_again(void)
{
    return -1;
}

/* True from when the interpreter ends: modules are emptied one after another, so that little Python can still be called. */
static inline int poolio_is_finalizing(void)
{
#if PY_VERSION_HEX >= 0x030D0000
    return Py_IsFinalizing();
#else
    return _Py_IsFinalizing();
#endif
}

/* Warns in a __del__() or __dealloc__(), at the end of the interpreter too. An error, as warnings may be, is reported as
   that of any __del__(). The exception that is being handled stays. source: NULL, or what a ResourceWarning is about. */
static inline void poolio_warn_at_end(PyObject *category, PyObject *text, PyObject *source)
{
    PyObject *type, *value, *traceback;
    const char *message;
    int result = -1;
    PyErr_Fetch(&type, &value, &traceback);
    if (source != NULL)
        result = PyErr_ResourceWarning(source, 1, "%U", text);
    else if ((message = PyUnicode_AsUTF8(text)) != NULL)
        result = PyErr_WarnEx(category, message, 1);
    if (result < 0)
        PyErr_WriteUnraisable(source);
    PyErr_Restore(type, value, traceback);
}

#endif
