# Pool: allocations of every kind, from the slabs of its store. See pool.pyx.

from cpython.object cimport PyObject

from poolio.memory.buffer cimport Buffer
from poolio.memory.slab cimport Slab, SlabStore

cdef class Pool(SlabStore):
    cdef object __weakref__
    cdef Slab *current          # small allocations are carved here; NULL before the first and after a reclaim
    cdef PyObject *readers      # the list of what loops read into, borrowed; NULL: none. See wire.readslab

    # alloc_unsafe() and alloc() for a size in C, also for other people's Cython. They need the GIL, and have the same
    # errors
    cdef Buffer allocate(self, Py_ssize_t size)
    cdef Buffer allocate_zeroed(self, Py_ssize_t size)

    # A Buffer that no mode zeroes, for a caller that writes to all of it before anybody sees it. 0 <= size is not
    # checked
    cdef Buffer allocate_to_fill(self, Py_ssize_t size)

    cdef Buffer _allocate(self, Py_ssize_t size, bint zeroed)
    cdef Buffer _allocate_slow(self, Py_ssize_t size, bint zeroed)
    cdef Buffer _copy_of(self, const char *data, Py_ssize_t size)
    cdef list _slab_lines(self)


cpdef Pool default_pool()
