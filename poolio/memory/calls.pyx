"""Owns check_call(): the TypeError for wrong arguments of a constructor names the class and shows its signature.

Refuses to know the classes. Each of them calls it in its __cinit__(), which sees the arguments before __init__() does:
the error of a compiled __init__() names neither. The signature stands in the first line of the class's docstring, where
help() and inspect.signature() find it too. A Python subclass with an __init__() of its own gets Python's own error.
"""

import inspect

from cpython.object cimport PyObject, PyTypeObject

cdef enum:
    HEAP_TYPE = 1 << 9          # Py_TPFLAGS_HEAPTYPE: made by Python's `class`

cdef dict _takes = {}           # compiled class: (fewest arguments, most of them without a name, their names), or None


cdef int check_call(type kind, tuple arguments, dict options) except -1:
    """TypeError if these arguments are not what the __init__() of kind's compiled base takes."""
    cdef type compiled = kind
    cdef Py_ssize_t least, most
    while (<PyTypeObject *>compiled).tp_flags & HEAP_TYPE:
        compiled = <type>(<PyObject *>(<PyTypeObject *>compiled).tp_base)
    if kind is not compiled and kind.__init__ is not compiled.__init__:
        return 0
    takes = _takes.get(compiled, _takes)
    if takes is _takes:
        takes = _takes[compiled] = _taken_by(compiled)
    if takes is not None:
        least, most, names = takes
        if len(arguments) > most or len(arguments) + len(options) < least or not names.issuperset(options):
            _explain(kind, inspect.signature(compiled), arguments, options)
    return 0


cdef tuple _taken_by(type compiled):
    """None for a compiled class of somebody else's, whose docstring does not begin with a signature."""
    if compiled.__text_signature__ is None:
        return None
    parameters = inspect.signature(compiled).parameters.values()
    cdef Py_ssize_t least = sum(1 for each in parameters if each.default is each.empty)
    cdef Py_ssize_t most = sum(1 for each in parameters if each.kind is not each.KEYWORD_ONLY)
    return least, most, frozenset([each.name for each in parameters])


cdef int _explain(type kind, signature, tuple arguments, dict options) except -1:
    try:
        signature.bind(*arguments, **options)
    except TypeError as exc:
        raise TypeError(f"{kind.__name__}{signature}: {exc}") from None
    return 0
