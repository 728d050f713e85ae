# Endpoint: a socket with a protocol. Every transport of poolio's is an Endpoint. See endpoint.pyx.

from cpython.object cimport PyObject

from poolio.c.net cimport poolio_address
from poolio.wire.reactor cimport Reactor
from poolio.wire.readslab cimport ReadSlab
from poolio.wire.receiver cimport First
from poolio.wire.shortage cimport Claimant

cdef enum State:
    HAS_BEGUN = 1               # connection_made() was called; before it nothing is read
    PAUSED = 2                  # pause_reading() was called, resume_reading() was not
    AT_END = 4                  # the peer has sent its last byte
    BLOCKED = 8                 # the kernel refused something: the queue waits for EPOLLOUT
    PROTOCOL_PAUSED = 16        # pause_writing() was called, resume_writing() was not
    SENDS_FILE = 32             # sendfile() uses the socket
    ENDS = 64                   # write_eof() was called: nothing more is written
    CLOSING = 128               # it was closed or has failed: nothing more is read, the queue is still sent until LOST
    LOST = 256                  # connection_lost() is scheduled: nothing more is sent
    SHORT = 512                 # the pool has no memory to read into; shortage calls room_again() when it has
    RESTS = 1024                # BLOCKED, but not waiting for EPOLLOUT: a timer tries again (outbox)
    ACTIVE = 2048               # a byte came or went since the last look of the server's idle timeout (limits)
    HEARD = 4096                # a byte has come; behind TLS, one after the handshake
    FIRST_CAME = 8192           # the first frame has come: the server's timeout for it asks no more


cdef class Endpoint(Claimant):
    cdef object __weakref__
    cdef unsigned int state        # a set of State
    cdef int lost_writes           # writes after the end
    cdef short family              # of the socket
    # for its server's limits: how many looks in a row saw no byte, and how many saw no first frame yet
    cdef unsigned char silence
    cdef unsigned char age
    cdef int receives_as           # ReceivesAs of a stream transport; here it fills a gap of 4 bytes
    # from the opening to the end, when connection_lost() was called and the socket is closed
    cdef object protocol
    cdef object context            # the contextvars that its callbacks run in
    cdef ReadSlab slab             # what is read into; None: not decided yet, or the protocol brings its own room
    # water marks for what the kernel has refused, in bytes
    cdef Py_ssize_t high_water
    cdef Py_ssize_t low_water
    # what get_extra_info() tells
    cdef object sock               # the socket object that owns the descriptor; None: the endpoint owns it
    cdef dict extra
    cdef poolio_address peer
    cdef poolio_address own        # as of the closing, or of when it was last asked for

    # --- what each kind of endpoint does in its own way
    # Bytes that the kernel has refused and that are still to be sent
    cdef Py_ssize_t refused_bytes(self) noexcept
    # Send what waits for the end of a callback
    cdef int send_cork(self) except -1
    # Forget what is still to be sent
    cdef void drop_queue(self) noexcept
    # Forget what was found out about the protocol: another one takes its place, or none
    cdef object forget_protocol(self)
    # Called last, when the socket is closed
    cdef object on_end(self)
    # The socket object; a stream transport makes it when it is asked for
    cdef object socket_of(self)

    # What is known of the peer's first whole frame. note_first_frame() keeps it, when another protocol takes over
    cdef First first_frame(self)
    cdef int note_first_frame(self) except -1

    # --- what the subclasses use
    cdef int begin(self) except -1
    cdef int update_interest(self) except -1
    cdef int wait_for_memory(self) except -1
    cdef int pause_protocol(self) except -1
    cdef int resume_protocol(self) except -1
    cdef int end(self, exc) except -1
    cdef object close_socket(self)

    cdef object _remember_addresses(self)
    cdef object _address(self, name)
    cdef object _other_address(self, name)


cdef int take_socket(Endpoint endpoint, sock) except -1
cdef int has_no_attributes(object transport) except -1
cdef int set_attribute(object transport, name, value) except -1
cdef int prepare(Endpoint endpoint, Reactor reactor, object protocol, object context) except -1
cdef object make_known(Endpoint endpoint)
cdef int protocol_of(int family) noexcept
cdef object enter_server(Endpoint endpoint, object server)
cdef object leave_server(Endpoint endpoint, object server)
