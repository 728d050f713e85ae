# Buffer: a range of bytes in pooled memory, and (for the first Buffer on it) the allocation itself.

from poolio.slab cimport Slab, SlabStore

cdef class Buffer:
    # valid until release(); LIFETIME of data: while this Buffer lives and is not released
    cdef char *data
    cdef Py_ssize_t length
    cdef Py_ssize_t exports        # views of this Buffer that are alive
    cdef bint is_alive             # False before a pool has filled it in, and after release()
    cdef SlabStore store
    cdef Buffer root               # the Buffer that is the allocation; None: this one is
    # the allocation; only on a root, valid until holders falls to 0
    cdef Slab *slab                # NULL: memory of its own, or none at all (size 0)
    cdef char *memory
    cdef Py_ssize_t size
    cdef Py_ssize_t holders        # Buffers on it that are not released, this one included
    cdef Py_ssize_t writable_exports
    cdef bint frozen

    cdef Buffer slice_of(self, Py_ssize_t start, Py_ssize_t length)
    cdef Buffer own_copy(self)
    cdef bint try_freeze(self) noexcept


cdef void fill_view(
    Py_buffer *view, object owner, char *data, Py_ssize_t *length, bint readonly, int flags
) noexcept
cdef Buffer new_buffer(SlabStore store, Slab *slab, char *memory, Py_ssize_t size)
cdef Buffer new_own_buffer(SlabStore store, Py_ssize_t size, bint zeroed)
cdef void zero_fill(Slab *slab, char *memory, Py_ssize_t size) noexcept
cdef void open_range(char *memory, Py_ssize_t size) noexcept
cdef void close_range(char *memory, Py_ssize_t size) noexcept


cdef inline Buffer allocation_of(Buffer buf):
    return buf if buf.root is None else buf.root
