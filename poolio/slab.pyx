"""Owns raw memory: slabs, the free lists that they return to, and the limit on how much is reserved.

Refuses to know what a Buffer is. A slab is handed out whole; who carves from it (the pool for its small
allocations, a loop's read slab for received data) keeps the pointer and lends the slab the address of that
pointer (`carver`), so that an empty slab can be taken back from an idle carver. Called by buffer, pool and
readslab; always with the GIL, which is its lock.

A slab's life: mapped -> carved from (top moves up; when live falls to 0 top goes back to 0) -> full, nobody
carves from it -> its last allocation ends -> on a free list -> carved from again, or unmapped.

Memory is mapped from the system a slab at a time and not taken from malloc: it comes zeroed, goes back
whole, and glibc's moving mmap threshold has no say in it.
"""

cimport cython
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF

from poolio.errors import PoolExhausted

cdef extern from "_memory.h" nogil:
    void *poolio_map(size_t size)
    void poolio_unmap(void *memory, size_t size)
    void poolio_poison(void *memory, size_t size)
    void poolio_unpoison(void *memory, size_t size)

# A slab below a page would waste the rest of it; above 1 GiB 32-bit systems run out of addresses.
MIN_SLAB_SIZE = 4096
MAX_SLAB_SIZE = 1 << 30

# Free memory kept for the next burst, in bytes: a thousand connections with a 64 KiB message in flight each.
# Beyond it an emptied slab goes back to the system at once.
cdef Py_ssize_t KEEP_FREE_BYTES = 64 << 20

# Size classes: from slab_size/4 to 16 * slab_size, four to each doubling, so that at most a fifth of one is
# unused (jemalloc's spacing). 6 doublings * 4 = CLASS_COUNT.
cdef enum:
    CLASSES_PER_DOUBLING = 4

ZEROING_NAMES = ("never", "on_alloc", "on_release")


@cython.auto_pickle(False)
cdef class SlabIdentity:
    """What `Buffer.slab` shows: compare it with `is`. It gives no access to the memory."""

    cdef readonly Py_ssize_t capacity

    def __init__(self):
        raise TypeError("a slab is made by its pool")

    def __repr__(self):
        return f"<poolio slab of {self.capacity} bytes at {id(self):#x}>"


cdef object slab_identity(Slab *slab):
    cdef SlabIdentity identity
    if slab.identity == NULL:
        identity = SlabIdentity.__new__(SlabIdentity)
        identity.capacity = slab.capacity
        Py_INCREF(identity)
        slab.identity = <PyObject *>identity
    return <object>slab.identity


cdef class SlabStore:
    """Slabs and their free lists. `poolio.Pool` adds the allocations; this class is not made by itself."""

    def __cinit__(self, *args, **kwargs):
        self.max_bytes_or_none = -1

    def __dealloc__(self):
        # Buffers, read slabs and reservations hold the store: nothing is live in any slab here.
        while self.all_slabs != NULL:
            self.unmap_slab(self.all_slabs)

    cdef Slab *take_small(self) except NULL:
        cdef Slab *slab = self.free_small
        if slab == NULL:
            return self.map_slab(self.slab_size, SMALL)
        self.free_small = slab.next_free
        self.free_count -= 1
        self.free_bytes -= slab.capacity
        self.reuses += 1
        return slab

    cdef Slab *take_large(self, Py_ssize_t size) except NULL:
        cdef Py_ssize_t base = self.small_limit
        cdef Py_ssize_t step
        cdef int doubling = 0
        cdef int position
        cdef Slab *slab
        if size > 16 * self.slab_size:
            return self.map_slab(size, OVERSIZE)
        while size > 2 * base:
            base *= 2
            doubling += 1
        step = base // CLASSES_PER_DOUBLING
        position = <int>((size - base + step - 1) // step)
        slab = self.free_classes[doubling * CLASSES_PER_DOUBLING + position - 1]
        if slab == NULL:
            return self.map_slab(base + position * step, doubling * CLASSES_PER_DOUBLING + position - 1)
        self.free_classes[slab.size_class] = slab.next_free
        self.free_count -= 1
        self.free_bytes -= slab.capacity
        self.reuses += 1
        return slab

    cdef void give_back(self, Slab *slab) noexcept:
        slab.top = 0
        if slab.size_class == OVERSIZE or self.free_bytes + slab.capacity > KEEP_FREE_BYTES:
            self.unmap_slab(slab)
            return
        if slab.size_class == SMALL:
            slab.next_free = self.free_small
            self.free_small = slab
        else:
            slab.next_free = self.free_classes[slab.size_class]
            self.free_classes[slab.size_class] = slab
        self.free_count += 1
        self.free_bytes += slab.capacity

    cdef Slab *map_slab(self, Py_ssize_t capacity, int size_class) except NULL:
        cdef Slab *slab
        if size_class != OVERSIZE and self.max_bytes_or_none >= 0:
            if self.reserved_bytes + capacity > self.max_bytes_or_none:
                self.reclaim_carved()
                self.release_free(0)
            if self.reserved_bytes + capacity > self.max_bytes_or_none:
                raise PoolExhausted(
                    f"the pool's limit of {self.max_bytes_or_none} bytes (max_bytes) is reached: "
                    f"{self.reserved_bytes} are reserved and {capacity} more are needed"
                )
        slab = <Slab *>PyMem_RawMalloc(sizeof(Slab))
        if slab == NULL:
            raise MemoryError("the system has no memory left for a slab's header")
        slab.memory = <char *>poolio_map(<size_t>capacity)
        if slab.memory == NULL:
            PyMem_RawFree(slab)
            raise MemoryError(f"the system did not give {capacity} bytes")
        poolio_poison(slab.memory, <size_t>capacity)
        slab.capacity = capacity
        slab.size_class = size_class
        slab.identity = NULL
        slab.top = 0
        slab.live = 0
        slab.dirty = 0
        slab.carver = NULL
        slab.next_free = NULL
        slab.previous = NULL
        slab.following = self.all_slabs
        if self.all_slabs != NULL:
            self.all_slabs.previous = slab
        self.all_slabs = slab
        self.slab_count += 1
        if size_class == OVERSIZE:
            self.oversize_bytes += capacity
        else:
            self.reserved_bytes += capacity
        return slab

    cdef void unmap_slab(self, Slab *slab) noexcept:
        if slab.previous != NULL:
            slab.previous.following = slab.following
        else:
            self.all_slabs = slab.following
        if slab.following != NULL:
            slab.following.previous = slab.previous
        if slab.size_class == OVERSIZE:
            self.oversize_bytes -= slab.capacity
        else:
            self.reserved_bytes -= slab.capacity
        self.slab_count -= 1
        poolio_unpoison(slab.memory, <size_t>slab.capacity)
        poolio_unmap(slab.memory, <size_t>slab.capacity)
        if slab.identity != NULL:
            Py_DECREF(<object>slab.identity)
        PyMem_RawFree(slab)

    cdef void reclaim_carved(self) noexcept:
        cdef Slab *slab = self.all_slabs
        while slab != NULL:
            if slab.live == 0 and slab.carver != NULL:
                slab.carver[0] = NULL
                slab.carver = NULL
                slab.top = 0
                # not give_back: it might unmap the slab that this walk stands on
                slab.next_free = self.free_small
                self.free_small = slab
                self.free_count += 1
                self.free_bytes += slab.capacity
            slab = slab.following

    cdef Py_ssize_t release_free(self, Py_ssize_t keep) noexcept:
        cdef Py_ssize_t before = self.free_bytes
        cdef Slab *slab
        cdef int index
        for index in range(CLASS_COUNT - 1, -1, -1):
            while self.free_bytes > keep and self.free_classes[index] != NULL:
                slab = self.free_classes[index]
                self.free_classes[index] = slab.next_free
                self.free_count -= 1
                self.free_bytes -= slab.capacity
                self.unmap_slab(slab)
        while self.free_bytes > keep and self.free_small != NULL:
            slab = self.free_small
            self.free_small = slab.next_free
            self.free_count -= 1
            self.free_bytes -= slab.capacity
            self.unmap_slab(slab)
        return before - self.free_bytes

    cpdef check(self):
        """Raise AssertionError unless the accounting adds up; for tests and debug builds.

        Over all slabs: reserved = sum of capacities; allocations + reservations = sum of live; a slab that
        holds nothing and that nobody carves from is on a free list; a carver and its slab know each other.
        """
        cdef Slab *slab = self.all_slabs
        cdef Py_ssize_t count = 0, reserved = 0, oversize = 0, live = 0, idle = 0, free = 0, free_bytes = 0
        cdef int index
        while slab != NULL:
            count += 1
            live += slab.live
            if slab.size_class == OVERSIZE:
                oversize += slab.capacity
            else:
                reserved += slab.capacity
            _ensure(0 <= slab.top <= slab.capacity, "top lies inside the slab")
            _ensure(slab.top % ALIGNMENT == 0 or slab.top == slab.capacity, "top is aligned")
            _ensure(0 <= slab.dirty <= slab.capacity, "dirty lies inside the slab")
            _ensure(slab.live >= 0, "live is not negative")
            if slab.carver != NULL:
                _ensure(slab.carver[0] == slab, "a carver and its slab know each other")
                _ensure(slab.live > 0 or slab.top == 0, "an empty slab is carved from its start")
            elif slab.live == 0:
                idle += 1
            slab = slab.following
        slab = self.free_small
        while slab != NULL:
            free += 1
            free_bytes += slab.capacity
            slab = slab.next_free
        for index in range(CLASS_COUNT):
            slab = self.free_classes[index]
            while slab != NULL:
                free += 1
                free_bytes += slab.capacity
                slab = slab.next_free
        _ensure(count == self.slab_count, "every slab is counted")
        _ensure(reserved == self.reserved_bytes, "reserved bytes are the sum of the slabs")
        _ensure(oversize == self.oversize_bytes, "oversize bytes are the sum of the oversize slabs")
        _ensure(idle == free == self.free_count, "what nobody uses is on a free list")
        _ensure(free_bytes == self.free_bytes, "free bytes are the sum of the free lists")
        _ensure(live == self.live_allocations - self.own_allocations + self.open_reservations,
                "what lies in slabs is allocations and reservations")
        _ensure(self.live_buffers >= self.live_allocations, "every allocation has a Buffer")
        _ensure(self.max_bytes_or_none < 0 or self.reserved_bytes <= self.max_bytes_or_none,
                "reserved bytes stay within max_bytes")


cdef int _ensure(bint holds, str statement) except -1:
    if not holds:
        raise AssertionError(f"broken accounting; expected: {statement}")
    return 0
