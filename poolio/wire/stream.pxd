# StreamTransport: one connected socket, TCP or unix. See stream.pyx.

from cpython.object cimport PyObject

from poolio.c.python cimport vectorcallfunc
from poolio.memory.buffer cimport Buffer
from poolio.wire.endpoint cimport Endpoint
from poolio.wire.reactor cimport Reactor
from poolio.wire.writequeue cimport WriteQueue

cdef enum ReceivesAs:
    UNDECIDED                   # until the first data for this protocol
    ROOM                        # asyncio.BufferedProtocol: it gives the room
    CIPHER                      # TLS: it reads and decrypts by itself
    BYTES                       # asyncio.Protocol: data_received(bytes)
    BUFFERS                     # poolio.Protocol: data_received(buf)
    RECEIVER                    # a protocol of poolio's that takes Buffers in C, by receive()


cdef class StreamTransport(Endpoint):
    cdef dict __dict__             # what users and mocks set; made when it is asked for
    # from the opening to the end
    cdef object server             # the server that has accepted it, or its Limits; None: no server has
    # reading
    cdef object data_received      # a Receiver's bound method; None while undecided, and for other protocols
    cdef vectorcallfunc vectorcall  # the vectorcall of that method's function; NULL: call the method as any object
    # writing
    cdef WriteQueue queue
    cdef object empty_waiter       # a future while sendfile() uses the socket; None otherwise

    cdef int write_data(self, data) except -1
    cdef inline int _write_buffer(self, Buffer buf) except -1
    cdef int _write_other(self, data) except -1
    cdef int _keep_copy(self, const char *data, Py_ssize_t length, bint has_begun) except -1
    cdef int _on_ready_slow(self, unsigned int events) except -1
    cdef inline int _read(self) except -1
    cdef int _read_into_room(self) except -1
    cdef int _read_nothing(self, Py_ssize_t result) except -1
    cdef inline int _deliver(self, Buffer buf) except -1
    cdef int _deliver_bytes(self, object data) except -1
    cdef bytes _copy_of(self, const char *room, Py_ssize_t size)
    cdef int _decide(self) except -1
    cdef inline int _send(self) except -1
    cdef int _sent(self, int result) except -1
    cdef inline int _queue_grew(self) except -1
    cdef inline int _send_cork(self) except -1
    cdef int _after_drain(self) except -1
    cdef object _leave_server(self)


cdef StreamTransport new_transport(Reactor reactor, object protocol, object context)
cdef object attach(StreamTransport transport, object server)
