# Receiver: what the transports need to know of poolio's protocols, on a floor below both. See receiver.pyx.

from poolio.memory.buffer cimport Buffer
from poolio.memory.pool cimport Pool

cdef class Receiver:
    cdef public object transport

    # What it receives into, and what is written for it is made in. TypeError if its `pool` is none
    cdef Pool connection_pool(self)

    # Does it take what was read by receive()? Asked once, before the first data. If not, data_received() is called
    cdef bint receives(self) except -1
    # Called by the reactor's own dispatch with what was just read: a Buffer that nobody else knows. The context of the
    # connection is not entered, and no task runs
    cdef int receive(self, Buffer buf, object context) except -1

    # Bytes that it has received and not delivered yet; and those of them that lie in slabs of a pool
    cdef Py_ssize_t unread(self) except -1
    cdef Py_ssize_t unread_in(self, Pool pool) except -1
