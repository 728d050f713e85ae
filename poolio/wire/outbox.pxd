# Outbox: the half of a datagram endpoint that sends. See outbox.pyx.

from poolio.memory.buffer cimport Buffer
from poolio.wire.endpoint cimport Endpoint


cdef class Outbox(Endpoint):
    cdef bint is_udp               # it is a UDP socket, which can send and read trains
    cdef bint is_connected         # the socket has a peer: the kernel knows where to send
    cdef object remote             # the only address to send to, fixed at the opening; None: sendto() gives one
    cdef object queue              # a deque of (Buffer or bytes, train, address); empty unless BLOCKED
    cdef Py_ssize_t queued         # bytes in the queue, and DATAGRAM_HEADER for each datagram
    cdef object retry              # the timer while the transport RESTS; None otherwise
    cdef long long sent            # datagrams that the kernel has taken, and their bytes
    cdef long long sent_bytes

    # Send from the queue: the kernel can take more again
    cdef int send_queued(self) except -1
    # Tell the protocol of an error that does not end the endpoint
    cdef int tell_error(self, int number) except -1

    cdef tuple _checked(self, item)
    cdef object _where(self, addr)
    cdef int _check_writable(self) except -1
    cdef int _lose(self) except -1
    cdef int _count_sent(self, Buffer buf, Py_ssize_t taken, addr) except -1
    cdef int _send_data(self, data, Py_ssize_t train, addr) except -1
    cdef int _send_bytes(self, object owner, const char *data, Py_ssize_t length, Py_ssize_t train, addr) except -1
    cdef Py_ssize_t _try(self, const char *data, Py_ssize_t length, Py_ssize_t train, addr) except? -4096
    cdef Py_ssize_t _try_named(self, const char *data, Py_ssize_t length, addr) except? -4096
    cdef Py_ssize_t _try_in_pieces(self, const char *data, Py_ssize_t length, Py_ssize_t train, addr) except? -4096
    cdef int _keep(self, object owner, const char *data, Py_ssize_t length, Py_ssize_t train, addr) except -1
    cdef int _send_some(self, list items, Py_ssize_t start) except -1
    cdef int _rest(self) except -1
