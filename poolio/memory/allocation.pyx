"""Owns the allocation: a range that was carved once, the count of its holders, and what happens when the last one ends.

Refuses to know how memory is found (pool, readslab) and what its bytes mean (numbers, buffer). Called by buffer, and
by readslab, inbox and writequeue of the wire floor. An Allocation is a struct; every Buffer on the range is a Holder
that points to it and is counted in it. A slice is one more Holder; a piece of a write queue is counted without one. So
wipe, poison and accounting happen in one place, `end_allocation`, when the count falls to 0, whichever holder is last.

    Holder   data length ──────────┐                        slice   data length ───┐
             allocation ──> Allocation: slab memory size holders shown frozen <── allocation
                                                 ├── memory ───────────── size ────┤

Exports (memoryviews, numpy arrays) keep their Holder alive and unreleased, so the count of holders covers them.

    what happens                        result, whatever the order
    release()                           this holder is gone; its slices, and other slices, stay valid
    release() again                     nothing
    release() under a view of it        BufferError; nothing changes
    use after release()                 BufferReleased
    dropped in another thread           as in this one (the GIL is the lock)
    the pool dropped before its buffers the pool lives on until the last of them
    fork                                each process has the memory and the accounts for itself from then on
"""

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBUF_STRIDES, PyBUF_WRITABLE
from cpython.mem cimport PyMem_Free
from cpython.object cimport PyObject, PyTypeObject, destructor
from cpython.ref cimport Py_DECREF, Py_INCREF

from poolio.c.faults cimport poolio_armed, poolio_new_object
from poolio.c.guard cimport poison
from poolio.c.objects cimport poolio_revive
from poolio.c.python cimport PyObject_Free
from poolio.memory.slab cimport Slab, SlabStore, forget, leave_slab, slab_identity
from poolio.memory.spares cimport SpareList, keep_struct, take_struct

from poolio import debug
from poolio.errors import BufferReleased

cdef char *UNSIGNED_BYTE = b"B"

cdef SpareList spare_allocations

# Holders that have ended. They are kept as objects without a reference, to be used again.
cdef enum:
    SPARE_HOLDERS = 256
cdef PyObject *spare_holders[SPARE_HOLDERS]
cdef int spare_holder_count = 0
cdef PyTypeObject *holder_type


cdef class Holder:
    """A hold on a range of pooled memory: the part of `poolio.Buffer` that is ownership. Not made by itself."""

    @property
    def nbytes(self):
        """Length in bytes; the same as `len()`."""
        ensure_alive(self)
        return self.length

    @property
    def offset(self):
        """Bytes from the start of the slab to the first byte; 0 outside a slab."""
        ensure_alive(self)
        cdef Slab *slab = self.allocation.slab
        return self.data - slab.memory if slab != NULL else 0

    @property
    def slab(self):
        """The slab that it lies in, to be compared with `is`. None for size 0 and for memory of its own."""
        ensure_alive(self)
        cdef Slab *slab = self.allocation.slab
        return slab_identity(slab) if slab != NULL else None

    @property
    def pool(self):
        """The Pool that its memory is counted in."""
        ensure_alive(self)
        return store_of(self)

    @property
    def readonly(self):
        """True once the allocation is frozen."""
        ensure_alive(self)
        return self.allocation.frozen

    @property
    def released(self):
        """True after `release()`."""
        return self.allocation == NULL

    @property
    def allocated_at(self):
        """The Python callers that made the allocation, innermost first. None unless debugging (POOLIO_DEBUG=1)."""
        ensure_alive(self)
        sites = store_of(self).sites
        return None if sites is None else sites.get(<Py_ssize_t>self.allocation, ())

    def __sizeof__(self):
        """Bytes of the object and its share of the allocation: the size divided by the number of its holders."""
        cdef Py_ssize_t shared = 0
        if self.allocation != NULL:
            shared = (self.allocation.size + <Py_ssize_t>sizeof(Allocation)) // self.allocation.holders
        return type(self).__basicsize__ + shared

    def release(self):
        """Give up this Buffer's hold now instead of when it is dropped. Slices of it stay valid.

        A second release does nothing. BufferError while a view of this Buffer is alive.
        """
        buffer_release(self)

    def __enter__(self):
        ensure_alive(self)
        return self

    def __exit__(self, *exc_info):
        buffer_release(self)

    def freeze(self):
        """Make the allocation read-only, for every Buffer on it and for ever; return this Buffer.

        BufferError while a writable view of the allocation is alive.
        """
        ensure_alive(self)
        if not try_freeze(self):
            raise BufferError(
                f"cannot freeze a Buffer while {self.allocation.writable_exports} writable view(s) are alive"
            )
        return self

    def __getbuffer__(self, Py_buffer *view, int flags):
        ensure_alive(self)
        if self.allocation.frozen:
            if flags & PyBUF_WRITABLE:
                raise BufferError("a frozen Buffer has no writable view")
        else:
            self.allocation.writable_exports += 1
        self.exports += 1
        fill_view(view, self, self.data, &self.length, self.allocation.frozen, flags)

    def __releasebuffer__(self, Py_buffer *view):
        self.exports -= 1
        if not view.readonly:
            self.allocation.writable_exports -= 1


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


# --- making and ending ----------------------------------------------------------------------------------------

cdef Holder new_holder(SlabStore store, Slab *slab, char *memory, Py_ssize_t size):
    """Make the first holder of a new allocation of `size` bytes at `memory`, which the caller has counted in slab.live.

    If it can't be made, the range is given back to the slab.
    """
    cdef Holder holder
    cdef Allocation *allocation
    global spare_holder_count
    if spare_allocations.first != NULL and spare_holder_count > 0 and store.sites is None and not poolio_armed():
        spare_holder_count -= 1
        holder = <Holder>poolio_revive(spare_holders[spare_holder_count])
        allocation = <Allocation *>take_struct(&spare_allocations, sizeof(Allocation))
    else:
        try:
            holder = blank_holder()
            allocation = _take_allocation(store)
        except BaseException:
            if slab != NULL:
                leave_slab(store, slab)
            raise
    Py_INCREF(store)
    allocation.store = <PyObject *>store
    allocation.slab = slab
    allocation.memory = memory
    allocation.size = size
    allocation.holders = 1
    allocation.shown = size
    allocation.writable_exports = 0
    allocation.frozen = False
    allocation.hash = NOT_HASHED
    holder.allocation = allocation
    holder.data = memory
    holder.length = size
    store.live_bytes += size
    store.live_allocations += 1
    store.live_buffers += 1
    return holder


cdef Allocation *_take_allocation(SlabStore store) except NULL:
    # what can fail or run other people's code comes first, while nothing is counted yet
    site = None if store.sites is None else debug.site()
    cdef Allocation *allocation = <Allocation *>take_struct(&spare_allocations, sizeof(Allocation))
    if allocation == NULL:
        raise MemoryError("the system has no memory left for an allocation's header")
    if site is not None:
        try:
            store.sites[<Py_ssize_t>allocation] = site
        except BaseException:
            keep_struct(&spare_allocations, allocation)
            raise
    return allocation


# A Buffer is made and ended for each message. Cython's own way for both costs 220 instructions (callgrind), this one
# 60: an ended object is kept as it is, and its end saves no exception state, as it runs no code that could raise.

cdef int make_holders(PyTypeObject *kind) except -1:
    """Make every Holder an object of this type from now on, and let its objects end in _end_holder()."""
    global holder_type
    holder_type = kind
    kind.tp_dealloc = <destructor>_end_holder
    return 0


cdef Holder blank_holder():
    """Make a Holder that holds nothing yet."""
    global spare_holder_count
    if spare_holder_count > 0 and not poolio_armed():
        spare_holder_count -= 1
        return <Holder>poolio_revive(spare_holders[spare_holder_count])
    return <Holder>poolio_new_object(holder_type)


cdef void _end_holder(PyObject *object) noexcept:
    # SAFE: nothing below takes a reference to the object, which has none left
    global spare_holder_count
    cdef Allocation *allocation = (<Holder>object).allocation
    if allocation != NULL:
        (<Holder>object).allocation = NULL
        drop_hold(allocation, (<Holder>object).length)
    if spare_holder_count < SPARE_HOLDERS:
        spare_holders[spare_holder_count] = object
        spare_holder_count += 1
    else:
        PyObject_Free(object)


cdef int buffer_release(Holder buf) except -1:
    if buf is None:
        raise TypeError("a Buffer is needed, not None")
    if buf.exports > 0:
        raise BufferError(f"cannot release a Buffer while {buf.exports} view(s) of it are alive")
    if buf.allocation != NULL:
        let_go(buf)
    return 0


cdef void let_go(Holder holder) noexcept:
    cdef Allocation *allocation = holder.allocation
    cdef Py_ssize_t length = holder.length
    holder.allocation = NULL
    holder.data = NULL
    holder.length = 0
    drop_hold(allocation, length)


cdef void end_allocation(Allocation *allocation) noexcept:
    cdef PyObject *store = allocation.store
    (<SlabStore>store).live_bytes -= allocation.size
    (<SlabStore>store).live_allocations -= 1
    (<SlabStore>store).hidden_bytes -= hidden_in(allocation)
    if (<SlabStore>store).cleans_up or allocation.slab == NULL:
        _clean_up(allocation)
    if allocation.slab != NULL:
        poison(allocation.memory, <size_t>allocation.size)
        leave_slab(<SlabStore>store, allocation.slab)
    keep_struct(&spare_allocations, allocation)
    Py_DECREF(<SlabStore>store)


cdef void _clean_up(Allocation *allocation) noexcept:
    cdef SlabStore store = <SlabStore>allocation.store
    if store.sites is not None:
        store.sites.pop(<Py_ssize_t>allocation, None)
    forget(store, allocation.memory, allocation.size)
    if allocation.slab == NULL:
        store.own_allocations -= 1
        store.own_bytes -= allocation.size
        if allocation.size > 0:
            PyMem_Free(allocation.memory)


cdef int raise_released() except -1:
    raise BufferReleased("this Buffer was released and can no longer be used")


cdef int raise_frozen() except -1:
    raise TypeError("a frozen Buffer cannot be modified")
