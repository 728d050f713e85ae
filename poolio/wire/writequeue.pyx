"""Owns the write queue: gathered sends, partial writes, and the holds on what is still to be sent.

Refuses to know transports and when to send. Called by the stream transport: put_buffer() and put_object() in write(),
send_queue() when it is time to send, unpin() and unpin_last() when the kernel has refused something.

A piece of a Buffer holds the allocation, not the Buffer: the caller may release the Buffer at once. Pieces are structs
from a list of spare ones, so an idle connection holds none, and a long queue is no array that must grow.

What the kernel has refused may stay for long, so small pieces move into blocks of the queue's own. In a run of small
pieces each block is twice as large as the one before it, up to LARGEST_BLOCK. Water marks count bytes: with blocks, a
peer that asks for many small answers and reads none makes the queue as large as the marks say, not fifty times as
large. Bytes that a pool with on_release wipes go into blocks that the pool wipes, too.

A hold that ends may be a pool's last, and the pool's end may run other people's code, which writes, or aborts. So holds
end only when the queue is in order again.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport EAGAIN

from poolio.c.faults cimport poolio_new_bytes
from poolio.c.guard cimport ensure
from poolio.c.net cimport poolio_piece, poolio_send, poolio_send_gathered
from poolio.memory.allocation cimport Allocation, drop_hold
from poolio.memory.buffer cimport Buffer, new_own_buffer
from poolio.memory.compact cimport block_size, move_bytes, pins_too_much
from poolio.memory.slab cimport ON_RELEASE, SlabStore
from poolio.memory.spares cimport SpareList, keep_struct, take_struct

cdef enum:
    GATHER = 1024           # pieces in one system call: the kernel's own limit (IOV_MAX)
    # Bytes of a small piece: the 150 bytes that a piece and its object cost are much beside it, so it moves.
    SMALL_BYTES = 512
    LARGEST_BLOCK = 4096    # bytes of a block for small pieces that move together

cdef poolio_piece pieces[GATHER]        # for the call that is being made; the GIL is held meanwhile
cdef SpareList spare_pieces


cdef int put_object(WriteQueue *queue, object owner, const char *data, Py_ssize_t length) except -1:
    cdef Piece *piece = new_piece()
    Py_INCREF(owner)
    piece.owner = <PyObject *>owner
    piece.allocation = NULL
    piece.room = 0
    piece.data = data
    piece.length = length
    append(queue, piece)
    return 0


cdef Piece *new_piece() except NULL:
    cdef Piece *piece = <Piece *>take_struct(&spare_pieces, sizeof(Piece))
    if piece == NULL:
        raise MemoryError("the system has no memory left for a write queue")
    return piece


cdef void _end_pieces(Piece *piece) noexcept:
    """End the holds of pieces that are in no queue any more.

    A last hold may end a pool, and so run code that writes to the queue or aborts.
    """
    cdef Piece *following
    cdef PyObject *owner
    cdef Allocation *allocation
    cdef Py_ssize_t held
    while piece != NULL:
        following = piece.following
        owner, allocation, held = piece.owner, piece.allocation, piece.held
        keep_struct(&spare_pieces, piece)
        if allocation != NULL:
            drop_hold(allocation, held)
        else:
            Py_DECREF(<object>owner)
        piece = following


cdef int send_queue(WriteQueue *queue, int fd) noexcept:
    cdef Piece *piece = queue.first
    if piece.following != NULL:
        return _send_gathered(queue, fd)
    cdef Py_ssize_t sent = poolio_send(fd, piece.data, <size_t>piece.length)
    if sent == piece.length:
        clear_queue(queue)
        return 0 if queue.first == NULL else _send_gathered(queue, fd)      # written while the hold ended
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
        advance_queue(queue, sent)
    return 0


cdef int _fell_short(WriteQueue *queue, Py_ssize_t sent) noexcept:
    if sent < 0:
        return <int>sent
    advance_queue(queue, sent)
    return -EAGAIN              # the kernel takes no more: another call would only say so


cdef void advance_queue(WriteQueue *queue, Py_ssize_t sent) noexcept:
    cdef Piece *done = queue.first
    cdef Piece *last_done = NULL
    cdef Piece *piece = done
    ensure(0 <= sent and sent <= queue.size)
    queue.size -= sent
    while piece != NULL and sent >= piece.length:
        sent -= piece.length
        if queue.block == piece:
            queue.block = NULL
        last_done = piece
        piece = piece.following
    queue.first = piece
    if sent > 0:
        piece.data += sent
        piece.length -= sent
    if last_done != NULL:
        last_done.following = NULL
        _end_pieces(done)


cdef void unpin(WriteQueue *queue) noexcept:
    cdef Piece *done = NULL
    cdef Piece *before = NULL
    cdef Piece *piece = queue.first
    while piece != NULL:
        before = _unpin_behind(queue, before, piece, &done)
        piece = before.following
    _end_pieces(done)


cdef void unpin_last(WriteQueue *queue) noexcept:
    cdef Piece *done = NULL
    cdef Piece *block = queue.block
    _unpin_behind(queue, block if block != NULL and block.following == queue.last else NULL, queue.last, &done)
    _end_pieces(done)


cdef Piece *_unpin_behind(WriteQueue *queue, Piece *before, Piece *piece, Piece **done) noexcept:
    """Move a piece into the room of the block before it or into a new block, or leave it where it is.

    Returns the piece that its bytes are in.
    """
    cdef Allocation *allocation = piece.allocation
    if piece.length > SMALL_BYTES and (allocation == NULL or not pins_too_much(allocation, piece.length)):
        return piece
    if before == NULL or before != queue.block or before.wiped_by != _wiped_by(piece):
        _move_out(queue, piece, piece.length, done)
    elif before.room < piece.length:
        _move_out(queue, piece, block_size(piece.length, before.length + before.room, LARGEST_BLOCK), done)
    else:
        ensure(piece.length <= before.room)
        move_bytes(_store_of(piece), <char *>before.data + before.length, piece.data, piece.length)
        before.length += piece.length
        before.room -= piece.length
        before.following = piece.following
        if queue.last == piece:
            queue.last = before
        piece.following = done[0]
        done[0] = piece
        return before
    return piece


cdef void _move_out(WriteQueue *queue, Piece *piece, Py_ssize_t capacity, Piece **done) noexcept:
    """Move a piece into a new block of `capacity` bytes, with room behind it."""
    cdef Piece *old
    cdef char *memory
    cdef PyObject *store = _wiped_by(piece)
    try:
        block = _new_block(store, capacity, &memory)
        old = new_piece()
    except MemoryError:
        return                  # it stays where it is: no worse than before
    move_bytes(_store_of(piece), memory, piece.data, piece.length)
    old[0] = piece[0]           # the hold that it had, to be ended
    old.following = done[0]
    done[0] = old
    Py_INCREF(block)
    piece.owner = <PyObject *>block
    piece.wiped_by = store
    piece.data = memory
    piece.room = capacity - piece.length
    piece.allocation = NULL
    queue.block = piece


cdef object _new_block(PyObject *store, Py_ssize_t capacity, char **memory):
    """Make `bytes`, or a Buffer in memory of its own that the store wipes at its end.

    LIFETIME of memory: the block's.
    """
    cdef Buffer buf
    if store == NULL:
        block = poolio_new_bytes(NULL, capacity)
        memory[0] = PyBytes_AS_STRING(block)
        return block
    buf = new_own_buffer(<SlabStore>store, capacity, False)
    memory[0] = buf.data
    return buf


cdef inline PyObject *_wiped_by(Piece *piece) noexcept:
    """The store that wipes the bytes of a piece at their end; NULL if none does."""
    cdef Allocation *allocation = piece.allocation
    if allocation == NULL or (<SlabStore>allocation.store).zeroing_mode != ON_RELEASE:
        return NULL
    return allocation.store


cdef inline PyObject *_store_of(Piece *piece) noexcept:
    """The store that the bytes of a piece lie in; NULL if they lie in an object outside all stores."""
    return NULL if piece.allocation == NULL else piece.allocation.store


cdef Py_ssize_t queued_from(WriteQueue *queue, SlabStore store) noexcept:
    cdef Piece *piece = queue.first
    cdef Py_ssize_t size = 0
    while piece != NULL:
        if piece.allocation != NULL and piece.allocation.store == <PyObject *>store:
            size += piece.length
        piece = piece.following
    return size


cdef void clear_queue(WriteQueue *queue) noexcept:
    cdef Piece *done = queue.first
    queue.first = queue.last = queue.block = NULL
    queue.size = 0
    _end_pieces(done)


cdef bint is_sound(WriteQueue *queue) noexcept:
    """True if the queue adds up: `size` is the sum of the pieces, no piece is empty, each has one owner or allocation,
    `last` is the last piece, and `block` is one of them or NULL."""
    cdef Piece *piece = queue.first
    cdef Piece *last = NULL
    cdef Py_ssize_t size = 0
    cdef bint has_block = queue.block == NULL
    while piece != NULL:
        if piece.length <= 0 or piece.room < 0 or (piece.owner == NULL) == (piece.allocation == NULL):
            return False
        if queue.block == piece:
            has_block = True
        size += piece.length
        last = piece
        piece = piece.following
    return size == queue.size and has_block and (last == NULL or last == queue.last)
