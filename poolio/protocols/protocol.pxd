# ProtocolCore: the compiled half of poolio.Protocol. See protocol.pyx.

from poolio.wire.readslab cimport ReadSlab, Reservation
from poolio.wire.receiver cimport Receiver

cdef class ProtocolCore(Receiver):
    # on the loops' own transports, from the first get_buffer() on
    cdef ReadSlab read_slab
    cdef Reservation reservation    # None between buffer_updated() and the next get_buffer()

    cdef object _deliver(self, Reservation room, Py_ssize_t nbytes)
    cdef object _find_read_slab(self)
    cdef object _write_elsewhere(self, data)
    cdef object _wire_form(self, data)
