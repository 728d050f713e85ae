"""Owns the public allocations: which size goes where, zeroed or not, and what `statistics()` and `report()` tell. Also
owns the default pool.

Refuses to know how slabs are kept (slab) and what a Buffer does with its bytes (buffer). Called by users; by chain and
framing for what they make; by the datagram modules, inbox and datagram.

    size 0                     an empty Buffer, no memory
    up to slab_size/4          carved from the current slab, inclusive
    up to 16 * slab_size       a slab of a size class, kept on a free list of its own afterwards
    above                      straight from the system, returned to it when dropped
"""

from collections import namedtuple

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_Free
from libc.string cimport memcpy

cimport cython
from poolio.c.faults cimport poolio_malloc
from poolio.c.python cimport PY_SSIZE_T_MAX, PyGC_Disable, PyGC_Enable, PyIndex_Check, PyNumber_AsSsize_t
from poolio.memory.allocation cimport Allocation
from poolio.memory.buffer cimport Buffer, new_buffer, new_own_buffer
from poolio.memory.slab cimport (
    NEVER, ON_ALLOC, ON_RELEASE, Slab, SlabStore, Survey, begin_carving, carve, carve_whole, carve_zeroed, end_carving,
)

from poolio import debug
from poolio.memory.slab import BUILD_VARIANT, MAX_SLAB_SIZE, MIN_SLAB_SIZE, ZEROING_NAMES

# 256 KiB: with messages of 1 MiB, reads of that size beat reads of 64 KiB by 1.6; larger ones gain nothing more.
DEFAULT_SLAB_SIZE = 262144
# Read once, and out of Python's reach: no code can take back what the environment has asked for.
cdef bint zero_fill_is_set = debug.is_set("POOLIO_ZERO_FILL")
# Rounding up to the alignment and to a size class must not overflow.
cdef Py_ssize_t MAX_SIZE = PY_SSIZE_T_MAX // 4

Statistics = namedtuple("Statistics", [
    "live_bytes", "live_allocations", "live_buffers", "pinned_bytes", "reserved_bytes", "oversize_bytes",
    "unpooled_bytes", "slabs", "slabs_used", "slabs_free", "free_bytes", "reuses", "copied_bytes",
])
Statistics.__module__ = "poolio"
Statistics.__doc__ = """A pool's figures at one moment. Bytes unless stated; a frozen record.

live_bytes        in allocations that somebody holds
live_allocations  how many those are
live_buffers      how many holders they have: Buffers, slices included, and pieces of write queues
pinned_bytes      memory in use that no live Buffer shows: it is kept only because a piece of it, or a neighbour, is.
                  detach() on every Buffer would give back this much at most
reserved_bytes    slabs and size classes mapped, in use or free; max_bytes bounds this figure
oversize_bytes    mapped for single allocations above the largest size class
unpooled_bytes    in memory of its own (alloc_unpooled, detach)
slabs             slabs mapped, of every kind
slabs_used        slabs in which something lives
slabs_free        the other slabs
free_bytes        in the free slabs: what trim() would give back
reuses            times that memory was used again instead of being asked of the system
copied_bytes      copied on the user's behalf (detach, snapshots of mutable data on write), or to unpin memory (small
                  rests of chains and write queues that moved)
"""


def _zeroing_mode(name):
    if name not in ZEROING_NAMES:
        raise ValueError(f"zeroing must be one of {', '.join(ZEROING_NAMES)}, not {name!r}")
    return ON_ALLOC if name == "never" and zero_fill_is_set else ZEROING_NAMES.index(name)


cdef class Pool(SlabStore):
    "Pool(slab_size=262144, zeroing='never', max_bytes=None)\n--\n\n" \
        """A pool of reused memory.

    slab_size  bytes in a slab, 4096 to 2**30 and a multiple of 64; small allocations share one
    zeroing    "never": `alloc_unsafe` shows what was there before; `alloc` is zeroed.
               "on_alloc": every allocation is zeroed before it is handed out.
               "on_release": memory is wiped when its last holder drops it, and is zero before its first use.
               POOLIO_ZERO_FILL=1 in the environment, when poolio is imported, raises "never" to "on_alloc" for good.
    max_bytes  the most that slabs and size classes may reserve, at least one slab; PoolExhausted beyond it.
               None means no limit. Oversize and unpooled allocations are not counted.

    A Buffer keeps its pool alive. Memory is given back by dropping Buffers; any thread may do so, and loops in several
    threads may share a pool. After a fork each process goes on with a pool of its own.

    Emptied slabs are kept for the next burst, up to 64 MiB. Slabs that were not needed for 10 seconds go back to the
    system, if a loop reads into the pool or slabs keep coming and going; a program in which neither happens can call
    `trim()`.

    If POOLIO_DEBUG=1 is in the environment when the pool is made, Buffers know where they were allocated
    (`allocated_at`, `report()`), memory is overwritten with 0xDD when its allocation ends, and what is still held at
    exit is reported.
    """

    def __init__(self, slab_size=DEFAULT_SLAB_SIZE, zeroing="never", max_bytes=None):
        size = _as_int(slab_size, "slab_size")
        if not MIN_SLAB_SIZE <= size <= MAX_SLAB_SIZE or size % 64:
            raise ValueError(
                f"slab_size must be a multiple of 64 in {MIN_SLAB_SIZE}..{MAX_SLAB_SIZE}, not {slab_size}"
            )
        mode = _zeroing_mode(zeroing)
        limit = -1
        if max_bytes is not None:
            limit = _as_int(max_bytes, "max_bytes")
            if not size <= limit <= PY_SSIZE_T_MAX:
                raise ValueError(
                    f"max_bytes must hold at least one slab, so be in {size}..{PY_SSIZE_T_MAX}, not {max_bytes}"
                )
        if self.all_slabs != NULL or self.live_allocations > 0:
            raise RuntimeError("a pool in use cannot be initialised again")
        self.slab_size = size
        self.small_limit = self.slab_size // 4
        self.zeroing_mode = mode
        self.max_bytes_or_none = limit
        self.sites = {} if debug.is_set("POOLIO_DEBUG") else None
        self.scribbles = self.sites is not None or BUILD_VARIANT in ("debug", "sanitize", "fuzz")
        self.cleans_up = self.scribbles or mode == ON_RELEASE
        if self.sites is not None:
            debug.watch(self)

    def __dealloc__(self):
        end_carving(self, &self.current)

    def __repr__(self):
        return (f"<poolio.Pool of {self.slab_size}-byte slabs, zeroing {self.zeroing}, "
                f"{self.live_bytes} bytes live in {self.reserved_bytes}>")

    @property
    def zeroing(self):
        """The zeroing mode in force: "never", "on_alloc" or "on_release"."""
        return ZEROING_NAMES[self.zeroing_mode]

    @property
    def max_bytes(self):
        """The most bytes that may be reserved; None means no limit."""
        return None if self.max_bytes_or_none < 0 else self.max_bytes_or_none

    def __sizeof__(self):
        """Bytes of the object and of its slabs, except those that live allocations account for."""
        cdef Py_ssize_t handed_out = self.live_bytes - self.own_bytes
        return (type(self).__basicsize__ + self.slab_count * <Py_ssize_t>sizeof(Slab)
                + self.reserved_bytes + self.oversize_bytes - handed_out)

    def alloc(self, size):
        """A zeroed Buffer of `size` bytes. Errors as for `alloc_unsafe`."""
        return self._allocate(_as_size(size), True)

    def alloc_unsafe(self, size):
        """A Buffer of `size` bytes that still shows what was in that memory before, unless the pool zeroes.

        Fill it before you show it to anybody. ValueError for a size below 0 or beyond the address space, TypeError for
        a size that is no integer, PoolExhausted at max_bytes, MemoryError when the system has no memory.
        """
        return self._allocate(_as_size(size), self.zeroing_mode != NEVER)

    def alloc_unpooled(self, size):
        """A zeroed Buffer of `size` bytes in memory of its own, for small things that are kept long. It pins no slab.

        It is not counted against max_bytes. Other errors as for `alloc_unsafe`.
        """
        return new_own_buffer(self, _as_size(size), True)

    def from_bytes(self, data):
        """A writable Buffer with a copy of any contiguous bytes-like object.

        TypeError for any other object; PoolExhausted and MemoryError as for `alloc_unsafe`.
        """
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            return self._copy_of(<const char *>view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    def concat(self, buffers):
        """One writable Buffer with a copy of all these bytes-like objects, in order.

        TypeError for any other object, OverflowError beyond the address space; other errors as for `alloc_unsafe`.
        """
        cdef list pieces = list(buffers)
        cdef Py_ssize_t count = len(pieces)
        cdef Py_ssize_t taken = 0, at = 0
        cdef Py_ssize_t total = 0
        cdef Py_buffer *views = <Py_buffer *>poolio_malloc(<size_t>(count + 1) * sizeof(Py_buffer))
        cdef Buffer joined
        if views == NULL:
            raise MemoryError(f"the system has no memory left to look at {count} buffers")
        try:
            while taken < count:
                PyObject_GetBuffer(pieces[taken], &views[taken], PyBUF_SIMPLE)
                taken += 1
                if views[taken - 1].len > MAX_SIZE - total:
                    raise OverflowError(f"a Buffer holds at most {MAX_SIZE} bytes; these are more")
                total += views[taken - 1].len
            joined = self._allocate(total, False)
            for index in range(count):
                memcpy(joined.data + at, views[index].buf, <size_t>views[index].len)
                at += views[index].len
            return joined
        finally:
            while taken > 0:
                taken -= 1
                PyBuffer_Release(&views[taken])
            PyMem_Free(views)

    @staticmethod
    @cython.binding(True)
    def from_pickle(data, frozen):
        """Called by unpickling. Memory of a Buffer that was given out of band is shared; anything else is copied."""
        cdef Buffer buf
        if isinstance(data, Buffer):
            buf = <Buffer>data
            buf = buf[:]
        else:
            buf = _default.from_bytes(data)
        return buf.freeze() if frozen else buf

    def trim(self):
        """Give all free memory back to the system; return how many bytes that were."""
        self.reclaim_carved()
        return self.release_free()

    def _trim_idle(self):
        """Do what a loop's timer does; for the tests."""
        return self.trim_idle()

    def statistics(self):
        """The pool's figures now: a `Statistics` record. It takes longer with more slabs, not with more Buffers."""
        cdef Survey found = self.survey()
        return Statistics(
            live_bytes=self.live_bytes,
            live_allocations=self.live_allocations,
            live_buffers=self.live_buffers,
            pinned_bytes=found.used_bytes + self.own_bytes - (self.live_bytes - self.hidden_bytes),
            reserved_bytes=self.reserved_bytes,
            oversize_bytes=self.oversize_bytes,
            unpooled_bytes=self.own_bytes,
            slabs=self.slab_count,
            slabs_used=found.used,
            slabs_free=found.free,
            free_bytes=found.free_bytes,
            reuses=self.reuses,
            copied_bytes=self.copied_bytes,
        )

    def report(self):
        """Text for people: each slab in use, and while debugging (POOLIO_DEBUG=1) what pins it: every allocation with
        its size, how much of it Buffers still show, and where it was made.
        """
        cdef int collecting = PyGC_Disable()     # a collection could drop Buffers, and unmap the slab looked at
        try:
            lines = self._slab_lines()
        finally:
            if collecting:
                PyGC_Enable()
        if self.sites is None:
            lines.append("set POOLIO_DEBUG=1 to see who holds what")
        return "\n".join([repr(self), *lines])

    cdef list _slab_lines(self):
        cdef Slab *slab = self.all_slabs
        lines = []
        while slab != NULL:
            if slab.live > 0:
                lines.append(f"slab of {slab.capacity} bytes, {slab.top} carved, {slab.live} holder(s)")
                lines += _allocation_lines(self, slab)
            slab = slab.following
        return lines + _allocation_lines(self, NULL)

    cdef Buffer allocate(self, Py_ssize_t size):
        if not 0 <= size <= MAX_SIZE:
            _raise_size(size)
        return self._allocate(size, self.zeroing_mode != NEVER)

    cdef Buffer allocate_zeroed(self, Py_ssize_t size):
        if not 0 <= size <= MAX_SIZE:
            _raise_size(size)
        return self._allocate(size, True)

    cdef Buffer allocate_to_fill(self, Py_ssize_t size):
        return self._allocate(size, False)

    cdef Buffer _allocate(self, Py_ssize_t size, bint zeroed):
        cdef Slab *slab = self.current
        cdef char *memory
        if slab == NULL or size > slab.capacity - slab.top or size > self.small_limit or size == 0:
            return self._allocate_slow(size, zeroed)
        memory = carve_zeroed(self, slab, size) if zeroed else carve(self, slab, size)
        return new_buffer(self, slab, memory, size)

    cdef Buffer _allocate_slow(self, Py_ssize_t size, bint zeroed):
        cdef Slab *slab
        if size == 0:
            return new_own_buffer(self, 0, False)
        if size <= self.small_limit:
            end_carving(self, &self.current)
            begin_carving(self.take_small(), &self.current)
            return self._allocate(size, zeroed)
        slab = self.take_large(size)
        return new_buffer(self, slab, carve_whole(self, slab, size, zeroed), size)

    cdef Buffer _copy_of(self, const char *data, Py_ssize_t size):
        cdef Buffer buf = self._allocate(size, False)
        memcpy(buf.data, data, <size_t>size)
        return buf


cdef list _allocation_lines(Pool pool, Slab *slab):
    """The allocations in this slab, or for NULL those in memory of their own, with their sites.

    Empty unless debugging.
    """
    cdef Allocation *allocation
    lines = []
    for address, site in (pool.sites or {}).items():
        # SAFE: it is in sites only while it has holders, and nothing runs meanwhile that could drop them (report)
        allocation = <Allocation *><Py_ssize_t>address
        if allocation.slab == slab:
            shown = min(allocation.shown, allocation.size)
            lines.append(f"  {allocation.size} bytes, {shown} shown by {allocation.holders} Buffer(s), allocated at")
            lines += [f"    {line}" for line in site or ["(no Python code)"]]
    return lines


cdef Py_ssize_t _as_size(size) except -1:
    if not PyIndex_Check(size):
        raise TypeError(f"size must be an integer, not {type(size).__name__!r}")
    cdef Py_ssize_t number = PyNumber_AsSsize_t(size, NULL)
    if not 0 <= number <= MAX_SIZE:
        _raise_size(size)
    return number


cdef int _raise_size(size) except -1:
    raise ValueError(f"size must be in 0..{MAX_SIZE} bytes, not {size}")


def _as_int(value, name):
    if not PyIndex_Check(value):
        raise TypeError(f"{name} must be an integer, not {type(value).__name__!r}")
    return value.__index__()


cdef Pool _default = Pool()

cpdef Pool default_pool():
    """The pool behind `poolio.alloc` and its siblings, and the pool of every protocol that sets none."""
    return _default
