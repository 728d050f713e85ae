"""Owns the write queue: gathered sends, partial writes, and the holds on what is still to be sent. Once, for all.

Refuses to know transports and when to send. Called by the stream transport: put_buffer() and put_object() in write(),
send_queue() when a callback ends or the socket is writable.

A piece of a Buffer holds the allocation, not the Buffer: the caller may release his at once. Pieces are structs from
a list of spare ones, so an idle connection holds none, and a long queue is no array that must grow.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport EAGAIN

from poolio.allocation cimport Allocation, drop_hold
from poolio.slab cimport SlabStore

cdef extern from "_net.h" nogil:
    ctypedef struct poolio_piece:
        void *iov_base
        size_t iov_len
    Py_ssize_t poolio_send(int fd, const void *data, size_t size)
    Py_ssize_t poolio_send_gathered(int fd, poolio_piece *pieces, size_t count)

cdef enum:
    GATHER = 1024           # pieces in one system call: the kernel's own limit (IOV_MAX)
    SPARE_PIECES = 256
    # A piece left unsent moves to memory of its own if it is less than an eighth of the slab that it keeps.
    PINS_TOO_MUCH = 8

cdef poolio_piece pieces[GATHER]        # of the call that is being made; the GIL is held meanwhile
cdef Piece *spare = NULL
cdef int spare_count = 0


cdef int put_object(WriteQueue *queue, object owner, const char *data, Py_ssize_t length) except -1:
    cdef Piece *piece = new_piece()
    Py_INCREF(owner)
    piece.owner = <PyObject *>owner
    piece.allocation = NULL
    piece.data = data
    piece.length = length
    append(queue, piece)
    return 0


cdef Piece *new_piece() except NULL:
    global spare, spare_count
    cdef Piece *piece = spare
    if piece != NULL:
        spare = piece.following
        spare_count -= 1
        return piece
    piece = <Piece *>PyMem_Malloc(sizeof(Piece))
    if piece == NULL:
        raise MemoryError("the system has no memory left for a write queue")
    return piece


cdef void _drop_first(WriteQueue *queue) noexcept:
    global spare, spare_count
    cdef Piece *piece = queue.first
    cdef PyObject *owner = piece.owner
    cdef Allocation *allocation = piece.allocation
    cdef Py_ssize_t held = piece.held
    queue.first = piece.following
    queue.size -= piece.length
    if spare_count < SPARE_PIECES:
        piece.following = spare
        spare = piece
        spare_count += 1
    else:
        PyMem_Free(piece)
    if allocation != NULL:
        drop_hold(allocation, held)
    else:
        Py_DECREF(<object>owner)


cdef int send_queue(WriteQueue *queue, int fd) noexcept:
    cdef Piece *piece = queue.first
    if piece.following != NULL:
        return _send_gathered(queue, fd)
    cdef Py_ssize_t sent = poolio_send(fd, piece.data, <size_t>piece.length)
    if sent == piece.length:
        _drop_first(queue)
        return 0
    return _fell_short(queue, sent)


cdef int _send_gathered(WriteQueue *queue, int fd) noexcept:
    cdef Py_ssize_t sent, offered
    cdef Piece *piece
    cdef size_t count
    while queue.first != NULL:
        piece = queue.first
        offered = 0
        count = 0
        while piece != NULL and count < GATHER:
            pieces[count].iov_base = <void *>piece.data
            pieces[count].iov_len = <size_t>piece.length
            offered += piece.length
            count += 1
            piece = piece.following
        sent = poolio_send_gathered(fd, pieces, count)
        if sent < offered:
            return _fell_short(queue, sent)
        _advance(queue, sent)
    return 0


cdef int _fell_short(WriteQueue *queue, Py_ssize_t sent) noexcept:
    if sent < 0:
        return <int>sent
    _advance(queue, sent)
    return -EAGAIN              # the kernel is full: asking again would only say so


cdef void _advance(WriteQueue *queue, Py_ssize_t sent) noexcept:
    while sent > 0:
        if sent < queue.first.length:
            queue.first.data += sent
            queue.first.length -= sent
            queue.size -= sent
            return
        sent -= queue.first.length
        _drop_first(queue)


cdef void unpin(WriteQueue *queue) noexcept:
    cdef Piece *piece = queue.first
    while piece != NULL:
        _move_out(piece)
        piece = piece.following


cdef void unpin_last(WriteQueue *queue) noexcept:
    _move_out(queue.last)


cdef void _move_out(Piece *piece) noexcept:
    cdef Allocation *allocation = piece.allocation
    if allocation == NULL or allocation.slab == NULL or piece.length * PINS_TOO_MUCH >= allocation.slab.capacity:
        return
    try:
        copy = PyBytes_FromStringAndSize(piece.data, piece.length)
    except MemoryError:
        return                  # it stays where it is: no worse than before
    (<SlabStore>allocation.store).copied_bytes += piece.length
    Py_INCREF(copy)
    piece.owner = <PyObject *>copy
    piece.data = PyBytes_AS_STRING(copy)
    piece.allocation = NULL
    drop_hold(allocation, piece.held)


cdef Py_ssize_t held_from(WriteQueue *queue, SlabStore store) noexcept:
    cdef Piece *piece = queue.first
    cdef Py_ssize_t size = 0
    while piece != NULL:
        if piece.allocation != NULL and piece.allocation.store == <PyObject *>store:
            size += piece.length
        piece = piece.following
    return size


cdef void clear_queue(WriteQueue *queue) noexcept:
    while queue.first != NULL:
        _drop_first(queue)


cdef bint is_sound(WriteQueue *queue) noexcept:
    """size is the sum of what is left, no piece is empty, each has one owner, and `last` is the last."""
    cdef Piece *piece = queue.first
    cdef Piece *last = NULL
    cdef Py_ssize_t size = 0
    while piece != NULL:
        if piece.length <= 0 or (piece.owner == NULL) == (piece.allocation == NULL):
            return False
        size += piece.length
        last = piece
        piece = piece.following
    return size == queue.size and (last == NULL or last == queue.last)
