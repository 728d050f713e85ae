"""Owns the slab that a loop's connections are read into, and the reservations on its tail.

Refuses to know sockets and protocols, and what happens when the pool has no memory (shortage). Called by poolio's own
transports, which read at once, by shortage, and by poolio.Protocol on a loop's own transports: reserve() when the
transport asks where to put data, commit() when it says how much came. There is one ReadSlab for each pair of pool and
loop; it lives as long as a protocol or transport that uses it, or its timer.

    0                        top                                            capacity
    ├─ read, held ───────────┼── the tail: a reservation, or nobody's ──────────┤
                             ├─ Buffer of n bytes ─┼─ room for the next one ────┤   after commit(n) or take(n)

A reservation can stay open: TLS ends every drain by asking for room that it does not fill. So a reservation holds its
slab (nothing else is carved from the tail, and the slab does not begin again at 0) until one of these ends it:
commit(); another reserve() or make_room() on the same loop that finds no view of it alive; the end of the last
reference to it. A view may outlive commit() (uvloop keeps its own until buffer_updated() has returned): the slab is
held for the view, and the Buffer that was made is not affected. If a view is alive when the loop asks again, the room
stays with the view's owner and the loop goes on in another slab, so nobody sees another connection's bytes through an
old view.

Zeroing: a transport is trusted to report what it wrote. With on_alloc, a reservation's room is zeroed where earlier
data stood, so this costs as much as the bytes that came, not as the slab. With on_release, room that was given up
unfilled is wiped.

Idle memory: reading into a pool that has more than this slab starts a timer of the loop. It trims the pool every
IDLE_SECONDS for as long as slabs lie on the pool's free lists, and keeps the ReadSlab alive meanwhile.
"""

cimport cython
from cpython.object cimport PyObject
from cpython.ref cimport _Py_REFCNT

from poolio.c.guard cimport ensure
from poolio.memory.allocation cimport fill_view, new_holder
from poolio.memory.buffer cimport Buffer, new_buffer
from poolio.memory.pool cimport Pool
from poolio.memory.slab cimport (
    Slab, begin_carving, carve_received, close_tail, end_carving, enter_slab, give_up_tail, hold_tail, keep_of_tail,
    leave_slab, open_tail,
)

from poolio.memory.methods import forbid_new
from poolio.memory.slab import IDLE_SECONDS


@cython.final
@cython.no_gc
@cython.freelist(8)
cdef class Reservation:
    """Writable room for the next read: a bytes-like object with len(), slices (memoryviews) and slice assignment."""

    def __init__(self):
        raise TypeError("a Reservation is made by a protocol's get_buffer()")

    def __dealloc__(self):
        _end(self)

    def __len__(self):
        return self.length if self.is_open else 0

    def __getitem__(self, key):
        return memoryview(self)[key]

    def __setitem__(self, key, value):
        memoryview(self)[key] = value

    def __getbuffer__(self, Py_buffer *view, int flags):
        if not self.is_open:
            raise BufferError("this room was filled or given up; ask get_buffer() again")
        self.exports += 1
        fill_view(view, self, self.data, &self.length, False, flags)

    def __releasebuffer__(self, Py_buffer *view):
        self.exports -= 1
        if self.exports == 0 and not self.is_open:
            _end(self)


cdef void _end(Reservation room) noexcept:
    cdef Slab *slab = room.slab
    if slab == NULL:
        return
    if room.is_open:
        give_up_tail(room.store, room.data, room.length)
    room.is_open = False
    room.data = NULL
    room.slab = NULL
    room.store.open_reservations -= 1
    leave_slab(room.store, slab)


@cython.final
@cython.no_gc_clear
cdef class ReadSlab:

    def __init__(self):
        raise TypeError("a ReadSlab is made by a protocol or transport")

    def __dealloc__(self):
        if self.pool is not None:
            _leave_list(self)
            if self.latest is not None and self.latest.exports == 0:
                _end(self.latest)
            end_carving(self.pool, &self.slab)

    cdef Reservation reserve(self):
        """Room for the next read: the rest of the slab, at least a quarter of one."""
        cdef Reservation room
        if self.latest is None or _Py_REFCNT(<PyObject *>self.latest) != 1 or self.latest.exports > 0:
            self._give_up_latest()
            self.latest = Reservation.__new__(Reservation)
            self.latest.store = self.pool
        elif self.latest.is_open:
            return self.latest
        room = self.latest
        self._need_slab()
        self.pool.open_reservations += 1
        room.slab = self.slab
        room.data = hold_tail(self.pool, self.slab, &room.length)
        room.is_open = True
        if self.timer is None and self.pool.slab_count > 1:
            self._trim_later()                    # this runs other people's code: the slab is held by now
        return room

    cdef bint make_room(self) except -1:
        """Make room for a read. False if there is no memory for it now: `refusal` says why."""
        if self.latest is not None and (self.latest.is_open or self.latest.exports > 0):
            self._give_up_latest()
        try:
            self._need_slab()
        except MemoryError as exc:              # PoolExhausted is a MemoryError
            self.refusal = exc
            return False
        open_tail(self.slab)
        return True

    cdef Buffer take(self, Py_ssize_t size):
        """Make the Buffer of the first `size` bytes of the room: 1 to the room's length."""
        cdef Pool pool = self.pool
        cdef Slab *slab = self.slab
        cdef char *memory = carve_received(pool, slab, size, size, 1)
        cdef Buffer buf
        if pool.slab_count == 1 or self.timer is not None:
            return <Buffer>new_holder(pool, slab, memory, size)
        buf = <Buffer>new_holder(pool, slab, memory, size)
        self._trim_later()                        # this runs other people's code: everything is in its place by now
        return buf

    cdef Slab *claim(self, Py_ssize_t size, Py_ssize_t extent, Py_ssize_t allocations) noexcept:
        """Carve the first `size` bytes of the room for so many allocations. The room was written to up to `extent`.

        The caller makes each allocation, or calls leave_slab() for it.
        """
        cdef Slab *slab = self.slab
        carve_received(<Pool><PyObject *>self.pool, slab, size, extent, allocations)
        return slab

    cdef object look_after_timer(self):
        if self.timer is None and self.pool.slab_count > 1:
            self._trim_later()

    cdef void leave(self) noexcept:
        """Close the room again, as nothing came."""
        close_tail(self.slab)

    cdef int _need_slab(self) except -1:
        if not has_room(self):
            end_carving(self.pool, &self.slab)
            begin_carving(self.pool.take_small(), &self.slab)
        return 0

    cdef void _give_up_latest(self) noexcept:
        if self.latest is None:
            return
        if self.latest.exports > 0:
            if self.latest.slab == self.slab:
                end_carving(self.pool, &self.slab)
            self.latest = None                    # it ends with its last view
        elif self.latest.is_open:
            _end(self.latest)

    cdef Buffer commit(self, Reservation room, Py_ssize_t size):
        """Make the Buffer of the first `size` bytes of the room, which is no longer reserved.

        RuntimeError if the room is not open, ValueError if `size` is not 1 to its length.
        """
        cdef Slab *slab
        cdef char *memory
        if room is None or not room.is_open:
            raise RuntimeError("buffer_updated() without room reserved by get_buffer()")
        if not 0 < size <= room.length:
            raise ValueError(f"buffer_updated() takes 1..{room.length} bytes, the room reserved, not {size}")
        slab = room.slab
        memory = room.data
        ensure(memory == slab.memory + slab.top and room.length == slab.capacity - slab.top)
        keep_of_tail(slab, size)
        room.is_open = False
        room.data = NULL
        if room.exports == 0:
            room.slab = NULL                      # its hold on the slab becomes the Buffer's
            self.pool.open_reservations -= 1
        else:
            enter_slab(slab)                      # the views keep their own hold
        return new_buffer(self.pool, slab, memory, size)

    cdef object _trim_later(self):
        self.timer = self.loop.call_later(IDLE_SECONDS, self._trim)

    def _trim(self):
        self.timer = None
        self.pool.trim_idle()
        if self.pool.kept_bytes > 0:
            self._trim_later()


forbid_new(ReadSlab)


cdef ReadSlab read_slab_for(Pool pool, object loop):
    """The ReadSlab of this pool on this loop, made if there is none.

    SAFE: the pool's list borrows; a ReadSlab keeps pool and loop alive, and leaves the list at its end.
    """
    cdef ReadSlab found
    cdef PyObject *listed = pool.readers
    while listed != NULL:
        if (<ReadSlab>listed).loop is loop:
            return <ReadSlab>listed
        listed = (<ReadSlab>listed).next_reader
    found = ReadSlab.__new__(ReadSlab)
    found.pool = pool
    found.loop = loop
    found.next_reader = pool.readers
    pool.readers = <PyObject *>found
    return found


cdef void _leave_list(ReadSlab slab) noexcept:
    cdef PyObject **listed = &slab.pool.readers
    while listed[0] != <PyObject *>slab:
        listed = &(<ReadSlab>listed[0]).next_reader
    listed[0] = slab.next_reader
