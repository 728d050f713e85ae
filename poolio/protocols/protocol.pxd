# ProtocolCore: the compiled half of poolio.Protocol. See protocol.pyx.

from poolio.memory.buffer cimport Buffer
from poolio.wire.readslab cimport ReadSlab, Reservation
from poolio.wire.receiver cimport Receiver

cdef class ProtocolCore(Receiver):
    # on the loops' own transports, from the first get_buffer() on
    cdef ReadSlab read_slab
    cdef Reservation reservation    # None between buffer_updated() and the next get_buffer()

    # Take what a loop's own transport has read. The context of the connection is entered, and a task may be current
    cdef int receive_on_loop(self, Buffer buf) except -1
    # write() for a transport that is not poolio's own
    cdef object write_elsewhere(self, data)

    cdef object _find_read_slab(self)
    cdef object _portable_form(self, data)
