# Inbox: the batch of datagrams that one endpoint of a loop has just received. Received: what an endpoint has received
# so far. See inbox.pyx.

from poolio.c.datagrams cimport POOLIO_BATCH, poolio_batch
from poolio.memory.buffer cimport Buffer
from poolio.memory.pool cimport Pool
from poolio.wire.readslab cimport ReadSlab

cdef struct Received:
    Py_ssize_t expected         # bytes of a datagram or train: as much room each of the next ones gets, a multiple of 8
    int burst                   # as many at once: twice as many as came last, all that can when there were more
    # counts since the beginning
    long long datagrams
    long long bytes
    long long reads             # system calls that brought something
    long long cut               # longer than what can be received at all
    long long unplaced          # received when the pool was at its limit
    long long dropped           # by the kernel, as far as it was asked or has told
    unsigned int drops          # the kernel's own count when it was looked at last; 32 bits, so it can start again


cdef struct Message:
    Py_ssize_t start            # in the room, a multiple of 8; NOT_THERE: the next one of `spilled`
    Py_ssize_t length
    Py_ssize_t train            # bytes of each datagram in it; 0: it is one datagram; -1: the kernel could not tell


cdef class Inbox:
    cdef object __weakref__
    cdef poolio_batch batch
    cdef char *overflow
    # of the batch in hand
    cdef int count
    cdef int most               # as many could have come
    cdef bint is_local          # from a unix socket: no notes, no trains
    cdef Message messages[POOLIO_BATCH]
    cdef Py_ssize_t slot        # bytes of room for each
    cdef Py_ssize_t share       # bytes more in the overflow
    cdef Py_ssize_t end         # the messages lie in the room up to here
    cdef Py_ssize_t extent      # the room was written to up to here
    cdef list spilled           # copies of those that were longer than their slot, in order
    cdef list errors            # exceptions for error_received()

    # How many messages came, or a negated errno. If there are any, call one of the others, which adds their datagrams
    # to the list: (Buffer, address), or (bytes, address)
    cdef int receive(self, int fd, char *room, Py_ssize_t size, bint is_local, Received *received) except? -4096
    cdef int take_buffers(self, list items, ReadSlab reader, char *room, Received *received) except -1
    cdef int take_bytes(self, list items, ReadSlab reader, char *room, Received *received) except -1

    cdef list take_errors(self)

    cdef int _pack(self, char *room, Received *received) except -1
    cdef int _spill(self, int i, const char *slot, Py_ssize_t length) except -1
    cdef void _wipe_gaps(self, char *room) noexcept
    cdef int _cut_up(self, list items, Buffer buf, Message *message, object address) except -1
    cdef Buffer _placed(self, Pool pool, Message *message, Received *received)
    cdef object _next_spilled(self, Message *message, Received *received)
    cdef object _sender(self, int i)


cdef Inbox inbox_of(object reactor)
cdef void see_drops(Received *received, unsigned int drops) noexcept
