# Receiver: what the stream transport needs to know of poolio.Protocol, on a floor below both.

from poolio.pool cimport Pool

cdef class Receiver:
    cdef public object transport

    cdef Pool pool_to_receive_into(self)
