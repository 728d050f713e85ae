# Pool: allocations of every kind, from the slabs of its store.

from poolio.buffer cimport Buffer
from poolio.slab cimport Slab, SlabStore

cdef class Pool(SlabStore):
    cdef object __weakref__
    cdef Slab *current          # small allocations are carved here; NULL before the first and after a reclaim

    cdef Buffer allocate(self, Py_ssize_t size, bint zeroed)
    cdef Buffer _allocate_slow(self, Py_ssize_t size, bint zeroed)
    cdef Buffer copy_of(self, const char *data, Py_ssize_t size)


cpdef Pool default_pool()
