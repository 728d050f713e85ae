# Outbox: the half of a datagram endpoint that sends. See outbox.pyx.

from poolio.memory.buffer cimport Buffer
from poolio.wire.endpoint cimport Endpoint


cdef class Outbox(Endpoint):
    cdef bint is_udp               # it knows trains
    cdef bint is_connected         # the kernel knows where to
    cdef object remote             # where to, if that was fixed when it was opened; None: wherever sendto() says
    cdef object queue              # a deque of (Buffer or bytes, train, address); empty unless BLOCKED
    cdef Py_ssize_t queued         # bytes in it, and DATAGRAM_HEADER for each datagram
    cdef object retry              # the timer while the transport RESTS
    cdef long long sent            # datagrams
    cdef long long sent_bytes

    # The kernel has room again
    cdef int send_queued(self) except -1
    # Tell the protocol of an error that ends nothing
    cdef int tell_error(self, int number) except -1

    cdef tuple _checked(self, item)
    cdef object _where(self, addr)
    cdef int _check_writable(self) except -1
    cdef int _count_sent(self, Buffer buf, Py_ssize_t taken, addr) except -1
    cdef int _send_data(self, data, Py_ssize_t train, addr) except -1
    cdef int _send_bytes(self, object owner, const char *data, Py_ssize_t length, Py_ssize_t train, addr) except -1
    cdef Py_ssize_t _try(self, const char *data, Py_ssize_t length, Py_ssize_t train, addr) except? -4096
    cdef Py_ssize_t _try_named(self, const char *data, Py_ssize_t length, addr) except? -4096
    cdef Py_ssize_t _try_in_pieces(self, const char *data, Py_ssize_t length, Py_ssize_t train, addr) except? -4096
    cdef int _keep(self, object owner, const char *data, Py_ssize_t length, Py_ssize_t train, addr) except -1
    cdef int _send_some(self, list items, Py_ssize_t start) except -1
    cdef int _rest(self) except -1
