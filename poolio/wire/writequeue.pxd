# WriteQueue: what a connection still has to send, by reference. See writequeue.pyx.
#
#     first ──> Piece ──> Piece ──> Piece <── last        size = sum of their lengths
#               │ data, length: what is left of it
#               └ owner (an immutable object) or allocation (a hold of its own: the Buffer may be released)

from cpython.object cimport PyObject

from poolio.c.guard cimport ensure
from poolio.memory.allocation cimport Allocation, Holder, take_hold
from poolio.memory.slab cimport SlabStore

cdef struct Piece:
    # LIFETIME of data: while the piece is in the queue; exactly one of owner and allocation is not NULL
    const char *data
    Py_ssize_t length
    PyObject *owner
    Allocation *allocation
    Py_ssize_t held             # bytes that this hold was counted with
    # of a block, whose owner is memory of the queue's own: `bytes`, or a Buffer
    Py_ssize_t room             # free bytes behind it; 0: it is no block, or a full one
    PyObject *wiped_by          # the store that wipes the block at its end; NULL: none does
    Piece *following

cdef struct WriteQueue:
    Piece *first                # NULL: nothing to send
    Piece *last
    Piece *block                # the last block; NULL: none
    Py_ssize_t size             # bytes, the sum of what is left of the pieces

# Each queues a piece with a hold of its own. put_buffer: the Buffer is frozen by then. put_object: data lies in the
# immutable owner.
cdef inline int put_buffer(WriteQueue *queue, Holder buf) except -1:
    cdef Piece *piece = new_piece()
    piece.data = buf.data
    piece.length = piece.held = buf.length
    piece.owner = NULL
    piece.room = 0
    piece.allocation = buf.allocation
    take_hold(buf.allocation, buf.length)
    append(queue, piece)
    return 0


cdef inline void append(WriteQueue *queue, Piece *piece) noexcept:
    ensure(piece.length > 0)
    piece.following = NULL
    if queue.first == NULL:
        queue.first = piece
    else:
        queue.last.following = piece
    queue.last = piece
    queue.size += piece.length


cdef Piece *new_piece() except NULL
cdef int put_object(WriteQueue *queue, object owner, const char *data, Py_ssize_t length) except -1

# Send a queue that is not empty: one system call for up to GATHER pieces, repeated while all that was offered is taken.
# Returns 0 if the queue is empty now, or a negated errno: -EAGAIN if the kernel takes no more. What was taken has left
# the queue.
cdef int send_queue(WriteQueue *queue, int fd) noexcept

# Forget the first so many bytes.
cdef void advance_queue(WriteQueue *queue, Py_ssize_t size) noexcept

# Move pieces that are small, or that pin much more memory than their size, to memory of the queue's own, small ones
# together. unpin() looks at all pieces, unpin_last() only at the last one.
cdef void unpin(WriteQueue *queue) noexcept
cdef void unpin_last(WriteQueue *queue) noexcept
# Bytes that it still has to send from this pool.
cdef Py_ssize_t queued_from(WriteQueue *queue, SlabStore store) noexcept
cdef void clear_queue(WriteQueue *queue) noexcept
cdef bint is_sound(WriteQueue *queue) noexcept
