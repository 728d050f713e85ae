# Unsealing: what a TLS transport reads. See unsealing.pyx.

from poolio.wire.sealing cimport Sealing
from poolio.wire.tlsengine cimport Outcome


cdef class Unsealing(Sealing):
    # --- what the subclass uses
    # Let the carrier receive unless reading is paused, something that was received is still to be delivered, or the
    # peer does not read the answers of TLS
    cdef int update_reading(self) except -1
    # Decrypt what has come, and forget it
    cdef Outcome pass_over(self) except *
    # Forget what was found out about the protocol
    cdef object forget(self)

    # --- what the subclass does
    # Take the next step of the handshake. The context is entered
    cdef int shake(self) except -1
    # Send a close_notify, or look whether the peer's has come
    cdef int shut(self) except -1
    # The peer has sent its close_notify, or has ended without one
    cdef int end_of_peer(self) except -1
    cdef int stop_timer(self) except -1

    cdef inline int _take_one(self) except -1
    cdef int take(self) except -1
    cdef int _take_into_room(self) except -1
    cdef int _answer(self) except -1
    cdef int _came_to(self, Outcome outcome) except -1
    cdef int _decide(self) except -1
    cdef object _unseal(self, Outcome *outcome)
    cdef object _unseal_held(self, Outcome *outcome)
    cdef int _wait_for_memory(self) except -1
    cdef int _deliver(self, object data) except -1
    cdef int _read_off(self) except -1
