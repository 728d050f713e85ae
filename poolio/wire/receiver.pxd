# Receiver: what the stream transport needs to know of poolio's protocols, on a floor below them. See receiver.pyx.

from poolio.memory.attributed cimport Attributed
from poolio.memory.buffer cimport Buffer
from poolio.memory.pool cimport Pool

cdef enum First:                # what a protocol knows of the first whole frame of its peer
    UNKNOWN                     # it cuts no frames: the transport knows whether anything has come
    CAME
    OWED                        # it waits for the frame
    UNASKED                     # the frame is not there, and nobody waits for it just now


cdef class Receiver(Attributed):
    cdef public object transport

    # The pool that its data is read into, and that memory for its writes comes from. TypeError if its `pool` is neither
    # a Pool nor None
    cdef Pool connection_pool(self)

    # True if it takes what was read through receive(); else data_received() is called. Asked before the first data
    cdef bint receives(self) except -1
    # Called by the stream transport with what was just read: a Buffer that nobody else knows. `context` is the
    # connection's; it is not entered, and no task is current
    cdef int receive(self, Buffer buf, object context) except -1

    # True for TLS, which reads from the transport's socket by itself. It is called when the socket is readable, and by
    # go_on_later() when there is memory again
    cdef bint reads_itself(self) noexcept
    cdef int read_itself(self) except -1
    cdef int go_on_later(self) except -1

    # The task that goes on when it receives what is waited for; None if there is none. For debug mode
    cdef object waiting_task(self)

    # For its server's limits
    cdef First first_frame(self) noexcept

    # What it has received and not delivered yet: how many of its bytes lie in this pool's slabs, a copy, forgetting it
    cdef Py_ssize_t unread_in(self, Pool pool) except -1
    cdef bytes unread(self)
    cdef int drop_unread(self) except -1
