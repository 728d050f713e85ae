# Receiver: what the stream transport needs to know of poolio's protocols, on a floor below both.

from poolio.buffer cimport Buffer
from poolio.pool cimport Pool

cdef class Receiver:
    cdef public object transport
    cdef bint receives_in_c     # by receive(), instead of data_received(). Fixed before the first data

    cdef Pool pool_to_receive_into(self)

    # Called by the reactor's own dispatch with what was just received: a Buffer that nobody else knows. No context is
    # entered, and no task runs
    cdef int receive(self, Buffer buf) except -1

    # Bytes of this pool that it has not handed over yet
    cdef Py_ssize_t held_from(self, Pool pool) except -1
