# Buffer: a range of bytes in pooled memory. See buffer.pyx.

from poolio.memory.numbers cimport Numbers
from poolio.memory.slab cimport Slab, SlabStore

cdef class Buffer(Numbers):
    pass            # all fields are Holder's


cdef Buffer slice_of(Buffer buf, Py_ssize_t start, Py_ssize_t length)
cdef Buffer own_copy(Buffer buf)
cdef Buffer new_buffer(SlabStore store, Slab *slab, char *memory, Py_ssize_t size)
cdef Buffer new_own_buffer(SlabStore store, Py_ssize_t size, bint zeroed)
