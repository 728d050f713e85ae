"""Owns the stream transport: one connected socket, TCP or unix, with all that asyncio.Transport promises.

Refuses to know how it was connected or accepted (the loops floor, listener), how readiness is found (reactor) and how a
queue is sent (writequeue). Called by the reactor when the socket is ready, and by protocols.

    readable -> _read(): recv into the tail of the loop's read slab -> a Buffer of what came -> data_received(buf)
    write()  -> the queue -> in a callback: sent when it ends; anywhere else: sent at once -> what the kernel refuses
                waits for EPOLLOUT, and only that counts against the water marks

poolio.Protocol gets Buffers, asyncio.Protocol gets `bytes`, asyncio.BufferedProtocol gives the room itself.

What all transports have in common is endpoint's. A queue that is not empty and not BLOCKED is corked: it waits for the
end of the running callback. It is sent sooner before anything that would come after it on asyncio (close, abort,
write_eof, sendfile, set_protocol, asking for the socket or the queue's size, the end of a callback that raises), and as
soon as it holds CORK_BYTES.
"""

import asyncio
import os
import socket
from asyncio import constants
from asyncio.log import logger
from asyncio.sslproto import SSLProtocol
from socket import socket as Socket     # the class that endpoint.pyx looks for

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_Check
from cpython.object cimport PyObject
from libc.errno cimport EAGAIN

from poolio.c.faults cimport poolio_new_bytes
from poolio.c.net cimport (
    AF_INET, AF_INET6, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, poolio_no_delay, poolio_peer, poolio_recv, poolio_send,
    poolio_send_end,
)
from poolio.c.objects cimport poolio_owner_of_view
from poolio.c.python cimport (
    PyContext_CopyCurrent, PyContext_Exit, PyMethod_Check, PyMethod_GET_FUNCTION, PyVectorcall_Function,
)
from poolio.memory.allocation cimport count_copied, ensure_alive, try_freeze
from poolio.memory.buffer cimport Buffer
from poolio.memory.pool cimport Pool, default_pool
from poolio.wire.delivery cimport call_with_buffer, call_with_data
from poolio.wire.endpoint cimport (
    ACTIVE, AT_END, BLOCKED, CLOSING, ENDS, HEARD, LOST, SENDS_FILE, Endpoint, enter_server, leave_server, make_known,
    prepare, protocol_of, take_socket,
)
from poolio.wire.reactor cimport Reactor, enter_context, mark_dirty
from poolio.wire.readslab cimport read_slab_for, room_in
from poolio.wire.receiver cimport Receiver
from poolio.wire.writequeue cimport (
    clear_queue, queued_from, is_sound, put_buffer, put_object, send_queue, unpin, unpin_last,
)

from poolio.memory.methods import forbid_new
from poolio.wire.endpoint import show_attributes

cdef enum:
    CORK_BYTES = 65536          # bytes that may be corked before they are sent: asyncio's high water

BOUNDS = {"CORK_BYTES": CORK_BYTES}         # for tests and tools: C constants have no Python name

cdef str DATA_RECEIVED = "data_received"
cdef str READ_ERROR = "Fatal read error on socket transport"


class TransportShape(asyncio.transports._FlowControlMixin, asyncio.Transport):
    """What isinstance() sees in a StreamTransport, which can't inherit from asyncio's classes: their slots collide."""


@cython.final
cdef class StreamTransport(Endpoint):
    """A connected stream socket on poolio's reactor; use it as asyncio.Transport.

    `write()` takes Buffers as well as bytes-like objects. It is made by poolio's create_* functions and by
    poolio.EventLoop.
    """

    _start_tls_compatible = True
    _sendfile_compatible = constants._SendfileMode.TRY_NATIVE

    def __init__(self):
        raise TypeError("a StreamTransport is made by create_server(), create_connection() and the like")

    def __dealloc__(self):
        clear_queue(&self.queue)

    @property
    def __class__(self):
        return TransportShape

    # --- reading ----------------------------------------------------------------------------------------

    cdef int on_ready(self, unsigned int events) except -1:
        if events != <unsigned int>EPOLLIN or not self.interest & <unsigned int>EPOLLIN:
            self._on_ready_slow(events)
        elif self.receives_as >= BYTES:
            self._read()
        elif self.receives_as == CIPHER:
            (<Receiver>self.protocol).read_itself()
        else:
            self._on_ready_slow(events)
        return self._send_cork()

    cdef int _on_ready_slow(self, unsigned int events) except -1:
        cdef Py_ssize_t queued
        if events & <unsigned int>(EPOLLHUP | EPOLLERR):
            events |= EPOLLIN | EPOLLOUT        # reading or sending will tell what it is
        if events & self.interest & <unsigned int>EPOLLIN:
            if self.receives_as == UNDECIDED:
                self._decide()
            if self.receives_as == CIPHER:
                (<Receiver>self.protocol).read_itself()
            elif self.receives_as == ROOM:
                self._read_into_room()
            else:
                self._read()
            self._send_cork()
        if events & self.interest & <unsigned int>EPOLLOUT:
            queued = self.queue.size
            self._send()
            if self.queue.size < queued:
                self.state |= ACTIVE
        return 0

    cdef object callee(self):
        """The task that is waiting for data, or the protocol; behind TLS the one that the data is for."""
        protocol = self.protocol
        if isinstance(protocol, SSLProtocol):
            return protocol._app_protocol
        task = (<Receiver>protocol).waiting_task() if isinstance(protocol, Receiver) else None
        return protocol if task is None else task

    cdef int on_failure(self, exc) except -1:
        return self.fail(exc, "Fatal error: protocol.data_received() call failed.")

    cdef inline int _read(self) except -1:
        cdef Py_ssize_t room_size, received
        cdef char *room = room_in(self.slab, &room_size)
        cdef Buffer buf
        cdef Receiver receiver
        if room == NULL:
            return self.wait_for_memory()
        received = poolio_recv(self.fd, room, <size_t>room_size)
        if received <= 0:
            self.slab.leave()
            return self._read_nothing(received)
        self.state |= ACTIVE | HEARD
        if self.receives_as == BYTES:
            return self._deliver_bytes(self._copy_of(room, received))
        buf = self.slab.take(received)
        if self.receives_as == BUFFERS:
            return self._deliver(buf)
        receiver = <Receiver>self.protocol      # set_protocol() may be called meanwhile
        return receiver.receive(buf, self.context)

    cdef bytes _copy_of(self, const char *room, Py_ssize_t size):
        """Copy what was read to bytes; its room is free for the next read."""
        try:
            data = poolio_new_bytes(room, size)
        finally:
            self.slab.claim(0, size, 0)
        self.slab.look_after_timer()
        return data

    cdef inline int _deliver(self, Buffer buf) except -1:
        method = self.data_received             # set_protocol() may be called meanwhile
        return call_with_buffer(method, self.vectorcall, self.context, buf)

    cdef int _deliver_bytes(self, object data) except -1:
        protocol = self.protocol                # set_protocol() may be called meanwhile
        return call_with_data(protocol, DATA_RECEIVED, self.context, data)

    cdef int _decide(self) except -1:
        """Find out how this protocol wants its data. Called late, as connection_made() may still set its pool."""
        cdef Receiver receiver
        protocol = self.protocol
        if isinstance(protocol, Receiver):
            receiver = <Receiver>protocol
            if receiver.reads_itself():
                self.receives_as = CIPHER
                return 0
            self.slab = read_slab_for(receiver.connection_pool(), self.reactor.loop)
            self.data_received = protocol.data_received
            self.receives_as = RECEIVER if receiver.receives() else BUFFERS
            if PyMethod_Check(<PyObject *>self.data_received):
                self.vectorcall = PyVectorcall_Function(
                    PyMethod_GET_FUNCTION(<PyObject *>self.data_received))
        elif isinstance(protocol, asyncio.BufferedProtocol):
            self.receives_as = ROOM
        else:
            self.slab = read_slab_for(default_pool(), self.reactor.loop)
            self.receives_as = BYTES
        return 0

    cdef int _read_into_room(self) except -1:
        cdef Py_buffer view
        cdef Py_ssize_t received
        message = "Fatal error: protocol.get_buffer() call failed."
        context = enter_context(self.context)
        try:
            room = self.protocol.get_buffer(-1)
            if len(room) == 0:
                raise RuntimeError("get_buffer() returned an empty buffer")
            message = READ_ERROR
            PyObject_GetBuffer(room, &view, PyBUF_WRITABLE)
            received = poolio_recv(self.fd, view.buf, <size_t>view.len)
            PyBuffer_Release(&view)
            message = "Fatal error: protocol.buffer_updated() call failed."
            if received > 0:
                self.state |= ACTIVE | HEARD
                self.protocol.buffer_updated(received)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            return self.fail(exc, message)
        finally:
            PyContext_Exit(<PyObject *>context)
        if received <= 0:
            self._read_nothing(received)
        return 0

    cdef int _read_nothing(self, Py_ssize_t result) except -1:
        """Handle a read that brought no bytes: the peer's end, a false alarm or an error."""
        if result == -EAGAIN:
            return 0
        if result < 0:
            return self.fail(OSError(-result, os.strerror(-result)), READ_ERROR)
        self.state |= AT_END                    # first: eof_received() may run a loop, which must not call it again
        self.update_interest()
        context = enter_context(self.context)
        try:
            keep_open = self.protocol.eof_received()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            return self.fail(exc, "Fatal error: protocol.eof_received() call failed.")
        finally:
            PyContext_Exit(<PyObject *>context)
        if not keep_open:
            self.close()
        return 0

    cdef int room_again(self) except -1:
        Endpoint.room_again(self)
        return (<Receiver>self.protocol).go_on_later() if self.receives_as == CIPHER else 0

    cdef Py_ssize_t holds_of(self, Pool pool) except -1:
        """Bytes of this pool that wait here: to be sent, or to be delivered."""
        cdef Py_ssize_t held = queued_from(&self.queue, pool)
        protocol = self.protocol
        while isinstance(protocol, SSLProtocol):
            protocol = protocol._app_protocol   # the decrypted bytes lie with it
        if isinstance(protocol, Receiver):
            held += (<Receiver>protocol).unread_in(pool)
        return held

    # --- writing ----------------------------------------------------------------------------------------

    cdef Py_ssize_t refused_bytes(self) noexcept:
        return self.queue.size if self.state & BLOCKED else 0

    cdef void drop_queue(self) noexcept:
        clear_queue(&self.queue)

    def write(self, data):
        """Send what a Buffer or bytes-like object holds now; never blocks.

        `bytes`, views of `bytes`, and Buffers (frozen from here on) are sent without a copy, except Buffers of which a
        writable view is alive; you may release a Buffer at once. What the kernel does not take is queued, small pieces
        together in memory of the queue's own; above high water the protocol's pause_writing() is called.
        """
        self.write_data(data)

    def writelines(self, list_of_data):
        """Send several pieces in order, gathered."""
        cdef PyObject *current = self.reactor.current
        cdef bint has_begun = False
        cdef list pieces = list(list_of_data)              # an error of the iterable is the caller's
        if self.state & (ENDS | LOST | SENDS_FILE):
            self._refuse_write("writelines", b"")      # once, however many there are
            return
        self.reactor.current = <PyObject *>self
        try:
            for data in pieces:
                self.write_data(data)
                has_begun = True
                if self.state & LOST:                      # it was lost just now: the rest has nowhere to go
                    break
        except MemoryError as exc:
            if not has_begun:
                raise
            self.fail(exc, "Fatal write error: no memory for the rest of what is written")
        finally:
            self.reactor.current = current
            if self.queue.first != NULL and not self.state & BLOCKED:
                self._queue_grew()

    cdef int write_data(self, data) except -1:
        if self.state & (ENDS | LOST | SENDS_FILE):
            return self._refuse_write("write", data)
        if type(data) is Buffer:
            return self._write_buffer(<Buffer>data)
        return self._write_other(data)

    cdef inline int _write_buffer(self, Buffer buf) except -1:
        ensure_alive(buf)
        if buf.length == 0:
            return 0
        if try_freeze(buf):
            put_buffer(&self.queue, buf)
        else:
            count_copied(buf)
            copy = poolio_new_bytes(buf.data, buf.length)
            put_object(&self.queue, copy, PyBytes_AS_STRING(copy), buf.length)
        if self.reactor.current == <PyObject *>self and self.queue.size < CORK_BYTES and not self.state & BLOCKED:
            return 0                             # this is its own callback: it is sent when that ends
        return self._queue_grew()

    cdef int _write_other(self, data) except -1:
        cdef Py_buffer view
        cdef PyObject *owner
        cdef Py_ssize_t sent = 0
        if PyBytes_CheckExact(data):
            if PyBytes_GET_SIZE(data) == 0:
                return 0
            put_object(&self.queue, data, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
            return self._queue_grew()
        if not PyObject_CheckBuffer(data):
            raise TypeError(f"data argument must be a Buffer or a bytes-like object, not {type(data).__name__!r}")
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if view.len == 0:
                return 0
            owner = poolio_owner_of_view(data) if PyMemoryView_Check(data) else NULL
            if owner != NULL and PyBytes_CheckExact(<object>owner):
                put_object(&self.queue, <object>owner, <const char *>view.buf, view.len)
                return self._queue_grew()
            # the object may change: what can't be sent now is copied
            if not self.state & BLOCKED and (self.reactor.current == NULL or view.len >= CORK_BYTES):
                self._send_cork()
                if self.state & LOST:
                    return 0
                if not self.state & BLOCKED:
                    sent = poolio_send(self.fd, view.buf, <size_t>view.len)
                    self.state |= ACTIVE
                    if sent == view.len:
                        return 0
                    sent = max(sent, 0)     # an error comes back when the rest is sent
            return self._keep_copy(<const char *>view.buf + sent, view.len - sent, sent > 0)
        finally:
            PyBuffer_Release(&view)

    cdef int _keep_copy(self, const char *data, Py_ssize_t length, bint has_begun) except -1:
        """Queue a copy. If a part was sent already, it can't be taken back: without memory the connection ends then."""
        try:
            copy = poolio_new_bytes(data, length)
            put_object(&self.queue, copy, PyBytes_AS_STRING(copy), length)
        except MemoryError as exc:
            if not has_begun:
                raise
            return self.fail(exc, "Fatal write error: no memory for the rest of what is written")
        return self._queue_grew()

    cdef inline int _queue_grew(self) except -1:
        if self.state & BLOCKED:
            unpin_last(&self.queue)
            return self.pause_protocol()
        if self.reactor.current != NULL and self.queue.size < CORK_BYTES:
            if self.reactor.current != <PyObject *>self:
                mark_dirty(self.reactor, self)
            return 0
        return self._send()

    cdef int on_callback_end(self) except -1:
        return self._send_cork()

    cdef int send_cork(self) except -1:
        return self._send_cork()

    cdef inline int _send_cork(self) except -1:
        if self.queue.first != NULL and not self.state & BLOCKED:
            return self._send()
        return 0

    cdef inline int _send(self) except -1:
        cdef int result = send_queue(&self.queue, self.fd)
        if result == 0 and not self.state & (BLOCKED | CLOSING | ENDS | SENDS_FILE):
            self.state |= ACTIVE
            return 0
        return self._sent(result)

    cdef int _sent(self, int result) except -1:
        """Act on what send_queue() has returned."""
        if result == 0:
            self.state |= ACTIVE
            if self.state & BLOCKED:
                self.state &= ~<unsigned int>BLOCKED
                self.update_interest()
                self.resume_protocol()          # the protocol may write in it
            if self.queue.first == NULL:
                self._after_drain()
        elif result == -EAGAIN:
            if not self.state & BLOCKED:
                self.state |= BLOCKED | ACTIVE      # of what was written just now the kernel has taken the beginning
                unpin(&self.queue)
                self.update_interest()
                self.pause_protocol()
            else:
                self.resume_protocol()
        else:
            clear_queue(&self.queue)
            exc = OSError(-result, os.strerror(-result))
            if self.empty_waiter is not None and not self.empty_waiter.done():
                self.empty_waiter.set_exception(exc)
            self.fail(exc, "Fatal write error on socket transport")
        return 0

    cdef int _after_drain(self) except -1:
        if self.empty_waiter is not None and not self.empty_waiter.done():
            self.empty_waiter.set_result(None)
        if self.state & LOST:
            return 0
        if self.state & CLOSING:
            return self.end(None)
        if self.state & ENDS:
            poolio_send_end(self.fd)
        return 0

    def _refuse_write(self, method, data):
        if self.state & ENDS:
            raise RuntimeError(f"Cannot call {method}() after write_eof()")
        if self.empty_waiter is not None:
            raise RuntimeError(f"unable to {method}; sendfile is in progress")
        if not isinstance(data, Buffer) and not PyObject_CheckBuffer(data):
            raise TypeError(f"data argument must be a Buffer or a bytes-like object, not {type(data).__name__!r}")
        if self.lost_writes >= constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES:
            logger.warning("socket.send() raised exception.")
        self.lost_writes += 1
        return 0

    def can_write_eof(self):
        """True: `write_eof()` is possible."""
        return True

    def write_eof(self):
        """Send what is queued, then the end of the stream; reading goes on."""
        if self.state & (CLOSING | ENDS):
            return
        self._send_cork()
        self.state |= ENDS
        if self.queue.first == NULL and not self.state & LOST:
            poolio_send_end(self.fd)

    # --- the end ----------------------------------------------------------------------------------------

    cdef object forget_protocol(self):
        self.receives_as = UNDECIDED
        self.data_received = self.slab = None
        self.vectorcall = NULL

    cdef object on_end(self):
        waiter = self.empty_waiter
        if self.server is not None:
            self._leave_server()
        if waiter is not None and not waiter.done():
            waiter.set_exception(ConnectionError("Connection is closed by peer"))

    cdef object _leave_server(self):
        server, self.server = self.server, None
        leave_server(self, server)

    cdef object socket_of(self):
        if self.sock is None and self.fd >= 0:
            take_socket(self, Socket(
                self.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, protocol_of(self.family), fileno=self.fd))
        return self.sock

    def check(self):
        """Raise AssertionError unless the state adds up."""
        if not is_sound(&self.queue):
            raise AssertionError(f"{self!r}: the write queue does not add up")
        if self.state & BLOCKED and self.queue.first == NULL:
            raise AssertionError(f"{self!r} waits to send nothing")
        if self.queue.first != NULL and not (
            self.state & BLOCKED or self.is_dirty or self.reactor.current == <PyObject *>self
        ):
            raise AssertionError(f"{self!r}: nobody will send {self.queue.size} bytes")

    # --- what asyncio's loops look for --------------------------------------------------------------------

    def _make_empty_waiter(self):
        if self.empty_waiter is not None:
            raise RuntimeError("Empty waiter is already set")
        self._send_cork()
        self.empty_waiter = self.reactor.loop.create_future()
        self.state |= SENDS_FILE
        if self.queue.first == NULL:
            self.empty_waiter.set_result(None)
        return self.empty_waiter

    def _reset_empty_waiter(self):
        self.empty_waiter = None
        self.state &= ~<unsigned int>SENDS_FILE


forbid_new(StreamTransport)
show_attributes(StreamTransport)


cdef StreamTransport new_transport(Reactor reactor, object protocol, object context):
    """Make a transport without a socket. The caller fills in fd, family and peer, or sock, and then calls begin()."""
    cdef StreamTransport transport = StreamTransport.__new__(StreamTransport)
    prepare(transport, reactor, protocol, context)
    return transport


cdef object attach(StreamTransport transport, object server):
    """Make the connection known to the loop, and until its end to the server that has accepted it."""
    make_known(transport)
    if server is not None:
        enter_server(transport, server)
        transport.server = server


def open_transport(Reactor reactor, sock, protocol, waiter=None, extra=None, server=None, context=None):
    """Make the transport of a connected socket, which it owns from now on, and schedule connection_made().

    Its callbacks run in `context`, or in a copy of the current one.

    The loops floor calls this where asyncio's own loops make their transport, in `_make_socket_transport()`.
    """
    cdef StreamTransport transport
    transport = new_transport(reactor, protocol, PyContext_CopyCurrent() if context is None else context)
    take_socket(transport, sock)
    transport.extra = dict(extra) if extra else None
    poolio_peer(transport.fd, &transport.peer)
    if sock.family == AF_INET or sock.family == AF_INET6:
        poolio_no_delay(transport.fd)
    attach(transport, server)
    reactor.loop.call_soon(transport._begin, waiter, context=transport.context)
    return transport
