# Inbox: the batch of datagrams that one endpoint of a loop has just read. Received: what an endpoint has read so far,
# and what it expects next. See inbox.pyx.

from poolio.c.datagrams cimport POOLIO_BATCH, poolio_batch
from poolio.c.net cimport poolio_address
from poolio.memory.buffer cimport Buffer
from poolio.memory.pool cimport Pool
from poolio.wire.readslab cimport ReadSlab

cdef struct Received:
    Py_ssize_t expected         # bytes of room that each of the next datagrams or trains gets; a multiple of 8
    int burst                   # messages that the next call asks for: twice as many as came last, or as many as it can
    unsigned int alone          # passes in a row that brought one datagram each
    # counts since the opening
    long long datagrams
    long long bytes
    long long reads             # system calls that brought something
    long long cut               # lost: longer than what can be read, or a train without the note where to cut it
    long long unplaced          # lost: read when the pool was at its limit
    long long dropped           # dropped by the kernel, as of the last look
    unsigned int drops          # the kernel's own count at the last look; it has 32 bits and then starts again


cdef struct Message:
    Py_ssize_t start            # offset in the room, a multiple of 8; NOT_THERE: it is the next one of `spilled`
    Py_ssize_t length
    Py_ssize_t train            # bytes of each datagram in it; 0: it is one datagram; -1: the kernel could not tell


cdef class Inbox:
    cdef object __weakref__
    cdef poolio_batch batch
    cdef char *overflow
    # of the batch in hand
    cdef int count
    cdef int most               # messages that could have come
    cdef bint is_local          # it is from a unix socket: without notes of the kernel, without trains
    cdef Message messages[POOLIO_BATCH]
    cdef Py_ssize_t slot        # bytes of room for each message
    cdef Py_ssize_t share       # bytes that each message has in the overflow besides
    cdef Py_ssize_t end         # the packed messages lie in the room up to here
    cdef Py_ssize_t extent      # the kernel has written to the room up to here
    cdef list spilled           # copies of the messages that did not fit into their slot, in order; None for a lost one
    cdef list errors            # exceptions for error_received()
    # of a message that was asked for alone
    cdef bint is_plain          # it is one datagram, not empty, and all of it lies in the room
    cdef tuple sender           # who sent the last one, and the kernel's form of that; None: nobody yet
    cdef poolio_address sent_from

    # Read a batch; returns how many messages came, or a negated errno. If any came, call one of the next two, which
    # append their datagrams to the list: (Buffer, address), or (bytes, address)
    cdef int receive(self, int fd, char *room, Py_ssize_t size, bint is_local, Received *received) except? -4096
    cdef int take_buffers(self, list items, ReadSlab reader, char *room, Received *received) except -1
    cdef int take_bytes(self, list items, ReadSlab reader, char *room, Received *received) except -1

    # The same for one message; and if it is_plain, its (Buffer, address)
    cdef int receive_alone(self, int fd, char *room, Py_ssize_t size, bint is_local, Received *received) except? -4096
    cdef tuple take_alone(self, ReadSlab reader, char *room, Received *received)

    # The exceptions since the last call
    cdef list take_errors(self)

    cdef int _pack(self, char *room, Received *received) except -1
    cdef int _spill(self, int i, const char *slot, Py_ssize_t length) except -1
    cdef void _wipe_gaps(self, char *room) noexcept
    cdef int _cut_up(self, list items, Buffer buf, Message *message, object address) except -1
    cdef Buffer _placed(self, Pool pool, Message *message, Received *received)
    cdef object _next_spilled(self, Message *message, Received *received)
    cdef object _sender_alone(self)
    cdef object _sender(self, int i)


cdef Inbox inbox_of(object reactor)
