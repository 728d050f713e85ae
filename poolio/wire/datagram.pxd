# DatagramTransport: one socket for datagrams, UDP or unix. See datagram.pyx.

from poolio.memory.buffer cimport Buffer
from poolio.wire.endpoint cimport Endpoint
from poolio.wire.inbox cimport Inbox, Received

cdef enum Wants:
    UNKNOWN                     # until something arrives for this protocol
    ONE_BY_ONE                  # asyncio.DatagramProtocol: datagram_received(bytes, address)
    BATCHES                     # datagrams_received([(Buffer, address)])


cdef class DatagramTransport(Endpoint):
    cdef Wants wants
    cdef bint is_udp               # it knows trains
    cdef bint is_connected         # the kernel knows where to
    cdef object remote             # where to, if that was fixed when it was opened; None: wherever sendto() says
    # receiving
    cdef Inbox inbox
    cdef Received received
    cdef list left                 # (bytes, address) of a batch that were not handed over before reading was paused
    # sending
    cdef object queue              # a deque of (Buffer or bytes, train, address); empty unless BLOCKED
    cdef Py_ssize_t queued         # bytes in it, and DATAGRAM_HEADER for each datagram
    cdef object retry              # the timer while the transport RESTS
    cdef long long sent            # datagrams
    cdef long long sent_bytes

    cdef int _receive(self) except -1
    cdef int _receive_batch(self, list items) except? -4096
    cdef int _deliver(self, list items) except -1
    cdef int _hand_over(self, list items) except -1
    cdef int _hand_over_one(self, data, address) except -1
    cdef int _decide(self) except -1
    cdef object _pool(self)
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
    cdef int _send_queue(self) except -1
    cdef int _rest(self) except -1
    cdef int _error(self, int number) except -1
