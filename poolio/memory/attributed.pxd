# Attributed: a base class without fields. See attributed.pyx.

cdef class Attributed:
    pass
