# StreamTransport: one connected socket, TCP or unix. See transport.pyx.

from cpython.object cimport PyObject

from poolio.buffer cimport Buffer
from poolio.pool cimport Pool
from poolio.reactor cimport Reactor, Source
from poolio.readslab cimport ReadSlab
from poolio.writequeue cimport WriteQueue

cdef extern from "Python.h":
    ctypedef PyObject *(*vectorcallfunc)(PyObject *callable, PyObject **arguments, size_t count, PyObject *names)

cdef extern from "_net.h" nogil:
    ctypedef struct poolio_address:
        pass

cdef enum ReceivesAs:
    UNDECIDED                   # until the first data for this protocol
    ROOM                        # asyncio.BufferedProtocol
    BYTES                       # asyncio.Protocol
    BUFFERS                     # poolio.Protocol
    IN_C                        # a Receiver with a receive() of its own


cdef enum State:
    HAS_BEGUN = 1               # connection_made() was called; before it nothing is read
    PAUSED = 2                  # pause_reading()
    AT_END = 4                  # the peer has sent its last byte
    BLOCKED = 8                 # the kernel refused something: the queue waits for EPOLLOUT
    PROTOCOL_PAUSED = 16        # pause_writing() was called, resume_writing() was not
    SENDS_FILE = 32             # sendfile() has the socket
    ENDS = 64                   # write_eof(): nothing more is written
    CLOSING = 128               # close() or abort(): nothing more is read, the queue is still sent
    LOST = 256                  # connection_lost() is scheduled: nothing more is sent
    SHORT = 512                 # the pool has no memory to read into; the ReadSlab tells when it has


cdef class StreamTransport(Source):
    cdef object __weakref__
    cdef unsigned int state        # a set of State
    cdef ReceivesAs receives_as
    cdef int lost_writes           # after the end
    cdef int family                # of the socket
    # from the opening to the end: connection_lost() was called, the socket is closed
    cdef Reactor reactor
    cdef object protocol
    cdef object context            # the contextvars that its callbacks run in
    cdef object server             # None: not accepted by one
    # reading
    cdef object data_received      # of the protocol, as a bound method; None while undecided
    cdef ReadSlab slab             # None: undecided, or the protocol brings its own room
    cdef vectorcallfunc vectorcall  # of the function of that method; NULL: call it as any object
    # writing
    cdef WriteQueue queue
    cdef Py_ssize_t high_water
    cdef Py_ssize_t low_water
    cdef object empty_waiter       # a future while sendfile() has the socket; None otherwise
    # what get_extra_info() tells
    cdef object sock               # the socket object that owns the descriptor; None: we own it ourselves
    cdef dict extra
    cdef poolio_address peer
    cdef poolio_address own        # known at the end only

    cdef int write_data(self, data) except -1
    cdef int begin(self) except -1
    cdef inline int _write_buffer(self, Buffer buf) except -1
    cdef int _write_other(self, data) except -1
    cdef int _on_ready_slow(self, unsigned int events) except -1
    cdef inline int _receive(self) except -1
    cdef int _receive_into_room(self) except -1
    cdef int _receive_nothing(self, Py_ssize_t result) except -1
    cdef inline int _call(self, object data) except -1
    cdef int _hand_over(self, Buffer buf) except -1
    cdef int _wait_for_room(self) except -1
    cdef Py_ssize_t _held_from(self, Pool pool) except -1
    cdef int _decide(self) except -1
    cdef inline int _send(self) except -1
    cdef int _sent(self, int result) except -1
    cdef inline int _queue_grew(self) except -1
    cdef inline int _send_cork(self) except -1
    cdef int _after_drain(self) except -1
    cdef int _update_interest(self) except -1
    cdef int _pause_protocol(self) except -1
    cdef int _resume_protocol(self) except -1
    cdef int _fail(self, exc, message) except -1
    cdef int _end(self, exc) except -1
    cdef object _leave_server(self)
    cdef object _socket(self)
    cdef object _close_socket(self)
    cdef object _remember_addresses(self)
    cdef object _address(self, name)
    cdef object _other_address(self, name)


cdef StreamTransport new_transport(Reactor reactor, object protocol, object context)
cdef object attach(StreamTransport transport, object server)
