# StreamTransport: one connected socket, TCP or unix. See transport.pyx.

from poolio.reactor cimport Reactor, Source
from poolio.readslab cimport ReadSlab
from poolio.writequeue cimport WriteQueue

cdef extern from "_net.h" nogil:
    ctypedef struct poolio_address:
        pass

cdef enum ReceivesAs:
    UNDECIDED                   # until the first data for this protocol
    BUFFERS                     # poolio.Protocol
    BYTES                       # asyncio.Protocol
    ROOM                        # asyncio.BufferedProtocol


cdef class StreamTransport(Source):
    cdef object __weakref__
    # from the opening to the end: connection_lost() was called, the socket is closed
    cdef object loop
    cdef Reactor reactor
    cdef object protocol
    cdef object context            # the contextvars that its callbacks run in
    cdef object server             # None: not accepted by one
    # reading
    cdef object data_received      # of the protocol, as a bound method; None while undecided
    cdef ReadSlab slab             # None: undecided, or the protocol brings its own room
    cdef ReceivesAs receives_as
    cdef bint has_begun            # connection_made() was called
    cdef bint is_paused
    cdef bint at_end               # the peer has sent its last byte
    # writing
    cdef bint is_blocked           # the kernel refused something: the queue waits for EPOLLOUT
    cdef bint protocol_is_paused
    cdef bint ends                 # write_eof() was called
    cdef WriteQueue queue
    cdef Py_ssize_t high_water
    cdef Py_ssize_t low_water
    cdef object empty_waiter       # a future while sendfile() has the socket; None otherwise
    # closing
    cdef bint is_closing_down      # close() or abort() was called
    cdef bint is_lost              # connection_lost() was scheduled
    cdef int lost_writes
    # what get_extra_info() tells
    cdef object sock               # the socket object that owns the descriptor; None: we own it ourselves
    cdef int family
    cdef dict extra
    cdef poolio_address peer

    cdef int write_data(self, data) except -1
    cdef int begin(self) except -1
    cdef int _write_other(self, data) except -1
    cdef int _receive(self) except -1
    cdef int _receive_into_room(self) except -1
    cdef int _receive_nothing(self, Py_ssize_t result) except -1
    cdef int _call(self, object data) except -1
    cdef int _decide(self) except -1
    cdef int _send(self) except -1
    cdef int _queue_grew(self) except -1
    cdef int _send_cork(self) except -1
    cdef int _after_drain(self) except -1
    cdef int _update_interest(self) except -1
    cdef int _pause_protocol(self) except -1
    cdef int _resume_protocol(self) except -1
    cdef int _fail(self, exc, message) except -1
    cdef int _end(self, exc) except -1
    cdef int _lose(self, exc) except -1
    cdef object _socket(self)
    cdef object _close_socket(self)
    cdef object _address(self, name)


cdef StreamTransport new_transport(Reactor reactor, object loop, object protocol, object context)
cdef object attach(StreamTransport transport, object server)
