"""Owns Buffer: pooled bytes that slice without copying, compare, search, split and convert as `bytes` does.

Refuses to know how memory is found (pool, readslab), kept (allocation) or sent (writequeue). Called by users; made by
pool, readslab, inbox and slicing, and by chain and writequeue for the small pieces that they move together.

Code of other people can run in the middle of an operation (an __index__, a __buffer__, a codec) and release or
freeze the Buffer. So arguments are converted first and the Buffer is looked at afterwards, or the Buffer is exported
meanwhile.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free
from cpython.object cimport Py_EQ, Py_GT, Py_LE, Py_LT, Py_NE, PyObject, PyTypeObject
from cpython.slice cimport PySlice_Unpack
from libc.string cimport memcmp, memcpy, memmove

import pickle

from poolio.c.faults cimport poolio_calloc, poolio_malloc
from poolio.c.objects cimport poolio_hash
from poolio.c.python cimport (
    PY_SSIZE_T_MAX, PyIndex_Check, PyNumber_AsSsize_t, PyNumber_Index, PySeqIter_New,
    PyUnicode_DecodeUTF8,
)
from poolio.c.search cimport poolio_same_ignoring_case
from poolio.memory.allocation cimport (
    NOT_HASHED, Allocation, blank_holder, buffer_release, count_copied, ensure_alive, ensure_writable, join_allocation,
    make_holders, new_holder, store_of,
)
from poolio.memory.digits cimport integer_of_bytes
from poolio.memory.numbers cimport Numbers
from poolio.memory.pieces cimport (
    BOTH_ENDS, LEFT_END, RIGHT_END, parted, split_at, split_whitespace, stripped, without_prefix, without_suffix,
)
from poolio.memory.search cimport (
    COUNT, FIRST, LAST, Needle, Range, bound, byte_of, drop_needle, has_end, range_of, required, search, take_needle,
)
from poolio.memory.slab cimport Slab, SlabStore

from poolio.memory.methods import own_methods

cdef char NOWHERE[8]        # what an empty Buffer points at: never read, never written


@cython.final
cdef class Buffer(Numbers):
    """A contiguous range of pooled bytes.

    Made by a pool (`alloc`, `alloc_unsafe`, `alloc_unpooled`, `from_bytes`, `concat`), by reading from a socket, or by
    slicing another Buffer; a slice shares the memory. It supports the buffer protocol (`memoryview`, `bytes`, sockets,
    struct, re, numpy) and takes any contiguous bytes-like object as an argument.

    Ownership: the memory goes back to its pool when the last Buffer on it, and the last view of one, is dropped or
    released, in any thread. `release()` gives up this Buffer alone: its slices stay valid. A second release does
    nothing; a release under a view is a BufferError; use after release raises BufferReleased (a ValueError). A Buffer
    keeps its pool alive. After a fork each process has the memory for itself.

    A Buffer is writable until `freeze()`; freezing holds for every Buffer on the same allocation, and writing is a
    TypeError from then on. Frozen Buffers hash like the equal `bytes`; the hash of a whole allocation is kept.

    `int(buf)` is `int(bytes(buf))`, read where it lies: ValueError for no decimal integer, and beyond the digits that
    `sys.get_int_max_str_digits()` allows. `repr` shows size, state and place, and never content, which may be a secret.

    `read_...` and `write_...` are for numbers at a byte offset from this Buffer's start, aligned or not: IndexError for
    an offset outside, also below 0; ValueError for a number that does not fit. A write returns the offset behind what
    it wrote.
    """

    def __init__(self, *arguments, **options):
        raise TypeError("a Buffer is made by a pool: poolio.alloc(size), poolio.from_bytes(data), ...")

    def __len__(self):
        ensure_alive(self)
        return self.length

    def __repr__(self):
        if self.allocation == NULL:
            return "<poolio.Buffer released>"
        state = "frozen" if self.allocation.frozen else "writable"
        return f"<poolio.Buffer of {self.length} bytes, {state}, at offset {self.offset}>"

    # --- slices and items -------------------------------------------------------------------------------

    def __getitem__(self, key):
        cdef Py_ssize_t start, stop, step
        cdef Range place
        if isinstance(key, slice):
            PySlice_Unpack(key, &start, &stop, &step)
            ensure_alive(self)
            if step != 1:
                raise ValueError(f"a Buffer slice has step 1, not {step}; copy with bytes(buf)[...] instead")
            place = _slice_range(self, start, stop)
            return slice_of(self, place.start, place.length)
        return <unsigned char>self.data[_index(self, key)]

    def __iter__(self):
        ensure_alive(self)
        return PySeqIter_New(self)

    def __setitem__(self, key, value):
        cdef Py_ssize_t start, stop, step
        cdef Range place
        cdef unsigned char byte
        ensure_writable(self)
        if isinstance(key, slice):
            PySlice_Unpack(key, &start, &stop, &step)
            if step != 1:
                raise ValueError(f"a Buffer slice has step 1, not {step}")
            place = _slice_range(self, start, stop)
            _copy_in(self, place.start, place.length, value)
            return
        start = _index(self, key)
        byte = byte_of(value)
        ensure_writable(self)     # value's __index__ may have released or frozen it
        self.data[start] = <char>byte

    def __delitem__(self, key):
        raise TypeError("a Buffer does not change its size: its bytes cannot be deleted")

    # --- comparison -------------------------------------------------------------------------------------

    def __richcmp__(self, other, int operation):
        cdef Py_buffer view
        ensure_alive(self)
        if PyBytes_CheckExact(other):
            return _compared(self, PyBytes_AS_STRING(other), PyBytes_GET_SIZE(other), operation)
        if not PyObject_CheckBuffer(other):
            return NotImplemented
        try:
            PyObject_GetBuffer(other, &view, PyBUF_SIMPLE)
        except BufferError:        # not contiguous: bytearray does not compare with it either
            return NotImplemented
        try:
            ensure_alive(self)
            return _compared(self, <const char *>view.buf, view.len, operation)
        finally:
            PyBuffer_Release(&view)

    def eq_ignore_ascii_case(self, other, /):
        """Are these the bytes of a bytes-like object, if ASCII's capital and small letters count as the same?"""
        cdef Py_buffer view
        PyObject_GetBuffer(other, &view, PyBUF_SIMPLE)
        try:
            ensure_alive(self)
            return self.length == view.len and poolio_same_ignoring_case(self.data, <const char *>view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    def __hash__(self):
        cdef Py_hash_t found
        ensure_alive(self)
        if not self.allocation.frozen:
            raise TypeError("a writable Buffer is unhashable; freeze() it first")
        if self.length < self.allocation.size:          # a slice: a hash of its own has no place to be kept
            return poolio_hash(self.data, self.length)
        if self.allocation.hash == NOT_HASHED:
            found = poolio_hash(self.data, self.length)
            self.allocation.hash = found
        return self.allocation.hash

    # --- searching: as bytes does it, for a byte as an integer or for any bytes-like object -----------------

    def __contains__(self, value):
        if PyIndex_Check(value):
            try:
                value = PyNumber_Index(value)
            except TypeError:      # a numpy array has __index__, and is no integer
                pass
        return search(self, value, None, None, FIRST) >= 0

    def find(self, sub, start=None, stop=None, /):
        """The lowest index in [start:stop] where `sub` begins; -1 if it is not there."""
        return search(self, sub, start, stop, FIRST)

    def rfind(self, sub, start=None, stop=None, /):
        """The highest index in [start:stop] where `sub` begins; -1 if it is not there."""
        return search(self, sub, start, stop, LAST)

    def index(self, sub, start=None, stop=None, /):
        """As `find`, but ValueError if it is not there."""
        return required(search(self, sub, start, stop, FIRST))

    def rindex(self, sub, start=None, stop=None, /):
        """As `rfind`, but ValueError if it is not there."""
        return required(search(self, sub, start, stop, LAST))

    def count(self, sub, start=None, stop=None, /):
        """How often `sub` is in [start:stop], overlaps not counted."""
        return search(self, sub, start, stop, COUNT)

    def startswith(self, prefix, start=None, stop=None, /):
        """Does [start:stop] begin with `prefix`, a bytes-like object or a tuple of them?"""
        return has_end(self, prefix, start, stop, FIRST)

    def endswith(self, suffix, start=None, stop=None, /):
        """Does [start:stop] end with `suffix`, a bytes-like object or a tuple of them?"""
        return has_end(self, suffix, start, stop, LAST)

    def split(self, sep=None, maxsplit=-1):
        """The pieces between the separators, as slices: nothing is copied.

        sep       a non-empty bytes-like object; None means runs of ASCII whitespace, and gives no empty pieces
        maxsplit  the most splits to make, so that the rest is the last piece; below 0 there is no limit
        """
        cdef Py_ssize_t most = PyNumber_AsSsize_t(maxsplit, NULL)
        if most < 0:
            most = PY_SSIZE_T_MAX
        if sep is None:
            return split_whitespace(self, most)
        return split_at(self, sep, most)

    def partition(self, sep, /):
        """Three slices: what is before the first `sep`, `sep` itself, and what is behind it.

        If `sep` is not there, they are all bytes and two empty slices.
        """
        return parted(self, sep, FIRST)

    def rpartition(self, sep, /):
        """As `partition`, at the last `sep`; if it is not there, two empty slices and all bytes."""
        return parted(self, sep, LAST)

    def strip(self, chars=None, /):
        """A slice without the bytes at both ends that are among `chars`; None means ASCII whitespace."""
        return stripped(self, chars, BOTH_ENDS)

    def lstrip(self, chars=None, /):
        """As `strip`, at the beginning alone."""
        return stripped(self, chars, LEFT_END)

    def rstrip(self, chars=None, /):
        """As `strip`, at the end alone."""
        return stripped(self, chars, RIGHT_END)

    def removeprefix(self, prefix, /):
        """A slice without `prefix` if these bytes begin with it, else a slice of all of them."""
        return without_prefix(self, prefix)

    def removesuffix(self, suffix, /):
        """A slice without `suffix` if these bytes end with it, else a slice of all of them."""
        return without_suffix(self, suffix)

    # --- conversion -------------------------------------------------------------------------------------

    def tobytes(self):
        """A `bytes` copy; the same as `bytes(buf)`, which costs a call of a type more."""
        ensure_alive(self)
        return PyBytes_FromStringAndSize(self.data, self.length)

    def __int__(self):
        ensure_alive(self)
        return integer_of_bytes(self.data, self.length)

    def decode(self, encoding="utf-8", errors="strict"):
        """The text, as `bytes.decode` gives it; UnicodeDecodeError if the bytes are no text.

        A codec written in Python that releases the Buffer gets BufferError.
        """
        cdef bint is_plain = encoding == "utf-8" and errors == "strict"
        ensure_alive(self)
        if is_plain:
            return PyUnicode_DecodeUTF8(self.data, self.length, NULL)
        return str(self, encoding, errors)

    def hex(self, *args, **kwargs):
        """Two hexadecimal digits a byte; `sep` and `bytes_per_sep` as in `bytes.hex`."""
        with memoryview(self) as view:
            return view.hex(*args, **kwargs)

    def __reduce_ex__(self, int protocol):
        """Pickle the bytes and whether they are frozen; from protocol 5 on without a copy, out of band if asked for."""
        ensure_alive(self)
        frozen = self.allocation.frozen
        return store_of(self).from_pickle, (pickle.PickleBuffer(self) if protocol >= 5 else self.tobytes(), frozen)

    def __copy__(self):
        """A writable copy from the same pool."""
        ensure_alive(self)
        return store_of(self).from_bytes(self)

    def __deepcopy__(self, memo):
        return self.__copy__()

    # --- copying and filling ----------------------------------------------------------------------------

    def copy_into(self, target, Py_ssize_t offset=0):
        """Copy as much as fits into a writable bytes-like object, from its byte `offset` on; return how much that was.

        The two may overlap. IndexError for an offset outside the target, BufferError or TypeError for a read-only
        target.
        """
        cdef Py_buffer view
        cdef Py_ssize_t size
        ensure_alive(self)
        PyObject_GetBuffer(target, &view, PyBUF_WRITABLE)
        try:
            ensure_alive(self)
            if not 0 <= offset <= view.len:
                raise IndexError(f"offset {offset} is outside a target of {view.len} bytes")
            size = min(self.length, view.len - offset)
            memmove(<char *>view.buf + offset, self.data, <size_t>size)
        finally:
            PyBuffer_Release(&view)
        return size

    def fill(self, value, start=None, stop=None):
        """Set every byte of [start:stop] to `value`, or repeat a bytes-like pattern over it; return this Buffer.

        ValueError for a byte outside 0..255 and for an empty pattern. The pattern may lie in this Buffer.
        """
        cdef Needle pattern
        cdef Range place
        cdef Py_ssize_t first = bound(start, 0)
        cdef Py_ssize_t last = bound(stop, PY_SSIZE_T_MAX)
        take_needle(value, &pattern)
        try:
            ensure_writable(self)
            if pattern.length == 0:
                raise ValueError("a Buffer cannot be filled with an empty pattern")
            place = _slice_range(self, first, last)
            _repeat(self.data + place.start, place.length, pattern.data, pattern.length)
        finally:
            drop_needle(&pattern)
        return self

    def detach(self):
        """Return a frozen Buffer of these bytes in memory of exactly their size, and release this Buffer.

        For small pieces that are kept long: they no longer pin a slab. It is a copy, unless this Buffer is all of such
        memory already, and frozen or the only one on it. BufferError while a view of it is alive.
        """
        ensure_alive(self)
        if self.exports > 0:
            raise BufferError(f"cannot detach a Buffer while {self.exports} view(s) of it are alive")
        own = _moved(self) if _is_alone(self) else own_copy(self)
        buffer_release(self)
        return own


own_methods(Buffer)
make_holders(<PyTypeObject *>Buffer)


# --- making one ---------------------------------------------------------------------------------------------

cdef Buffer slice_of(Buffer buf, Py_ssize_t start, Py_ssize_t length):
    """Make a Buffer on part of the range of one that is alive; start and length lie in it."""
    cdef Buffer piece = <Buffer>blank_holder()
    join_allocation(piece, buf, start, length)
    return piece


cdef inline bint _is_alone(Buffer buf) noexcept:
    """Has this Buffer memory of exactly its size, which nobody else may write to?"""
    cdef Allocation *allocation = buf.allocation
    return allocation.slab == NULL and buf.length == allocation.size and (
        allocation.frozen or allocation.holders == 1)


cdef Buffer _moved(Buffer buf):
    cdef Buffer own = slice_of(buf, 0, buf.length)
    own.allocation.frozen = True
    return own


cdef Buffer own_copy(Buffer buf):
    """Make a frozen copy of a Buffer that is alive, in memory of exactly its size, and count it as copied."""
    cdef Buffer copy
    buf.exports += 1               # making the copy can run other people's code, which must not release buf
    try:
        copy = new_own_buffer(store_of(buf), buf.length, False)
    finally:
        buf.exports -= 1
    memcpy(copy.data, buf.data, <size_t>buf.length)
    copy.allocation.frozen = True
    count_copied(buf)
    return copy


cdef Buffer new_buffer(SlabStore store, Slab *slab, char *memory, Py_ssize_t size):
    """Make a Buffer on a new allocation of `size` bytes at `memory`, as new_holder() does."""
    return <Buffer>new_holder(store, slab, memory, size)


cdef Buffer new_own_buffer(SlabStore store, Py_ssize_t size, bint zeroed):
    """Make a Buffer in memory of its own from malloc. A Buffer of size 0 has no memory at all."""
    cdef Buffer buf
    cdef char *memory = NOWHERE
    if size > 0:
        memory = <char *>(poolio_calloc(<size_t>size) if zeroed else poolio_malloc(<size_t>size))
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


# --- comparing ----------------------------------------------------------------------------------------------

cdef bint _compared(Buffer buf, const char *other, Py_ssize_t length, int operation) noexcept:
    cdef int order
    if operation == Py_EQ or operation == Py_NE:
        if buf.length != length:
            return operation == Py_NE
    order = memcmp(buf.data, other, <size_t>min(buf.length, length))
    if order == 0:
        order = (buf.length > length) - (buf.length < length)
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


# --- arguments ----------------------------------------------------------------------------------------------

cdef inline Range _slice_range(Buffer buf, Py_ssize_t start, Py_ssize_t stop) noexcept:
    """The range of `buf[start:stop]`: it lies inside the Buffer whatever the bounds are."""
    cdef Range place = range_of(buf, start, stop)
    place.start = min(place.start, buf.length)
    place.length = max(place.length, 0)
    return place


cdef Py_ssize_t _index(Buffer buf, key) except -1:
    if not PyIndex_Check(key):
        raise TypeError(f"a Buffer index is an integer or a slice, not {type(key).__name__!r}")
    cdef Py_ssize_t index = PyNumber_AsSsize_t(key, <PyObject *>IndexError)
    ensure_alive(buf)
    if index < 0:
        index += buf.length
    if not 0 <= index < buf.length:
        raise IndexError(f"index {key} is outside a Buffer of {buf.length} bytes")
    return index


cdef int _copy_in(Buffer buf, Py_ssize_t start, Py_ssize_t length, value) except -1:
    cdef Py_buffer view
    PyObject_GetBuffer(value, &view, PyBUF_SIMPLE)
    try:
        ensure_writable(buf)
        if view.len != length:
            raise ValueError(f"a Buffer does not change its size: {view.len} bytes do not fit a slice of {length}")
        memmove(buf.data + start, view.buf, <size_t>length)
    finally:
        PyBuffer_Release(&view)
    return 0


# --- filling ------------------------------------------------------------------------------------------------

cdef void _repeat(char *room, Py_ssize_t size, const char *pattern, Py_ssize_t length) noexcept nogil:
    """Fill room with the pattern: copy it once, then copy what stands there already, which doubles it each time."""
    cdef Py_ssize_t done = min(size, length)
    memmove(room, pattern, <size_t>done)           # the pattern may lie in the room
    while done < size:
        memcpy(room + done, room, <size_t>min(done, size - done))
        done += min(done, size - done)
