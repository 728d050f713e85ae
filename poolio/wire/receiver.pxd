# Receiver: what the transports need to know of poolio's protocols, on a floor below both. See receiver.pyx.

from poolio.memory.buffer cimport Buffer
from poolio.memory.pool cimport Pool

cdef class Receiver:
    cdef public object transport
    cdef bint receives_in_c     # by receive(), instead of data_received(). Fixed before the first data

    cdef Pool pool_to_receive_into(self)

    # Called by the reactor's own dispatch with what was just received: a Buffer that nobody else knows. No context is
    # entered, and no task runs
    cdef int receive(self, Buffer buf) except -1

    # Bytes that it has received and not handed over yet; and those of them that lie in slabs of a pool
    cdef Py_ssize_t unread(self) except -1
    cdef Py_ssize_t unread_in(self, Pool pool) except -1
