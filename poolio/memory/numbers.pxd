# Numbers: fixed-width integers and floats in a Holder's bytes. See numbers.pyx.

from poolio.memory.allocation cimport Holder

cdef class Numbers(Holder):
    pass
