"""Owns Buffer: a range of bytes that keeps its memory, slices without copying, and can be frozen.

Refuses to know how memory is found (pool, readslab) or sent (protocol). The first Buffer on a range *is* the
allocation: slices point to it as their root, and it counts who holds it. So a message that nobody slices costs
one object, and what must happen when a range has lost its last holder (wipe, accounting, poison) happens in
one place, `_end_allocation`.

    root:  data length | slab memory size holders frozen        slice:  data length | root ──> the root
           its own view| the allocation, for all on it                  its own view

Exports (memoryviews, numpy arrays) keep their Buffer alive and unreleased, so counting Buffers counts them.
"""

cimport cython
from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_ND, PyBUF_SIMPLE, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_CheckBuffer,
    PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc
from cpython.object cimport Py_EQ, Py_GT, Py_LE, Py_LT, Py_NE, PyObject
from cpython.slice cimport PySlice_AdjustIndices, PySlice_Unpack
from libc.string cimport memchr, memcmp, memcpy, memmove, memset

from poolio.slab cimport ON_RELEASE, Slab, SlabStore, leave_slab, slab_identity

from poolio.errors import BufferReleased

cdef extern from "Python.h":
    object PySeqIter_New(object sequence)
    Py_ssize_t PyNumber_AsSsize_t(object o, PyObject *exc) except? -1
    bint PyIndex_Check(object o)

cdef extern from "_memory.h" nogil:
    void poolio_wipe(void *memory, size_t size)
    void poolio_poison(void *memory, size_t size)
    void poolio_unpoison(void *memory, size_t size)
    void poolio_scribble(void *memory, size_t size)

cdef char *UNSIGNED_BYTE = b"B"
cdef char NOWHERE[8]        # what an empty Buffer points at: never read, never written


@cython.final
@cython.no_gc
@cython.freelist(256)
cdef class Buffer:
    """A contiguous range of pooled bytes.

    Made by a pool (`alloc`, `alloc_unsafe`, `alloc_unpooled`, `from_bytes`), by receiving, or by slicing another
    Buffer; a slice shares the memory. The memory goes back to its pool when the last Buffer on it, and the last
    view of one, is dropped or released. Supports the buffer protocol (`memoryview`, `bytes`, sockets, numpy) and
    takes any contiguous bytes-like object in slice assignment and comparison.

    A Buffer is writable until `freeze()`; freezing holds for every Buffer on the same allocation. Frozen Buffers hash
    like the equal `bytes`. Using a released Buffer raises BufferReleased (a ValueError).
    """

    def __init__(self):
        raise TypeError("a Buffer is made by a pool: poolio.alloc(size), poolio.from_bytes(data), ...")

    def __dealloc__(self):
        if self.is_alive:
            _let_go(self)

    # --- what it is -------------------------------------------------------------------------------------

    @property
    def nbytes(self):
        """Length in bytes; the same as `len()`."""
        _ensure_alive(self)
        return self.length

    @property
    def offset(self):
        """Bytes from the start of the slab to the first byte; 0 outside a slab."""
        _ensure_alive(self)
        cdef Buffer allocation = allocation_of(self)
        return self.data - allocation.slab.memory if allocation.slab != NULL else 0

    @property
    def slab(self):
        """The slab it lies in, to compare with `is`; None for size 0 and for memory of its own."""
        _ensure_alive(self)
        cdef Buffer allocation = allocation_of(self)
        return slab_identity(allocation.slab) if allocation.slab != NULL else None

    @property
    def pool(self):
        """The Pool that its memory is counted in."""
        return self.store

    @property
    def readonly(self):
        """True once the allocation is frozen."""
        _ensure_alive(self)
        return allocation_of(self).frozen

    @property
    def released(self):
        """True after `release()`."""
        return not self.is_alive

    def __len__(self):
        _ensure_alive(self)
        return self.length

    def __repr__(self):
        if not self.is_alive:
            return "<poolio.Buffer released>"
        state = "frozen" if allocation_of(self).frozen else "writable"
        return f"<poolio.Buffer of {self.length} bytes, {state}, at offset {self.offset}>"

    # --- ownership --------------------------------------------------------------------------------------

    def release(self):
        """Give up this Buffer's hold now instead of when it is dropped. Slices of it stay valid.

        A second release does nothing. BufferError while a view of this Buffer is alive.
        """
        if self.exports > 0:
            raise BufferError(f"cannot release a Buffer while {self.exports} view(s) of it are alive")
        if self.is_alive:
            _let_go(self)

    def __enter__(self):
        _ensure_alive(self)
        return self

    def __exit__(self, *exc_info):
        self.release()

    def freeze(self):
        """Make the allocation read-only, for every Buffer on it and for ever; return this Buffer.

        BufferError while a writable view of the allocation is alive.
        """
        _ensure_alive(self)
        if not self.try_freeze():
            raise BufferError(
                f"cannot freeze a Buffer while {allocation_of(self).writable_exports} writable view(s) are alive"
            )
        return self

    def detach(self):
        """Return a frozen copy in memory of exactly its own size, and release this Buffer.

        For small pieces that are kept long: they no longer pin a slab. BufferError while a view of it is alive.
        """
        _ensure_alive(self)
        if self.exports > 0:
            raise BufferError(f"cannot detach a Buffer while {self.exports} view(s) of it are alive")
        copy = self.own_copy()
        self.release()
        return copy

    cdef bint try_freeze(self) noexcept:
        cdef Buffer allocation = allocation_of(self)
        if allocation.frozen:
            return True
        if allocation.writable_exports > 0:
            return False
        allocation.frozen = True
        return True

    cdef Buffer own_copy(self):
        cdef Buffer copy = new_own_buffer(self.store, self.length, False)
        memcpy(copy.data, self.data, <size_t>self.length)
        copy.frozen = True
        self.store.copied_bytes += self.length
        return copy

    cdef Buffer slice_of(self, Py_ssize_t start, Py_ssize_t length):
        cdef Buffer piece = Buffer.__new__(Buffer)
        cdef Buffer allocation = allocation_of(self)
        piece.is_alive = True
        piece.store = self.store
        piece.root = allocation
        piece.data = self.data + start
        piece.length = length
        allocation.holders += 1
        self.store.live_buffers += 1
        return piece

    # --- as a sequence of bytes -------------------------------------------------------------------------

    def __getitem__(self, key):
        cdef Py_ssize_t start, stop, step, length
        _ensure_alive(self)
        if isinstance(key, slice):
            PySlice_Unpack(key, &start, &stop, &step)
            _ensure_alive(self)    # a bound's __index__ may have released it
            if step != 1:
                raise ValueError(f"a Buffer slice has step 1, not {step}; copy with bytes(buf)[...] instead")
            length = PySlice_AdjustIndices(self.length, &start, &stop, 1)
            return self.slice_of(start, length)
        return <unsigned char>self.data[_index(self, key)]

    def __iter__(self):
        _ensure_alive(self)
        return PySeqIter_New(self)

    def __setitem__(self, key, value):
        cdef Py_ssize_t start, stop, step, length
        cdef Py_ssize_t number
        _ensure_writable(self)
        if isinstance(key, slice):
            PySlice_Unpack(key, &start, &stop, &step)
            if step != 1:
                raise ValueError(f"a Buffer slice has step 1, not {step}")
            length = PySlice_AdjustIndices(self.length, &start, &stop, 1)
            _copy_in(self, start, length, value)
            return
        start = _index(self, key)
        number = PyNumber_AsSsize_t(value, NULL)
        if not 0 <= number <= 255:
            raise ValueError(f"a byte must be in 0..255, not {value!r}")
        _ensure_writable(self)     # value's __index__ may have released or frozen it
        self.data[start] = <char>number

    def __delitem__(self, key):
        raise TypeError("a Buffer does not change its size: its bytes cannot be deleted")

    def __contains__(self, value):
        cdef Py_ssize_t number
        _ensure_alive(self)
        if PyIndex_Check(value):
            number = PyNumber_AsSsize_t(value, NULL)
            if not 0 <= number <= 255:
                raise ValueError(f"a byte must be in 0..255, not {value!r}")
            _ensure_alive(self)
            return memchr(self.data, <int>number, <size_t>self.length) != NULL
        return value in self.tobytes()

    def __richcmp__(self, other, int operation):
        cdef Py_buffer view
        cdef Py_ssize_t mine
        cdef int order
        _ensure_alive(self)
        if not PyObject_CheckBuffer(other):
            return NotImplemented
        try:
            PyObject_GetBuffer(other, &view, PyBUF_SIMPLE)
        except BufferError:        # not contiguous: bytearray does not compare with it either
            return NotImplemented
        try:
            _ensure_alive(self)
            mine = self.length
            if operation == Py_EQ or operation == Py_NE:
                if mine != view.len:
                    return operation == Py_NE
            order = memcmp(self.data, view.buf, <size_t>min(mine, view.len))
            if order == 0:
                order = (mine > view.len) - (mine < view.len)
        finally:
            PyBuffer_Release(&view)
        if operation == Py_EQ:
            return order == 0
        if operation == Py_NE:
            return order != 0
        if operation == Py_LT:
            return order < 0
        if operation == Py_LE:
            return order <= 0
        if operation == Py_GT:
            return order > 0
        return order >= 0

    def __hash__(self):
        _ensure_alive(self)
        if not allocation_of(self).frozen:
            raise TypeError("a writable Buffer is unhashable; freeze() it first")
        return hash(self.tobytes())

    def tobytes(self):
        """A `bytes` copy."""
        _ensure_alive(self)
        return PyBytes_FromStringAndSize(self.data, self.length)

    def __bytes__(self):
        return self.tobytes()

    # --- the buffer protocol ----------------------------------------------------------------------------

    def __getbuffer__(self, Py_buffer *view, int flags):
        _ensure_alive(self)
        cdef Buffer allocation = allocation_of(self)
        if allocation.frozen:
            if flags & PyBUF_WRITABLE:
                raise BufferError("a frozen Buffer has no writable view")
        else:
            allocation.writable_exports += 1
        self.exports += 1
        fill_view(view, self, self.data, &self.length, allocation.frozen, flags)

    def __releasebuffer__(self, Py_buffer *view):
        cdef Buffer allocation = allocation_of(self)
        self.exports -= 1
        if not view.readonly:
            allocation.writable_exports -= 1


cdef void fill_view(
    Py_buffer *view, object owner, char *data, Py_ssize_t *length, bint readonly, int flags
) noexcept:
    """Describe contiguous bytes to a consumer of the buffer protocol. LIFETIME of data and length: the owner's."""
    view.buf = data
    view.obj = owner
    view.len = length[0]
    view.itemsize = 1
    view.readonly = readonly
    view.ndim = 1
    view.format = UNSIGNED_BYTE if flags & PyBUF_FORMAT else NULL
    view.shape = length if flags & PyBUF_ND else NULL
    view.strides = &view.itemsize if (flags & PyBUF_STRIDES) == PyBUF_STRIDES else NULL
    view.suboffsets = NULL
    view.internal = NULL


cdef Buffer new_buffer(SlabStore store, Slab *slab, char *memory, Py_ssize_t size):
    """A Buffer that is the allocation of size bytes at memory; the caller has counted it in slab.live.

    If the object itself can't be made, the range is given back to the slab.
    """
    cdef Buffer buf
    try:
        buf = Buffer.__new__(Buffer)
    except BaseException:
        if slab != NULL:
            leave_slab(store, slab)
        raise
    buf.is_alive = True
    buf.store = store
    buf.slab = slab
    buf.memory = memory
    buf.data = memory
    buf.length = size
    buf.size = size
    buf.holders = 1
    store.live_bytes += size
    store.live_allocations += 1
    store.live_buffers += 1
    return buf


cdef Buffer new_own_buffer(SlabStore store, Py_ssize_t size, bint zeroed):
    """A Buffer in memory of its own from malloc. Size 0 has no memory at all."""
    cdef Buffer buf
    cdef char *memory = NOWHERE
    if size > 0:
        memory = <char *>(PyMem_Calloc(<size_t>size, 1) if zeroed else PyMem_Malloc(<size_t>size))
        if memory == NULL:
            raise MemoryError(f"the system did not give {size} bytes")
    try:
        buf = new_buffer(store, NULL, memory, size)
    except BaseException:
        if size > 0:
            PyMem_Free(memory)
        raise
    store.own_allocations += 1
    store.own_bytes += size
    return buf


cdef void _let_go(Buffer buf) noexcept:
    cdef Buffer allocation = buf.root
    buf.is_alive = False
    buf.data = NULL
    buf.store.live_buffers -= 1
    if allocation is not None:
        buf.root = None         # a root that only slices kept in being is dropped with the last of them
        allocation.holders -= 1
        if allocation.holders == 0:
            _end_allocation(allocation)
        return
    # not through a second reference: this runs in __dealloc__ too
    buf.holders -= 1
    if buf.holders == 0:
        _end_allocation(buf)


cdef void _end_allocation(Buffer allocation) noexcept:
    cdef SlabStore store = allocation.store
    cdef char *memory = allocation.memory
    allocation.memory = NULL
    store.live_bytes -= allocation.size
    store.live_allocations -= 1
    if store.zeroing_mode == ON_RELEASE:
        poolio_wipe(memory, <size_t>allocation.size)
    if allocation.slab != NULL:
        if store.zeroing_mode != ON_RELEASE:
            poolio_scribble(memory, <size_t>allocation.size)
        close_range(memory, allocation.size)
        leave_slab(store, allocation.slab)
        return
    store.own_allocations -= 1
    store.own_bytes -= allocation.size
    if allocation.size > 0:
        PyMem_Free(memory)


cdef void zero_fill(Slab *slab, char *memory, Py_ssize_t size) noexcept:
    """Zero the part of a carved range that is not known to be zero already."""
    cdef Py_ssize_t unclean = slab.dirty - (memory - slab.memory)
    if unclean > 0:
        memset(memory, 0, <size_t>min(size, unclean))


cdef void open_range(char *memory, Py_ssize_t size) noexcept:
    poolio_unpoison(memory, <size_t>size)


cdef void close_range(char *memory, Py_ssize_t size) noexcept:
    poolio_poison(memory, <size_t>size)


cdef inline int _ensure_alive(Buffer buf) except -1:
    if not buf.is_alive:
        raise BufferReleased("this Buffer was released and can no longer be used")
    return 0


cdef inline int _ensure_writable(Buffer buf) except -1:
    _ensure_alive(buf)
    if allocation_of(buf).frozen:
        raise TypeError("a frozen Buffer cannot be modified")
    return 0


cdef Py_ssize_t _index(Buffer buf, key) except -1:
    if not PyIndex_Check(key):
        raise TypeError(f"a Buffer index is an integer or a slice, not {type(key).__name__!r}")
    cdef Py_ssize_t index = PyNumber_AsSsize_t(key, <PyObject *>IndexError)
    _ensure_alive(buf)
    if index < 0:
        index += buf.length
    if not 0 <= index < buf.length:
        raise IndexError(f"index {key} is outside a Buffer of {buf.length} bytes")
    return index


cdef int _copy_in(Buffer buf, Py_ssize_t start, Py_ssize_t length, value) except -1:
    cdef Py_buffer view
    PyObject_GetBuffer(value, &view, PyBUF_SIMPLE)
    try:
        _ensure_writable(buf)
        if view.len != length:
            raise ValueError(f"a Buffer does not change its size: {view.len} bytes do not fit a slice of {length}")
        memmove(buf.data + start, view.buf, <size_t>length)
    finally:
        PyBuffer_Release(&view)
    return 0
