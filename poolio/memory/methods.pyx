"""Owns three changes to finished classes: inherited methods become a class's own, public names say `poolio`, and
objects can't be made by __new__() alone.

Refuses to know the classes. Called once for each: own_methods() and forbid_new() when the module of the class is
loaded, make_public() when the package is, or when serve() is asked for.

CPython calls a compiled method without a detour only if it belongs to the object's very class: 9 ns less on 3.11.
"""

from cpython.object cimport PyTypeObject

from poolio.c.objects cimport poolio_is_method, poolio_method_of, poolio_rename
from poolio.c.python cimport PyType_Modified


cdef enum:
    HEAP_TYPE = 1 << 9          # Py_TPFLAGS_HEAPTYPE: made by Python's `class`, so that its attributes can be set

cdef list _names = []           # names that types point to; they are kept for good


def own_methods(kind):
    """Give a class the compiled methods that it inherits as its own. Derived classes only inherit them."""
    own = <dict>(<PyTypeObject *>kind).tp_dict
    seen = set(own)
    for base in kind.__mro__[1:]:
        for name, method in vars(base).items():
            if name not in seen and poolio_is_method(method):
                own[name] = poolio_method_of(<PyTypeObject *>kind, method)
            seen.add(name)
    PyType_Modified(<PyTypeObject *>kind)


def forbid_new(kind):
    """Let `kind.__new__(kind)` be a TypeError: an object that no __init__() has filled in would read behind NULL.

    Calling the class works as before; an internal class raises in its __init__().
    """
    (<dict>(<PyTypeObject *>kind).tp_dict).pop("__new__", None)     # object's is found then, which refuses
    PyType_Modified(<PyTypeObject *>kind)


def make_public(thing, name):
    """Make a class or function say that it is `poolio.<name>`, where users import it from, and not where it lies."""
    if isinstance(thing, type) and not thing.__flags__ & HEAP_TYPE:
        public = f"poolio.{name}".encode()
        _names.append(public)
        poolio_rename(<PyTypeObject *>thing, <const char *>public)
    else:
        thing.__module__ = "poolio"
