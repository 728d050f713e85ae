"""Owns Chain: what was received and not yet used, as one byte sequence over the Buffers that it came in.

Refuses to know frames and streams. Called by FramedProtocol and streams, which put() what arrives, and by framing and
streams, which cut() what is complete. Only bytes that straddle two Buffers are copied, and small rests:

    feed   ──> put() ──> ┤ Link 0 ... 4099 ┤──┤ Link 4100 ... 8000 ┤ ──> cut(100): a slice, or a copy where it straddles
                                                                   └──> unpin(): at the end of the callback

A rest that is less than an eighth of the slab that it keeps moves to memory of the chain's own. Rests of later reads
move into the room behind it, and the next such memory is twice as large, up to 32 KiB: a peer that sends one byte at a
time costs two copies of each byte, and not an object for each. Small rests between large ones get no room.
"""

cimport cython
from cpython.buffer cimport PyObject_CheckBuffer
from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE,
)
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.string cimport memchr, memcmp, memcpy

from poolio.c.guard cimport ensure
from poolio.c.python cimport PY_SSIZE_T_MAX, PyIndex_Check, PyNumber_AsSsize_t, PyNumber_Index
from poolio.c.search cimport poolio_find
from poolio.memory.allocation cimport Allocation, ensure_alive, store_of
from poolio.memory.buffer cimport Buffer, new_own_buffer, slice_of
from poolio.memory.calls cimport check_call
from poolio.memory.compact cimport block_size, move_bytes, pins_too_much
from poolio.memory.digits cimport MOST_DIGITS, Digits, integer_of_frame, take_digits
from poolio.memory.pool cimport Pool, default_pool
from poolio.memory.slab cimport SlabStore
from poolio.memory.spares cimport SpareList, keep_struct, take_struct

from poolio.errors import FrameTooLarge

cdef enum:
    LARGEST_BLOCK = 32768       # bytes for small rests that move together: an eighth of a default slab

cdef SpareList spare_links


cdef Link *_new_link(Buffer buf) except NULL:
    cdef Link *link = <Link *>take_struct(&spare_links, sizeof(Link))
    if link == NULL:
        raise MemoryError("the system has no memory left for a chain")
    Py_INCREF(buf)
    link.buf = <PyObject *>buf
    link.data = buf.data
    link.length = buf.length
    link.room = 0
    link.following = NULL
    return link


cdef void _end_link(Link *link) noexcept:
    cdef PyObject *buf = link.buf
    keep_struct(&spare_links, link)
    Py_DECREF(<Buffer>buf)


@cython.final
@cython.no_gc
cdef class Chain:
    "Chain(pool=None)\n--\n\n" \
        """Buffers in order, as one byte sequence: append at the end, cut from the front.

    pool  what is appended and is no Buffer is copied into this pool; None means the default pool

    A Buffer is appended without a copy; you may release yours. `take` and `peek` give slices, or one copy from the
    first Buffer's pool where bytes of several are asked for: PoolExhausted at that pool's max_bytes, and nothing is
    lost. Asking for more bytes than there are is a ValueError.

    `find`, `take_until` and `take_int` search for a separator, a non-empty bytes-like object. The chain remembers how
    far it has searched: while an equal separator is searched for, and what is taken is before it, no byte is searched
    twice, however few arrive at a time.

    An operation that raises takes nothing, so all bytes are still there.

    `wanted` is for decoders: while there are fewer bytes than this, another try is in vain. What takes bytes out sets
    it to 0.
    """

    def __cinit__(self, *arguments, **options):
        if arguments or options:
            check_call(type(self), arguments, options)

    def __init__(self, pool=None):
        if pool is not None and not isinstance(pool, Pool):
            raise TypeError(f"a chain's pool must be a poolio.Pool or None, not {type(pool).__name__!r}")
        self.pool = pool

    def __dealloc__(self):
        while self.first != NULL:
            self._drop_first()

    def __len__(self):
        return self.size

    def __repr__(self):
        return f"<poolio.Chain of {self.size} bytes>"

    @property
    def contiguous(self):
        """How many bytes from the front lie in one Buffer, and can be taken without a copy."""
        return 0 if self.first == NULL else self.first.length

    def __getitem__(self, index):
        """The byte at an index, as an integer. A negative one counts from the end."""
        cdef Link *link
        cdef Py_ssize_t at
        if not PyIndex_Check(index):
            raise TypeError(f"a Chain index is an integer, not {type(index).__name__!r}; peek(count) gives a Buffer")
        at = PyNumber_AsSsize_t(index, NULL)
        if at < 0:
            at += self.size
        if not 0 <= at < self.size:
            raise IndexError(f"index {index} is outside a Chain of {self.size} bytes")
        link = self.first
        if at >= self.size - self.last.length:
            return <unsigned char>self.last.data[at - (self.size - self.last.length)]
        while at >= link.length:
            at -= link.length
            link = link.following
        return <unsigned char>link.data[at]

    def __iter__(self):
        raise TypeError("a Chain is not iterable; peek(count) gives a Buffer, which is")

    cpdef object append(self, data):
        """Put a Buffer at the end, or a copy of any other bytes-like object."""
        cdef Buffer buf
        if isinstance(data, Buffer):
            ensure_alive(<Buffer>data)
            buf = slice_of(<Buffer>data, 0, (<Buffer>data).length)
        else:
            buf = (self.pool or default_pool()).from_bytes(data)
        if buf.length > 0:
            self.put(buf)

    def take(self, count):
        """Take the first `count` bytes out of the chain; return them as a Buffer."""
        return self.cut(self._within(count))

    def peek(self, count):
        """Return the first `count` bytes as a Buffer; they stay in the chain."""
        cdef Py_ssize_t size = self._within(count)
        if size > 0 and size <= self.first.length:
            return slice_of(<Buffer>self.first.buf, self.first.data - (<Buffer>self.first.buf).data, size)
        return self._copy(self.first, 0, size)

    def advance(self, count):
        """Drop the first `count` bytes."""
        self.drop(self._within(count))

    def clear(self):
        """Drop all bytes."""
        self.drop(self.size)

    def startswith(self, prefix):
        """Does the chain begin with `prefix`, a bytes-like object or a tuple of them? False if it is shorter."""
        if isinstance(prefix, tuple):
            for one in <tuple>prefix:
                if self._begins_with(bytes_of("prefix", one)):
                    return True
            return False
        return self._begins_with(bytes_of("prefix", prefix))

    def find(self, separator, Py_ssize_t start=0):
        """Return the lowest index at or behind `start` where the separator begins; -1 if it is not there."""
        if start < 0:
            raise ValueError(f"start must not be below 0, but it is {start}")
        return max(self._seek(bytes_of("separator", separator), start, PY_SSIZE_T_MAX), -1)

    def take_until(self, separator, Py_ssize_t limit=65536):
        """Take out what is before the separator, and drop the separator. None if it has not come yet.

        limit  the most bytes before the separator, 64 KiB by default as for a StreamReader; FrameTooLarge beyond, also
               when the separator has not come
        """
        cdef bytes found_by = bytes_of("separator", separator)
        cdef Py_ssize_t found
        if limit < 0:
            raise ValueError(f"limit must be at least 0 bytes, not {limit}")
        found = self._seek(found_by, 0, limit)
        if found >= 0:
            return self.cut_out(0, found, PyBytes_GET_SIZE(found_by))
        if found == TOO_FAR:
            raise FrameTooLarge(limit + 1, limit)
        return None

    def take_int(self, separator, base=10, *, digits=20, least=None, most=None):
        """Take out the integer before the separator, and drop the separator. None if the separator has not come yet.

        base    10 or 16
        digits  the most digits, leading zeros included, 4300 at most; any integer of 64 bits has 20 or fewer
        least   the lowest number allowed; None means any. Unless it is negative or None, there must be no sign
        most    the highest number allowed; None means any

        FrameError for anything but digits with at most one sign before them, for more digits, and for a number that is
        not in least..most. It does not show what the peer has sent, but one wrong byte or a number of 20 digits.
        """
        cdef bytes found_by = bytes_of("separator", separator)
        cdef Py_ssize_t found
        cdef Digits allowed
        take_digits(&allowed, base, digits)
        least = None if least is None else PyNumber_Index(least)
        most = None if most is None else PyNumber_Index(most)
        found = self._seek(found_by, 0, allowed.most + 1)
        if found == NOT_YET:
            return None
        number = self._integer(allowed.most + 2 if found == TOO_FAR else found, &allowed, least, most)
        self.drop(found + PyBytes_GET_SIZE(found_by))
        return number

    def check(self):
        """Raise AssertionError unless the links add up to the size."""
        cdef Link *link = self.first
        cdef Link *last = NULL
        cdef Py_ssize_t size = 0
        while link != NULL:
            if link == self.begun_in and size != self.begun_at:
                raise AssertionError(f"{self!r}: a search would begin at {self.begun_at} instead of {size}")
            start = link.data - (<Buffer>link.buf).data
            if not 0 <= start <= start + link.length <= (<Buffer>link.buf).length or link.length == 0:
                raise AssertionError(f"{self!r}: a link of {link.length} bytes lies outside its Buffer")
            size += link.length
            last = link
            link = link.following
        if size != self.size or (last != NULL and last != self.last) or not 0 <= self.searched <= size:
            raise AssertionError(f"{self!r}: its links hold {size} bytes, {self.searched} are searched")

    cdef bint _begins_with(self, bytes prefix) noexcept:
        cdef Py_ssize_t length = PyBytes_GET_SIZE(prefix)
        if length > self.size:
            return False
        if length == 0 or length <= self.first.length:
            return length == 0 or memcmp(self.first.data, PyBytes_AS_STRING(prefix), <size_t>length) == 0
        return _lies_at(self.first, 0, PyBytes_AS_STRING(prefix), length)

    cdef object _integer(self, Py_ssize_t length, Digits *allowed, least, most):
        """Return the integer that the first `length` bytes are, at most two more than its digits; else FrameError."""
        cdef char copy[MOST_DIGITS + 2]
        cdef const char *text = copy
        if length > 0 and length <= self.first.length:
            text = self.first.data
        else:
            self.read_into(copy, length)
        return integer_of_frame(text, length, allowed, least, most)

    cdef Py_ssize_t _within(self, count) except -1:
        cdef Py_ssize_t size = PyNumber_AsSsize_t(count, NULL)
        if not 0 <= size <= self.size:
            raise ValueError(f"count must be in 0..{self.size}, the bytes of the chain, not {count}")
        return size

    # --- in C -------------------------------------------------------------------------------------------

    cdef int put(self, Buffer buf) except -1:
        cdef Link *link = _new_link(buf)
        ensure(link.length > 0)
        if self.first == NULL:
            self.first = link
        else:
            self.last.following = link
        self.last = link
        self.size += link.length
        if self.to_discard > 0:
            self.discard(self.to_discard)
        return 0

    cdef Buffer cut(self, Py_ssize_t count):
        """Take out the first `count` bytes, 0 to size."""
        return self.cut_out(0, count, 0)

    cdef list cut_all(self):
        cdef list taken = []
        while self.size > 0:
            taken.append(self.cut(self.first.length))
        return taken

    cdef bytes copy(self):
        if self.to_discard != 0:
            raise RuntimeError("a frame that is too large is being dropped, and its rest is still to come")
        copied = PyBytes_FromStringAndSize(NULL, self.size)
        self.read_into(PyBytes_AS_STRING(copied), self.size)
        return copied

    cdef Buffer cut_out(self, Py_ssize_t before, Py_ssize_t count, Py_ssize_t behind):
        """Drop `before` bytes, take out `count` and drop `behind`. If there is no memory, nothing is lost."""
        cdef Link *link = self.first
        cdef Py_ssize_t start = before
        cdef Buffer buf
        if count > 0:
            while start >= link.length:
                start -= link.length
                link = link.following
        if count == 0 or start + count > link.length:
            buf = self._copy(link, start, count)
        elif count == (<Buffer>link.buf).length:
            buf = <Buffer>link.buf
        else:
            buf = slice_of(<Buffer>link.buf, link.data - (<Buffer>link.buf).data + start, count)
        self.drop(before + count + behind)
        return buf

    cdef Buffer _copy(self, Link *link, Py_ssize_t start, Py_ssize_t count):
        """Copy `count` bytes from byte `start` of a link on.

        The copy lies in the pool of the link's Buffer, or in the chain's pool if the link is NULL.
        """
        cdef Pool pool
        cdef Buffer copy
        if link == NULL:
            pool = self.pool or default_pool()
        else:
            pool = <Pool>store_of(<Buffer>link.buf)
        copy = pool.allocate_to_fill(count)
        read_from(link, start, copy.data, count)
        return copy

    cdef void read_into(self, char *target, Py_ssize_t count) noexcept:
        """Copy the first `count` bytes, 0 to size."""
        read_from(self.first, 0, target, count)

    cdef void drop(self, Py_ssize_t count) noexcept:
        """Drop the first `count` bytes, 0 to size."""
        ensure(0 <= count and count <= self.size)
        self.size -= count
        self.wanted = 0
        self.searched = max(self.searched - count, 0)
        self.begun_at = max(self.begun_at - count, 0)
        while count > 0 and count >= self.first.length:
            count -= self.first.length
            self._drop_first()
        if count > 0:
            self.first.data += count
            self.first.length -= count

    cdef void discard(self, Py_ssize_t count) noexcept:
        """Drop the next `count` bytes, also those that are still to come."""
        cdef Py_ssize_t here = min(count, self.size)
        self.to_discard = count - here
        self.drop(here)

    cdef void _drop_first(self) noexcept:
        cdef Link *link = self.first
        self.first = link.following
        if self.looked_at == link:
            self.looked_at = NULL
        if self.begun_in == link:
            self.begun_in = NULL
        _end_link(link)

    cdef Py_ssize_t bytes_in(self, Pool pool) noexcept:
        """Return how many bytes lie in slabs of this pool."""
        cdef Link *link = self.first
        cdef Allocation *allocation
        cdef Py_ssize_t held = 0
        while link != NULL:
            allocation = (<Buffer>link.buf).allocation
            if allocation.store == <PyObject *>pool and allocation.slab != NULL:
                held += link.length
            link = link.following
        return held

    # --- searching --------------------------------------------------------------------------------------

    cdef Py_ssize_t _seek(self, bytes separator, Py_ssize_t start, Py_ssize_t limit) except -3:
        """Return the lowest index in start..limit where the separator begins, NOT_YET or TOO_FAR.

        The chain remembers a range: no separator that begins in the last `reach` bytes of the first `searched` bytes
        ends in them. What is searched here and borders on it is added to it; otherwise it is all that is remembered.
        """
        cdef Py_ssize_t length = PyBytes_GET_SIZE(separator)
        cdef Py_ssize_t stop = limit + length if limit < self.size - length else self.size
        cdef Py_ssize_t begin, at, found
        if length == 0:
            raise ValueError("an empty separator is found everywhere")
        if start > self.size:
            return NOT_YET
        if self.searched_for is not separator and self.searched_for != separator:
            self.searched = 0
            self.reach = 0
            self.searched_for = separator
        begin = self.searched - self.reach
        at = max(self.searched - length + 1, 0)
        if start < begin or start > at:
            begin = start
            at = start
            self.searched = start
        found = self.find_from(at, stop, PyBytes_AS_STRING(separator), length)
        self.searched = found + length - 1 if found >= 0 else max(self.searched, stop)
        self.reach = self.searched - begin
        if found >= 0:
            return found
        return TOO_FAR if limit <= self.size - length else NOT_YET

    cdef Py_ssize_t find_from(self, Py_ssize_t start, Py_ssize_t stop, const char *needle, Py_ssize_t length) noexcept:
        """Return where the first needle begins that lies between `start` and `stop`; -1 if there is none."""
        cdef Link *link = self.first
        cdef Py_ssize_t at = 0              # index of the link's first byte
        cdef Py_ssize_t here, end, found
        if self.begun_in != NULL and self.begun_at <= start:
            link = self.begun_in            # links that were searched are not walked over again
            at = self.begun_at
        while link != NULL and at + link.length <= start:
            at += link.length
            link = link.following
        self.begun_in = link
        self.begun_at = at
        while link != NULL and start + length <= stop:
            here = start - at
            end = min(link.length, stop - at)
            found = poolio_find(link.data + here, end - here, needle, length)
            if found >= 0:
                return start + found
            start = at + max(end - length + 1, here)
            if start + length <= stop:      # it may begin here and end in a later link
                found = _find_across(link, start - at, stop - at, needle, length)
                if found >= 0:
                    return at + found
            at += link.length
            start = at
            link = link.following
        return -1

    # --- keeping little ---------------------------------------------------------------------------------

    cdef int unpin(self) except -1:
        """Called when the chain's owner waits for more: move the small rests that pin much memory."""
        if self.last == NULL or self.last == self.looked_at:
            return 0
        return self._unpin()

    cdef int _unpin(self) except -1:
        cdef Link *before = self.looked_at
        cdef Link *link
        while True:
            link = self.first if before == NULL else before.following
            if link == NULL:
                break
            if pins_too_much((<Buffer>link.buf).allocation, link.length + link.room):
                if before != NULL and before.room >= link.length:
                    _move_behind(before, link)
                    before.following = link.following
                    if self.last == link:
                        self.last = before
                    if self.begun_in == link:
                        self.begun_in = NULL
                    _end_link(link)
                    continue
                _move_out(link, block_size(link.length, _block_of(before), min(self.size, LARGEST_BLOCK)))
            before = link
        self.looked_at = before
        return 0


cdef bytes bytes_of(name, value):
    """Return a bytes-like object as `bytes`: nobody changes them, and no code of other people runs behind this."""
    if PyBytes_CheckExact(value):
        return <bytes>value
    if not PyObject_CheckBuffer(value):
        raise TypeError(f"a {name} is a bytes-like object, not {type(value).__name__!r}")
    return bytes(value)


cdef void read_from(Link *link, Py_ssize_t start, char *target, Py_ssize_t count) noexcept:
    """Copy `count` bytes, which are there, from this place of a link on."""
    cdef Py_ssize_t part
    while count > 0:
        part = min(count, link.length - start)
        memcpy(target, link.data + start, <size_t>part)
        target += part
        count -= part
        start = 0
        link = link.following


cdef Py_ssize_t _find_across(
    Link *link, Py_ssize_t start, Py_ssize_t stop, const char *needle, Py_ssize_t length
) noexcept:
    """As find_from(), for a needle that begins in this link and ends in a later one. Indices are the link's."""
    cdef Py_ssize_t last = min(link.length, stop - length + 1)
    cdef const char *at
    while start < last:
        at = <const char *>memchr(link.data + start, needle[0], <size_t>(last - start))
        if at == NULL:
            break
        start = at - link.data
        if _lies_at(link, start, needle, length):
            return start
        start += 1
    return -1


cdef bint _lies_at(Link *link, Py_ssize_t start, const char *needle, Py_ssize_t length) noexcept:
    cdef Py_ssize_t index
    for index in range(length):
        while start == link.length:
            link = link.following
            start = 0
        if link.data[start] != needle[index]:
            return False
        start += 1
    return True


cdef Py_ssize_t _block_of(Link *link) noexcept:
    """The size of the block of the chain's own that a link lies in; 0 if it lies in none."""
    if link == NULL or (<Buffer>link.buf).allocation.slab != NULL:
        return 0
    return (<Buffer>link.buf).allocation.size


cdef int _move_out(Link *link, Py_ssize_t capacity) except -1:
    """Move a link's bytes into memory of the chain's own, with room behind them."""
    cdef Buffer old = <Buffer>link.buf
    cdef SlabStore store = store_of(old)
    cdef Buffer own = new_own_buffer(store, capacity, False)
    move_bytes(<PyObject *>store, own.data, link.data, link.length)
    link.data = own.data
    link.room = capacity - link.length
    link.buf = <PyObject *>own
    Py_INCREF(own)
    Py_DECREF(old)
    return 0


cdef void _move_behind(Link *before, Link *link) noexcept:
    """Move a link's bytes into the room behind another link."""
    ensure(link.length <= before.room)
    move_bytes((<Buffer>before.buf).allocation.store, <char *>before.data + before.length, link.data, link.length)
    before.length += link.length
    before.room -= link.length
