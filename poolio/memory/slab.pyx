"""Owns raw memory: slabs, carving and zeroing them, the free lists that they return to, and the limit on all of it. In
the builds for tests it also owns the switch that makes allocations fail.

Refuses to know what a Buffer is. A slab is given out whole. Its carver (the pool for small allocations, a loop's read
slab for data that is read) keeps the pointer to it, and lends the slab the address of that pointer (`carver`), so that
an empty slab can be taken back from an idle carver. Called by allocation and pool, and by readslab and inbox of the
wire floor; always with the GIL, which is its lock. Nothing else writes a slab's marks, and nothing else zeroes slabs.

A slab's life: mapped -> carved from (top moves up; when live falls to 0 top goes back to 0) -> full, nobody
carves from it -> its last allocation ends -> on a free list -> carved from again, or unmapped.

Memory is mapped from the system a slab at a time and not taken from malloc: it comes zeroed, goes back
whole, and does not depend on glibc's moving mmap threshold. tracemalloc is told of each slab that is mapped, at
the line of Python that needed it.

A free list is used from its front, so slabs that are not needed sink to its end. Each list knows the fewest slabs
that lay on it since the last trim_idle(): as many at its end were never needed, and trim_idle() unmaps them.
It is called by a timer of each loop that reads into the pool, and by give_back() now and then, if IDLE_SECONDS have
passed.
"""

cimport cython
from cpython.mem cimport PyMem_RawFree
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uintptr_t
from libc.string cimport memset

from poolio.c.faults cimport (
    POOLIO_HAS_FAULTS, poolio_faults, poolio_faults_capsule, poolio_map_memory, poolio_raw_malloc,
)
from poolio.c.guard cimport ensure, poison, unpoison
from poolio.c.memory cimport POOLIO_VARIANT, poolio_seconds, poolio_unmap, poolio_wipe
from poolio.c.python cimport PyTraceMalloc_Track, PyTraceMalloc_Untrack
from poolio.memory.calls cimport check_call

from poolio.errors import PoolExhausted

BUILD_VARIANT = POOLIO_VARIANT.decode()
ZEROING_NAMES = ("never", "on_alloc", "on_release")

# A slab smaller than a page would waste the rest of the page; above 1 GiB 32-bit systems run out of addresses.
MIN_SLAB_SIZE = 4096
MAX_SLAB_SIZE = 1 << 30

# Free memory kept for the next burst, in bytes: a thousand connections with a 64 KiB message in flight each.
# Beyond it an emptied slab goes back to the system at once.
KEEP_FREE_BYTES = 64 << 20
cdef Py_ssize_t keep_free_bytes = KEEP_FREE_BYTES

# A free slab that was not needed for this long goes back to the system (jemalloc's dirty_decay_ms, 10 s).
IDLE_SECONDS = 10
cdef long long idle_seconds = IDLE_SECONDS

# tracemalloc's domain for slabs: "pool" in ASCII.
TRACEMALLOC_DOMAIN = 0x706F6F6C
cdef unsigned int trace_domain = TRACEMALLOC_DOMAIN

cdef enum:
    SCRIBBLE = 0xDD         # what ended memory looks like while debugging, as in MSVC's debug heap
    # Size classes: from slab_size/4 to 16 * slab_size, four to each doubling, so that at most a fifth of one is
    # unused (jemalloc's spacing). 6 doublings * 4 = CLASS_COUNT.
    CLASSES_PER_DOUBLING = 4
    # give_back() looks at the clock once in so many calls, so that the cost of the clock does not count.
    RETURNS_PER_CLOCK = 1024


# The counters of all modules, which find them by the name `_faults`. It is None in builds where nothing fails on
# request.
cdef poolio_faults faults
_faults = poolio_faults_capsule(&faults)
HAS_FAULTS = bool(POOLIO_HAS_FAULTS)


def fail_allocations(long long first, long long count=1):
    """For tests: from the `first` allocation on, where 1 is the next one, `count` allocations fail.

    With 0 none fails any more. Returns how many have failed since the last call. RuntimeError in a build in which none
    can fail on request (debug, sanitize and coverage builds can).
    """
    if not POOLIO_HAS_FAULTS:
        raise RuntimeError(f"no allocation fails on request in the {BUILD_VARIANT} build; POOLIO_BUILD=debug makes one")
    if first < 0 or count < 1:
        raise ValueError(f"first must be at least 0 and count at least 1, not {first} and {count}")
    failed = faults.failed
    faults.asked = faults.failed = 0
    faults.first = first
    faults.last = first + count - 1
    return failed


@cython.final
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

    def __cinit__(self, *arguments, **options):
        if arguments or options:
            check_call(type(self), arguments, options)
        self.max_bytes_or_none = -1
        self.trimmed_at = poolio_seconds()

    def __dealloc__(self):
        # Buffers, read slabs and reservations hold the store: nothing is live in any slab here.
        while self.all_slabs != NULL:
            self._unmap_slab(self.all_slabs)

    def __reduce__(self):
        raise TypeError("a pool can be neither copied nor pickled; its Buffers can")

    cdef Slab *take_small(self) except NULL:
        cdef Slab *slab = self._take_free(SMALL)
        return slab if slab != NULL else self._map_slab(self.slab_size, SMALL)

    cdef Slab *take_large(self, Py_ssize_t size) except NULL:
        cdef Py_ssize_t base = self.small_limit
        cdef Py_ssize_t step
        cdef int doubling = 0
        cdef int position
        cdef int index
        cdef Slab *slab
        if size > 16 * self.slab_size:
            return self._map_slab(size, OVERSIZE)
        while size > 2 * base:
            base *= 2
            doubling += 1
        step = base // CLASSES_PER_DOUBLING
        position = <int>((size - base + step - 1) // step)
        index = doubling * CLASSES_PER_DOUBLING + position - 1
        slab = self._take_free(index)
        return slab if slab != NULL else self._map_slab(base + position * step, index)

    cdef void give_back(self, Slab *slab) noexcept:
        slab.top = 0
        if slab.list_index == OVERSIZE or self.kept_bytes + slab.capacity > keep_free_bytes:
            self._unmap_slab(slab)
            return
        self._keep_free(slab)
        self.returns += 1
        if self.returns % RETURNS_PER_CLOCK == 0 and poolio_seconds() - self.trimmed_at >= idle_seconds:
            self.trim_idle()

    cdef Slab *_take_free(self, int index) noexcept:
        cdef FreeList *free = &self.free_lists[index]
        cdef Slab *slab = free.first
        if slab == NULL:
            return NULL
        free.first = slab.next_free
        free.count -= 1
        if free.count < free.unneeded:
            free.unneeded = free.count
        self.kept_bytes -= slab.capacity
        self.reuses += 1
        return slab

    cdef void _keep_free(self, Slab *slab) noexcept:
        cdef FreeList *free = &self.free_lists[slab.list_index]
        slab.next_free = free.first
        free.first = slab
        free.count += 1
        self.kept_bytes += slab.capacity

    cdef Slab *_map_slab(self, Py_ssize_t capacity, int index) except NULL:
        cdef Slab *slab
        if index != OVERSIZE and self.max_bytes_or_none >= 0:
            if self.reserved_bytes > self.max_bytes_or_none - capacity:
                self.reclaim_carved()
                self.release_free()
            if self.reserved_bytes > self.max_bytes_or_none - capacity:
                raise PoolExhausted(
                    f"the pool's limit of {self.max_bytes_or_none} bytes (max_bytes) is reached: "
                    f"{self.reserved_bytes} are reserved and {capacity} more are needed"
                )
        slab = <Slab *>poolio_raw_malloc(sizeof(Slab))
        if slab == NULL:
            raise MemoryError("the system has no memory left for a slab's header")
        memset(slab, 0, sizeof(Slab))
        slab.memory = <char *>poolio_map_memory(<size_t>capacity)
        if slab.memory == NULL:
            PyMem_RawFree(slab)
            raise MemoryError(f"the system did not give {capacity} bytes")
        poison(slab.memory, <size_t>capacity)
        PyTraceMalloc_Track(trace_domain, <uintptr_t>slab.memory, <size_t>capacity)
        slab.capacity = capacity
        slab.list_index = index
        slab.following = self.all_slabs
        if self.all_slabs != NULL:
            self.all_slabs.previous = slab
        self.all_slabs = slab
        self.slab_count += 1
        if index == OVERSIZE:
            self.oversize_bytes += capacity
        else:
            self.reserved_bytes += capacity
        return slab

    cdef void _unmap_slab(self, Slab *slab) noexcept:
        if slab.previous != NULL:
            slab.previous.following = slab.following
        else:
            self.all_slabs = slab.following
        if slab.following != NULL:
            slab.following.previous = slab.previous
        if slab.list_index == OVERSIZE:
            self.oversize_bytes -= slab.capacity
        else:
            self.reserved_bytes -= slab.capacity
        self.slab_count -= 1
        unpoison(slab.memory, <size_t>slab.capacity)
        PyTraceMalloc_Untrack(trace_domain, <uintptr_t>slab.memory)
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
                self._keep_free(slab)    # not give_back: it might unmap the slab that this walk stands on
            slab = slab.following

    cdef Py_ssize_t release_free(self) noexcept:
        """Unmap all slabs on the free lists; return how many bytes that were."""
        cdef Py_ssize_t before = self.kept_bytes
        cdef int index
        for index in range(LIST_COUNT):
            self._shorten(&self.free_lists[index], 0)
        return before - self.kept_bytes

    cdef Py_ssize_t trim_idle(self) noexcept:
        """Unmap the slabs that were not needed since the last call; return how many bytes that were.

        With several loops on one pool it is called more often: the timer of each calls it after its own IDLE_SECONDS.
        """
        cdef Py_ssize_t before = self.kept_bytes
        cdef int index
        for index in range(LIST_COUNT):
            self._shorten(&self.free_lists[index], self.free_lists[index].count - self.free_lists[index].unneeded)
        self.trimmed_at = poolio_seconds()
        return before - self.kept_bytes

    cdef void _shorten(self, FreeList *free, Py_ssize_t keep) noexcept:
        cdef Slab **link = &free.first
        cdef Slab *slab
        cdef Slab *following
        cdef Py_ssize_t _kept
        for _kept in range(keep):
            link = &link[0].next_free
        slab = link[0]
        link[0] = NULL
        free.count = keep
        free.unneeded = keep
        while slab != NULL:
            following = slab.next_free
            self.kept_bytes -= slab.capacity
            self._unmap_slab(slab)
            slab = following

    cdef Survey survey(self) noexcept:
        cdef Survey found
        cdef Slab *slab = self.all_slabs
        memset(&found, 0, sizeof(found))
        while slab != NULL:
            if slab.live == 0:
                found.free += 1
                found.free_bytes += slab.capacity
                found.carved_free += slab.carver != NULL
            else:
                found.used += 1
                found.used_bytes += slab.top if slab.carver != NULL else slab.capacity
                found.live += slab.live
            slab = slab.following
        return found

    cpdef check(self):
        """Raise AssertionError unless the accounting adds up; for tests and debug builds.

        Over all slabs: reserved = sum of capacities; allocations + reservations = sum of live; a slab that
        holds nothing and that nobody carves from is on a free list; a carver and its slab know each other.
        """
        cdef Survey found = self.survey()
        cdef Py_ssize_t count = 0, reserved = 0, oversize = 0, listed = 0, listed_bytes = 0
        cdef Slab *slab = self.all_slabs
        cdef int index
        while slab != NULL:
            count += 1
            _check_slab(slab)
            if slab.list_index == OVERSIZE:
                oversize += slab.capacity
            else:
                reserved += slab.capacity
            slab = slab.following
        for index in range(LIST_COUNT):
            _count_list(&self.free_lists[index], &listed, &listed_bytes)
        _ensure(count == self.slab_count, "every slab is counted")
        _ensure(reserved == self.reserved_bytes, "reserved bytes are the sum of the slabs")
        _ensure(oversize == self.oversize_bytes, "oversize bytes are the sum of the oversize slabs")
        _ensure(found.free - found.carved_free == listed, "what nobody uses is on a free list")
        _ensure(listed_bytes == self.kept_bytes, "kept bytes are the sum of the free lists")
        _ensure(found.live == self.live_allocations - self.own_allocations + self.open_reservations,
                "what lies in slabs is allocations and reservations")
        _ensure(self.live_buffers >= self.live_allocations, "every allocation has a Buffer")
        _ensure(0 <= self.hidden_bytes <= self.live_bytes, "what is hidden is live")
        _ensure(found.used_bytes + self.own_bytes >= self.live_bytes, "what is live lies in memory that is used")
        _ensure(self.max_bytes_or_none < 0 or self.reserved_bytes <= self.max_bytes_or_none,
                "reserved bytes stay within max_bytes")
        _ensure(self.sites is None or len(self.sites) == self.live_allocations, "every allocation's site is known")


# --- carving ------------------------------------------------------------------------------------------------------

cdef char *carve_zeroed(SlabStore store, Slab *slab, Py_ssize_t size) noexcept:
    cdef Py_ssize_t unclean = slab.written - slab.top
    cdef char *memory = carve(store, slab, size)
    if unclean > 0:
        memset(memory, 0, <size_t>min(size, unclean))
    return memory


cdef char *carve_whole(SlabStore store, Slab *slab, Py_ssize_t size, bint zeroed) noexcept:
    ensure(slab.live == 0 and slab.carver == NULL and size <= slab.capacity)
    slab.top = slab.capacity
    slab.live = 1
    unpoison(slab.memory, <size_t>size)
    if zeroed:
        memset(slab.memory, 0, <size_t>min(size, slab.written))
    if size > slab.written and store.zeroing_mode != ON_RELEASE:
        slab.written = size
    return slab.memory


cdef char *hold_tail(SlabStore store, Slab *slab, Py_ssize_t *length) noexcept:
    cdef char *memory = slab.memory + slab.top
    open_tail(slab)
    slab.live += 1
    slab.written = slab.capacity        # a transport may write anywhere in it and not report that
    if store.zeroing_mode == ON_ALLOC and slab.received > slab.top:
        memset(memory, 0, <size_t>(slab.received - slab.top))
        slab.received = slab.top
    length[0] = slab.capacity - slab.top
    return memory


cdef void keep_of_tail(Slab *slab, Py_ssize_t size) noexcept:
    ensure(0 < size and size <= slab.capacity - slab.top)
    poison(slab.memory + slab.top + size, <size_t>(slab.capacity - slab.top - size))
    slab.top += aligned(size)
    if slab.top > slab.received:
        slab.received = slab.top


cdef void give_up_tail(SlabStore store, char *memory, Py_ssize_t length) noexcept:
    if store.zeroing_mode == ON_RELEASE:
        wipe(memory, length)
    poison(memory, <size_t>length)


cdef void wipe(char *memory, Py_ssize_t size) noexcept nogil:
    poolio_wipe(memory, <size_t>size)


cdef void forget(SlabStore store, char *memory, Py_ssize_t size) noexcept:
    if store.zeroing_mode == ON_RELEASE:
        wipe(memory, size)
    elif store.scribbles:
        memset(memory, SCRIBBLE, <size_t>size)


cdef int _check_slab(Slab *slab) except -1:
    _ensure(0 <= slab.top <= slab.capacity, "top lies inside the slab")
    _ensure(slab.top % ALIGNMENT == 0 or slab.top == slab.capacity, "top is aligned")
    _ensure(0 <= slab.written <= slab.capacity, "written lies inside the slab")
    _ensure(slab.live >= 0, "live is not negative")
    if slab.carver != NULL:
        _ensure(slab.carver[0] == slab, "a carver and its slab know each other")
        _ensure(slab.live > 0 or slab.top == 0, "an empty slab is carved from its start")
    return 0


cdef int _count_list(FreeList *free, Py_ssize_t *slabs, Py_ssize_t *size) except -1:
    cdef Py_ssize_t count = 0
    cdef Slab *slab = free.first
    while slab != NULL:
        _ensure(slab.live == 0 and slab.carver == NULL, "what is on a free list is nobody's")
        count += 1
        size[0] += slab.capacity
        slab = slab.next_free
    _ensure(count == free.count, "a free list knows its length")
    _ensure(0 <= free.unneeded <= count, "what was not needed is still on its list")
    slabs[0] += count
    return 0


cdef int _ensure(bint holds, str statement) except -1:
    if not holds:
        raise AssertionError(f"broken accounting; expected: {statement}")
    return 0
