# DatagramTransport: one socket for datagrams, UDP or unix. See datagram.pyx.

from poolio.wire.inbox cimport Inbox, Received
from poolio.wire.outbox cimport Outbox

cdef enum Wants:
    UNKNOWN                     # until the first read for this protocol
    ONE_BY_ONE                  # asyncio.DatagramProtocol: datagram_received(bytes, address)
    BATCHES                     # datagrams_received([(Buffer, address)])


cdef class DatagramTransport(Outbox):
    cdef dict __dict__             # what users and mocks set; made when it is asked for
    cdef Wants wants
    cdef Inbox inbox
    cdef Received received
    cdef list left                 # (bytes, address) that were read and are still to be delivered; None: there are none

    cdef int _read(self) except -1
    cdef int _read_batch(self, list items) except? -4096
    cdef int _read_alone(self) except -1
    cdef int _take(self, list items, char *room, int count) except -1
    cdef int _end_pass(self, list items, int count) except -1
    cdef int _deliver(self, list items) except -1
    cdef int _deliver_batch(self, list items) except -1
    cdef int _deliver_one(self, data, address) except -1
    cdef int _decide(self) except -1
    cdef object _pool(self)
