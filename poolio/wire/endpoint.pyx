"""Owns what all of poolio's transports are: a socket with a protocol. Beginning, pausing, water marks, the end.

Refuses to know how data is read and sent: its subclasses do (stream; outbox and datagram). Called by them, by shortage
when there is memory again or an endpoint must be closed, and by protocols for what asyncio's transports have in common.

The state is a set of flags (endpoint.pxd). fd is -1 once connection_lost() has run. connection_lost() never runs inside
close() or abort(), but through the loop's call_soon().

An accepted connection has no socket object until somebody asks for it. The object owns the descriptor from then on.
"""

import os
import socket
import sys
from asyncio import trsock
from asyncio.base_events import Server
from asyncio.log import logger
from asyncio.sslproto import SSLProtocol

from cpython.object cimport PyObject, PyObject_GenericSetAttr, PyTypeObject
from libc.errno cimport EBADF

from poolio.c.net cimport AF_INET, AF_INET6, EPOLLIN, EPOLLOUT, poolio_close, poolio_own_address
from poolio.c.objects cimport poolio_is_finalizing, poolio_warn_at_end, poolio_with_own_dict, poolio_without_dict
from poolio.c.python cimport PyType_Modified
from poolio.wire.address cimport address_of
from poolio.wire.reactor cimport Reactor, free_context
from poolio.wire.receiver cimport CAME, OWED, UNKNOWN, First, Receiver
from poolio.wire.shortage cimport Claimant, enter_list, leave_list, stop_waiting, wait_for_room

from poolio.memory.methods import forbid_new

cdef int IPPROTO_TCP = socket.IPPROTO_TCP
cdef bint SERVERS_KEEP_TRANSPORTS = sys.version_info >= (3, 13)

cdef enum:
    HIGH_WATER = 65536          # asyncio's defaults
    LOW_WATER = 16384

# These are kept here as they are now: the names of a module are None when the interpreter ends, and programs put other
# classes in the place of socket.socket (PySocks, mocks).
cdef object Socket = socket.socket
cdef object SHUT_RDWR = socket.SHUT_RDWR

# On CPython 3.11 the __dict__ of all transports that nobody has given an attribute
cdef dict _no_attributes = {}
cdef set _with_attributes = set()       # the classes of transports


cdef class Endpoint(Claimant):

    def __init__(self):
        raise TypeError("an Endpoint is made by poolio's functions that connect and serve")

    def __dealloc__(self):
        if self.fd >= 0 and self.sock is None:
            poolio_close(self.fd)

    def __del__(self):
        leave_list(self)
        if self.fd < 0:
            return
        if self.state & HAS_BEGUN and not self.reactor.is_inherited:      # else nobody has been given it
            poolio_warn_at_end(ResourceWarning, f"unclosed transport {self!r}", <PyObject *>self)
        self.close_socket()
        if not poolio_is_finalizing():
            self.on_end()

    def __setattr__(self, name, value):
        set_attribute(self, name, value)

    def __repr__(self):
        if self.fd < 0:
            return f"<poolio.{type(self).__name__} closed>"
        return (
            f"<poolio.{type(self).__name__}{' closing' if self.state & CLOSING else ''} fd={self.fd} "
            f"read={'polling' if self.interest & EPOLLIN else 'idle'} "
            f"write=<{'polling' if self.state & BLOCKED else 'idle'}, bufsize={self.refused_bytes()}>>"
        )

    cdef Py_ssize_t refused_bytes(self) noexcept:
        return 0

    cdef int send_cork(self) except -1:
        return 0

    cdef void drop_queue(self) noexcept:
        pass

    cdef object forget_protocol(self):
        self.slab = None

    cdef object on_end(self):
        pass

    cdef object socket_of(self):
        return self.sock

    cdef object callee(self):
        return self.protocol

    # --- the beginning ----------------------------------------------------------------------------------

    cdef int begin(self) except -1:
        """Call connection_made() and start to read. The caller has entered the transport's context.

        It is waited for first: connection_made() may run a loop, and nothing else reads before it returns.
        """
        cdef double started = self.reactor.clock()
        failure = None
        protocol = self.protocol
        self.state |= HAS_BEGUN
        try:
            self.update_interest()
        except (OSError, MemoryError) as exc:
            failure = exc
        try:
            protocol.connection_made(self)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            if isinstance(self.protocol, Receiver):
                self.fail(exc, "Fatal error: protocol.connection_made() call failed.")
            else:                               # as on asyncio, whose users rely on it
                self._report("protocol.connection_made() failed", exc)
        finally:
            self.reactor.tell_if_slow(started, protocol, self)
        if failure is not None:
            self.fail(failure, "Fatal error: the system can't wait for another socket.")
        return 0

    def _begin(self, waiter):
        try:
            self.begin()
        finally:
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    # --- reading ----------------------------------------------------------------------------------------

    def pause_reading(self):
        """Read nothing until `resume_reading()`."""
        if not self.state & (CLOSING | PAUSED):
            self.state |= PAUSED
            self.update_interest()

    def resume_reading(self):
        """Read again."""
        if not self.state & CLOSING and self.state & PAUSED:
            self.state &= ~<unsigned int>PAUSED
            self.update_interest()

    def is_reading(self):
        """True if it is neither paused nor closing."""
        return not self.state & (CLOSING | PAUSED)

    cdef int update_interest(self) except -1:
        cdef unsigned int events = 0
        if self.state & (HAS_BEGUN | PAUSED | CLOSING | AT_END | SHORT) == HAS_BEGUN:
            events = EPOLLIN
        if self.state & (BLOCKED | RESTS) == BLOCKED:
            events |= EPOLLOUT
        return self.reactor.set_interest(self, events)

    cdef int wait_for_memory(self) except -1:
        self.state |= SHORT
        wait_for_room(self, self.slab)
        return self.update_interest()

    cdef int room_again(self) except -1:
        self.state &= ~<unsigned int>SHORT
        return self.update_interest()

    cdef bint is_over(self) noexcept:
        return (self.state & LOST) != 0

    cdef First first_frame(self):
        cdef First first = UNKNOWN
        protocol = self.protocol
        if self.state & FIRST_CAME:
            return CAME
        while isinstance(protocol, SSLProtocol):
            protocol = protocol._app_protocol
        if isinstance(protocol, Receiver):
            first = (<Receiver>protocol).first_frame()
        if first == UNKNOWN:                    # a protocol without frames: any byte
            first = CAME if self.state & HEARD else OWED
        return first

    cdef int note_first_frame(self) except -1:
        if self.first_frame() == CAME:
            self.state |= FIRST_CAME
        return 0

    # --- writing ----------------------------------------------------------------------------------------

    def get_write_buffer_size(self):
        """Bytes that the kernel has refused and that are queued; each queued datagram counts 8 bytes more.

        What waits for the end of a callback is sent first.
        """
        self.send_cork()
        return self.refused_bytes()

    def get_write_buffer_limits(self):
        """The water marks (low, high) in bytes."""
        return self.low_water, self.high_water

    def set_write_buffer_limits(self, high=None, low=None):
        """Set the water marks in bytes: pause_writing() is called above `high`, resume_writing() at `low` or below.

        They are 65536 and 16384 by default. If one of them is missing, `low` is a quarter of `high`. ValueError unless
        high >= low >= 0.
        """
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self.high_water = int(high)
        self.low_water = int(low)
        self.pause_protocol()

    cdef int pause_protocol(self) except -1:
        if self.state & PROTOCOL_PAUSED or self.refused_bytes() <= self.high_water:
            return 0
        self.state |= PROTOCOL_PAUSED
        return self._tell("pause_writing")

    cdef int resume_protocol(self) except -1:
        if not self.state & PROTOCOL_PAUSED or self.refused_bytes() > self.low_water:
            return 0
        self.state &= ~<unsigned int>PROTOCOL_PAUSED
        return self._tell("resume_writing")

    def _tell(self, method, *arguments):
        cdef double started = self.reactor.clock()
        protocol = self.protocol
        try:
            getattr(self.protocol, method)(*arguments)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._report(f"protocol.{method}() failed", exc)
        finally:
            self.reactor.tell_if_slow(started, protocol, self)
        return 0

    def _report(self, message, exc):
        self.reactor.loop.call_exception_handler({
            "message": message, "exception": exc, "transport": self, "protocol": self.protocol,
        })

    # --- the end ----------------------------------------------------------------------------------------

    def is_closing(self):
        """True if it is closing or closed."""
        return (self.state & CLOSING) != 0

    def close(self):
        """Read nothing more, send what is queued, then close. connection_lost(None) is called later, never inside."""
        self.send_cork()
        if not self.state & CLOSING:
            self.state |= CLOSING
            self.update_interest()
        if not self.state & (BLOCKED | LOST):
            self.end(None)

    def abort(self):
        """Close without sending what the kernel has refused so far."""
        self._force_close(None)

    def _force_close(self, exc):
        self.send_cork()
        if self.state & LOST:
            return
        self.drop_queue()
        self.state &= ~<unsigned int>BLOCKED
        self.state |= CLOSING
        self.update_interest()
        self.end(exc)

    cdef int fail(self, exc, message) except -1:
        try:
            if not isinstance(exc, OSError):
                self._report(message, exc)
            elif self.reactor.loop.get_debug():
                logger.debug("%r: %s", self, message, exc_info=True)
        finally:                                # it ends even if there is no memory to say why
            self._force_close(exc)
        return 0

    def _fatal_error(self, exc, message="Fatal error on transport"):
        self.fail(exc, message)

    cdef int end(self, exc) except -1:
        """Schedule connection_lost(). If there is no memory for it, the endpoint is not LOST and can be ended again."""
        self.state |= LOST                      # first: call_soon() may collect garbage whose end aborts this
        try:
            self.reactor.loop.call_soon(self._call_connection_lost, exc, context=free_context(self.context))
        except BaseException:
            self.state &= ~<unsigned int>LOST
            raise
        return 0

    def _call_connection_lost(self, exc):
        try:
            if self.protocol is not None:       # None: it was accepted and ended before it had one
                self.protocol.connection_lost(exc)
        finally:
            self.close_socket()
            self.protocol = None
            self.forget_protocol()
            self.on_end()

    cdef object close_socket(self):
        self.reactor.set_interest(self, 0)
        self.reactor.remove_endpoint(self)      # what may fail comes afterwards
        leave_list(self)
        if self.state & SHORT and self.slab is not None:
            self.state &= ~<unsigned int>SHORT
            stop_waiting(self, self.slab)
        if self.fd < 0:
            return
        if self.state & SENDS_FILE and self.sock is not None:
            try:
                self.sock.shutdown(SHUT_RDWR)   # sendfile() has a descriptor of its own on the same socket
            except OSError:
                pass
        if not poolio_is_finalizing():
            self._remember_addresses()
        self.drop_queue()
        fd, self.fd = self.fd, -1
        if self.sock is None:
            poolio_close(fd)
        else:
            release_socket(self.sock)

    # --- what others may ask ----------------------------------------------------------------------------

    def get_protocol(self):
        """The protocol; None after connection_lost()."""
        return self.protocol

    def set_protocol(self, protocol):
        """Hand over to this protocol: it is called from now on."""
        self.send_cork()
        self.note_first_frame()
        if self.state & SHORT and self.slab is not None:        # the other protocol may have another pool
            stop_waiting(self, self.slab)
            self.room_again()
        self.protocol = protocol
        self.forget_protocol()

    def get_extra_info(self, name, default=None):
        """What is known as 'socket', 'sockname', 'peername' or by a name given at the opening; else `default`."""
        if name == "socket":
            self.send_cork()                    # before somebody else writes to it
        if self.extra is not None and name in self.extra:
            return self.extra[name]
        if name == "socket":
            sock = self.socket_of()
            if sock is None:
                sock = closed_socket(self.family)
            return default if sock is None else self._keep(name, trsock.TransportSocket(sock))
        if name == "sockname" or name == "peername":
            return self._address(name)
        return default

    def _keep(self, name, value):
        if self.extra is None:
            self.extra = {}
        self.extra[name] = value
        return value

    cdef object _remember_addresses(self):
        """Keep the addresses, which can be asked for after the end too. A peer's IP address is kept from the start."""
        if self.family == AF_INET or self.family == AF_INET6:
            poolio_own_address(self.fd, &self.own)
        else:
            for name in ("sockname", "peername"):
                self._keep(name, self.get_extra_info(name))

    cdef object _address(self, name):
        """The address as socket.getsockname() or getpeername() returns it; None if it is not known."""
        if self.family != AF_INET and self.family != AF_INET6:
            return self._other_address(name)
        if name == "peername":
            return address_of(&self.peer)
        if self.fd >= 0:
            poolio_own_address(self.fd, &self.own)
        return address_of(&self.own)

    cdef object _other_address(self, name):
        if self.fd >= 0:
            try:
                return self.socket_of().getsockname() if name == "sockname" else self.socket_of().getpeername()
            except OSError:
                pass
        return None

    # --- what asyncio's loops look for --------------------------------------------------------------------

    @property
    def _loop(self):
        return self.reactor.loop

    @property
    def _adapter(self):
        return self.reactor.adapter

    @property
    def _sock(self):
        return self.socket_of() if self.fd >= 0 else None

    @property
    def _sock_fd(self):
        return self.fd

    @property
    def _protocol_paused(self):
        return (self.state & PROTOCOL_PAUSED) != 0


forbid_new(Endpoint)


cdef int has_no_attributes(object transport) except -1:
    """Take its __dict__ from a new transport, until somebody sets an attribute or asks for it."""
    poolio_without_dict(<PyObject *>transport, <PyObject *>_no_attributes)
    return 0


cdef int set_attribute(object transport, name, value) except -1:
    """What the __setattr__() of a transport does."""
    poolio_with_own_dict(<PyObject *>transport, <PyObject *>_no_attributes)
    PyObject_GenericSetAttr(transport, name, value)
    return 0


def attributes_of(transport):
    """Return the attributes that users and mocks have set, as the `__dict__` of a transport."""
    if type(transport) not in _with_attributes:
        raise AssertionError("attributes_of() is the __dict__ of poolio's transports alone")
    return poolio_with_own_dict(<PyObject *>transport, <PyObject *>_no_attributes)


def show_attributes(kind):
    """Make attributes_of() the `__dict__` of a finished class: Cython's own would show the one that all share."""
    _with_attributes.add(kind)
    (<dict>(<PyTypeObject *>kind).tp_dict)["__dict__"] = property(attributes_of)
    PyType_Modified(<PyTypeObject *>kind)


cdef int prepare(Endpoint endpoint, Reactor reactor, object protocol, object context) except -1:
    """Fill in a new endpoint. The caller fills in fd, family and peer, and sock if there is a socket object."""
    has_no_attributes(endpoint)
    endpoint.protocol = protocol
    endpoint.context = context
    endpoint.high_water = HIGH_WATER
    endpoint.low_water = LOW_WATER
    enter_list(endpoint, reactor)
    return 0


cdef object make_known(Endpoint endpoint):
    """Tell the reactor of the endpoint, and asyncio's own loop: one descriptor must not be watched twice."""
    endpoint.reactor.put_endpoint(endpoint)
    if endpoint.reactor.transports is not None:
        endpoint.reactor.transports[endpoint.fd] = endpoint


cdef int take_socket(Endpoint endpoint, sock) except -1:
    """Use a socket object of another owner. It keeps its descriptor until release_socket(), even if it is closed.

    Otherwise the number could become another file's, and the endpoint would read from that file and write to it. The
    count is the one that files made by socket.makefile() use (uvloop does the same).
    """
    endpoint.fd = sock.fileno()
    if endpoint.fd < 0:
        raise OSError(EBADF, f"{os.strerror(EBADF)}: the socket was closed before a transport could be made of it")
    endpoint.sock = sock
    family = sock.family
    endpoint.family = family if isinstance(family, int) else socket.AF_UNSPEC       # of a mocked socket it is a mock
    if issubclass(type(sock), Socket):                   # isinstance() is true of a mock too
        sock._io_refs += 1
    return 0


cdef bint _takes_transports(object server):
    """True if the server keeps its transports, as asyncio's do since CPython 3.13; before, they only count them."""
    return SERVERS_KEEP_TRANSPORTS or type(server) is not Server and getattr(server, "takes_transports", False)


cdef object enter_server(Endpoint endpoint, object server):
    server._attach(endpoint) if _takes_transports(server) else server._attach()


cdef object leave_server(Endpoint endpoint, object server):
    server._detach(endpoint) if _takes_transports(server) else server._detach()


cdef int protocol_of(int family) noexcept:
    """The number of the protocol of a stream socket: accept() does not tell it."""
    return IPPROTO_TCP if family == AF_INET or family == AF_INET6 else 0


cdef object closed_socket(int family):
    """Make what is left of a stream socket that had no object until its end; None if there is no descriptor for it."""
    try:
        sock = Socket(family, socket.SOCK_STREAM, protocol_of(family))
    except OSError:
        return None
    sock.close()
    return sock


cdef object release_socket(sock):
    """Close a socket object as its owner would: the descriptor is closed when no other file uses it."""
    if issubclass(type(sock), Socket):
        sock._decref_socketios()
    sock.close()
