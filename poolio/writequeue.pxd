# WriteQueue: what a connection still has to send, by reference. See writequeue.pyx.
#
#     first ──> Piece ──> Piece ──> Piece <── last        size = sum of their lengths
#               │ data, length: what is left of it
#               └ owner (an immutable object) or allocation (a hold of its own, whatever its Buffer's holder does)

from cpython.object cimport PyObject

from poolio.allocation cimport Allocation, Holder

cdef struct Piece:
    # LIFETIME of data: while the piece is in the queue; exactly one of owner and allocation is not NULL
    const char *data
    Py_ssize_t length
    PyObject *owner
    Allocation *allocation
    Py_ssize_t held             # bytes that this hold was counted with
    Piece *following

cdef struct WriteQueue:
    Piece *first                # NULL: nothing to send
    Piece *last
    Py_ssize_t size

# Each takes a hold of its own. put_buffer: the Buffer is frozen by then. put_object: data lies in the immutable owner.
cdef int put_buffer(WriteQueue *queue, Holder buf) except -1
cdef int put_object(WriteQueue *queue, object owner, const char *data, Py_ssize_t length) except -1

# One system call for up to GATHER pieces, repeated while everything offered was taken. 0: the queue is empty;
# a negated errno otherwise, -EAGAIN when the kernel has no room. What was taken is gone from the queue.
cdef int send_queue(WriteQueue *queue, int fd) noexcept

# Pieces that pin much more than they are go to memory of their own.
cdef void unpin(WriteQueue *queue) noexcept
cdef void clear_queue(WriteQueue *queue) noexcept
cdef bint is_sound(WriteQueue *queue) noexcept
