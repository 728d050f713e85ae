"""Owns Attributed: the base of compiled classes whose Python subclasses keep attributes of their own.

Refuses to know these classes. Its constructor is called by theirs, as the first one.

A Python class has a place for the attributes of each object. CPython has fast instructions for attributes in an array
of values, and for those in a plain dict; for a dict that shares its keys with other objects' (a split one) it has none.
So which of the three an object begins with decides for good what `self.count += 1` costs. With the constructors that
Cython makes, an object of 3.11 begins with nothing, and gets a split dict:

    3.11            object.__new__() makes the array of values; the constructors of Cython do not
    3.12, 3.14...   both make it
    3.13            neither does for a class with compiled fields, so those that set attributes get a plain dict
"""

from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_INCREF

from poolio.c.objects cimport poolio_give_dict, poolio_lacks_values, poolio_made_by_object, poolio_set_new


cdef class Attributed:
    """An object whose Python subclasses find their attributes as fast as if they had no compiled base."""


cdef PyObject *_new(PyTypeObject *kind, PyObject *arguments, PyObject *options) except NULL:
    made = poolio_made_by_object(kind)
    if poolio_lacks_values(kind) and _sets_attributes(<object>kind):
        poolio_give_dict(made)
    Py_INCREF(made)
    return <PyObject *>made


cdef bint _sets_attributes(kind) except -1:
    """Does a method of this class, or of a base, set attributes? If none does, an object is better off without a dict:
    it is smaller, and its methods are called faster.
    """
    for base in kind.__mro__:
        if vars(base).get("__static_attributes__"):
            return True
    return False


poolio_set_new(<PyTypeObject *>Attributed, _new)
