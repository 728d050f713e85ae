"""Owns how a frame's bytes are laid into memory: pieces joined, a header in front, large bodies left where they are.

Refuses to know what a header says (the codecs' put_header()) and where a frame goes. Called by lengths, delimited and
builder. The pool is the caller's choice:
for a connection it is the connection's own, so that its zeroing mode and its limit hold for what is written, too.

Other people's code can run in between (a __buffer__), and may change the pieces; so their size is looked at again while
they are copied.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from libc.string cimport memcpy

from poolio.framing.codec cimport Codec
from poolio.memory.allocation cimport ensure_alive
from poolio.memory.buffer cimport Buffer, slice_of
from poolio.memory.pool cimport Pool, default_pool


cdef Pool pool_or_default(pool):
    if pool is None:
        return default_pool()
    if not isinstance(pool, Pool):
        raise TypeError(f"pool must be a poolio.Pool or None, not {type(pool).__name__!r}")
    return <Pool>pool


cdef Py_ssize_t sum_of(tuple pieces) except -1:
    cdef Py_buffer view
    cdef Py_ssize_t size = 0
    for piece in pieces:
        if PyBytes_CheckExact(piece):
            size += PyBytes_GET_SIZE(piece)
        elif type(piece) is Buffer:
            ensure_alive(<Buffer>piece)
            size += (<Buffer>piece).length
        else:
            PyObject_GetBuffer(piece, &view, PyBUF_SIMPLE)
            size += view.len
            PyBuffer_Release(&view)
    return size


cdef Buffer joined(Pool pool, tuple pieces, Py_ssize_t size, Py_ssize_t before, Py_ssize_t behind):
    cdef Buffer joined = pool.allocate_to_fill(before + size + behind)
    cdef char *room = joined.data + before
    cdef char *end = room + size
    for piece in pieces:
        if PyBytes_CheckExact(piece):
            room = _put(room, end, PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece))
        elif type(piece) is Buffer:
            ensure_alive(<Buffer>piece)
            room = _put(room, end, (<Buffer>piece).data, (<Buffer>piece).length)
        else:
            room = _put_view(room, end, piece)
    if room != end:
        _raise_changed()
    return joined


cdef inline char *_put(char *room, char *end, const char *data, Py_ssize_t length) except NULL:
    if length > end - room:
        _raise_changed()
    memcpy(room, data, <size_t>length)
    return room + length


cdef char *_put_view(char *room, char *end, piece) except NULL:
    cdef Py_buffer view
    PyObject_GetBuffer(piece, &view, PyBUF_SIMPLE)
    try:
        return _put(room, end, <const char *>view.buf, view.len)
    finally:
        PyBuffer_Release(&view)


cdef int _raise_changed() except -1:
    raise ValueError("the pieces of a frame changed their size while it was written")


cdef Buffer frame_of(Codec codec, Py_ssize_t room, tuple pieces, Pool pool):
    cdef Py_ssize_t size = sum_of(pieces)
    cdef char header[LARGEST_HEADER]
    cdef Py_ssize_t width = codec.put_header(header + LARGEST_HEADER, size)
    cdef Buffer frame = joined(pool, pieces, size, room, 0)
    memcpy(frame.data + room - width, header + LARGEST_HEADER - width, <size_t>width)
    return frame if codec.header_room == 0 or width == room else slice_of(frame, room - width, width + size)


cdef object header_and_body(Codec codec, tuple pieces, Pool pool):
    cdef Py_ssize_t size = sum_of(pieces)
    cdef Buffer header
    cdef Py_ssize_t width
    if size <= COPY_UP_TO:
        return frame_of(codec, codec.header_room, pieces, pool)
    header = pool.allocate_to_fill(codec.header_room)
    width = codec.put_header(header.data + codec.header_room, size)
    return [slice_of(header, codec.header_room - width, width), *pieces]
