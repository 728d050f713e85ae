/* Owns the C of a turn of the loop: the queue of callbacks, the clock, and calling a callback in its context. Needs the
   GIL.

   The queue is a collections.deque, as asyncio's loops have it, so that others may look at it and append to it. Its
   methods are called here without a detour: 5 ns instead of 30. They are the same ones that Python finds, so whatever
   deque does in a later version is done. */

#ifndef POOLIO_TURNS_H
#define POOLIO_TURNS_H

#include <Python.h>
#include <stdint.h>
#include <time.h>

/* The two methods of collections.deque, or NULL until poolio_learn_deque() has found them. */
static PyTypeObject *poolio_deque_type;
static PyCFunction poolio_deque_append, poolio_deque_popleft;

static inline PyCFunction poolio_function_of(PyObject *kind, const char *name, int flags)
{
    PyObject *method = PyObject_GetAttrString(kind, name);
    PyCFunction found = NULL;
    if (method != NULL && Py_IS_TYPE(method, &PyMethodDescr_Type)
            && ((PyMethodDescrObject *)method)->d_method->ml_flags == flags)
        found = ((PyMethodDescrObject *)method)->d_method->ml_meth;
    Py_XDECREF(method);
    PyErr_Clear();
    return found;
}
/* Called once, with collections.deque, whose type lives as long as the interpreter. */
static inline void poolio_learn_deque(PyObject *kind)
{
    poolio_deque_append = poolio_function_of(kind, "append", METH_O);
    poolio_deque_popleft = poolio_function_of(kind, "popleft", METH_NOARGS);
    if (poolio_deque_append != NULL && poolio_deque_popleft != NULL)
        poolio_deque_type = (PyTypeObject *)kind;
}

/* append() and popleft() of a queue. If it is no plain deque, its methods are looked up. */
static inline int poolio_put_last(PyObject *queue, PyObject *item)
{
    PyObject *none = Py_TYPE(queue) == poolio_deque_type ? poolio_deque_append(queue, item)
        : PyObject_CallMethod(queue, "append", "(O)", item);
    if (none == NULL)
        return -1;
    Py_DECREF(none);
    return 0;
}
static inline PyObject *poolio_take_first(PyObject *queue)
{
    return Py_TYPE(queue) == poolio_deque_type ? poolio_deque_popleft(queue, NULL)
        : PyObject_CallMethod(queue, "popleft", NULL);
}
static inline Py_ssize_t poolio_length(PyObject *queue)
{
    return Py_TYPE(queue) == poolio_deque_type ? Py_SIZE(queue) : PyObject_Size(queue);
}

/* The seconds of time.monotonic(), to the last bit. */
static inline double poolio_monotonic(void)
{
#ifdef CLOCK_MONOTONIC
    struct timespec now = {0, 0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)((int64_t)now.tv_sec * 1000000000 + now.tv_nsec) / 1e9;
#else
    return 0.0;
#endif
}

/* Calls a callback in a context: a new reference, or NULL with an exception set, also if the context is entered
   already. LIFETIME: the caller holds all of them until it returns. */
static inline PyObject *poolio_call_within(
    PyObject *context, PyObject *callback, PyObject **arguments, size_t count)
{
    PyObject *result;
    if (PyContext_Enter(context) < 0)
        return NULL;
    result = PyObject_Vectorcall(callback, arguments, count, NULL);
    if (PyContext_Exit(context) < 0)
        Py_CLEAR(result);
    return result;
}

/* LIFETIME: as long as the tuple. */
static inline PyObject **poolio_tuple_items(PyObject *tuple)
{
    return ((PyTupleObject *)tuple)->ob_item;
}
static inline PyObject *poolio_tuple_of(PyObject **items, Py_ssize_t count)
{
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t i = 0; tuple != NULL && i < count; i++) {
        Py_INCREF(items[i]);
        PyTuple_SET_ITEM(tuple, i, items[i]);
    }
    return tuple;
}
/* Drops the last item of a list that is not empty. list.pop() gives memory back down to nothing, and a list of one item
   that comes and goes would be allocated each time: small lists keep theirs. */
static inline int poolio_drop_last(PyObject *list)
{
    Py_ssize_t last = PyList_GET_SIZE(list) - 1;
    PyObject *item = PyList_GET_ITEM(list, last);
    if (last > 64)
        return PyList_SetSlice(list, last, last + 1, NULL);
    Py_SET_SIZE(list, last);
    Py_DECREF(item);
    return 0;
}
/* Swaps two items of a list. SAFE: the caller has checked both indices. */
static inline void poolio_swap_items(PyObject *list, Py_ssize_t one, Py_ssize_t other)
{
    PyObject *item = PyList_GET_ITEM(list, one);
    PyList_SET_ITEM(list, one, PyList_GET_ITEM(list, other));
    PyList_SET_ITEM(list, other, item);
}

/* The attribute of a type, or of the first of its bases that has it, borrowed and as it is; NULL if there is none. */
static inline PyObject *poolio_in_type(PyTypeObject *kind, PyObject *name)
{
    return _PyType_Lookup(kind, name);
}
/* A number that changes when somebody changes the type or one of its bases. 0: not known, it may have changed. */
static inline unsigned int poolio_version(PyTypeObject *kind)
{
    return kind->tp_version_tag;
}
/* Puts a function before a compiled method, which it gets as `rest` and calls when it has no short way. The method must
   be one that takes its arguments as an array (METH_FASTCALL) and names; NULL, and all stays as it is, if it is not. */
typedef PyObject *(*poolio_entry)(PyObject *self, PyObject **arguments, Py_ssize_t count, PyObject *names);
static inline poolio_entry poolio_put_before(PyTypeObject *kind, PyObject *name, poolio_entry entry)
{
    PyObject *method = _PyType_Lookup(kind, name);
    PyMethodDef *definition;
    poolio_entry rest;
    if (method == NULL || !Py_IS_TYPE(method, &PyMethodDescr_Type))
        return NULL;
    definition = ((PyMethodDescrObject *)method)->d_method;
    if (definition->ml_flags != (METH_FASTCALL | METH_KEYWORDS))
        return NULL;
    rest = (poolio_entry)(void (*)(void))definition->ml_meth;
    definition->ml_meth = (PyCFunction)(void (*)(void))entry;
    return rest;
}
/* True for one method of a compiled class, also if own_methods() has made it another class's own. */
static inline int poolio_same_method(PyObject *one, PyObject *other)
{
    return one == other || (one != NULL && other != NULL
        && Py_IS_TYPE(one, &PyMethodDescr_Type) && Py_IS_TYPE(other, &PyMethodDescr_Type)
        && ((PyMethodDescrObject *)one)->d_method == ((PyMethodDescrObject *)other)->d_method);
}

#endif
