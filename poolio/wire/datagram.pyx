"""Owns the datagram transport: one UDP or unix socket, with all that asyncio.DatagramTransport promises, and batches.

This file has the half that reads and delivers; the base class, Outbox, is the half that sends. Refuses to know how a
socket is bound and how names are resolved (asyncio's own code does both). Called by the reactor when the socket is
ready, and by protocols.

    readable -> _read(): recvmmsg, into the tail of the loop's read slab (inbox) -> datagrams_received(batch)

An error of a single datagram, also one that ICMP reports, goes to error_received(). What a callback raises goes to the
loop's exception handler. Neither ends the endpoint, as it serves other peers too.
"""

import asyncio
from typing import NamedTuple

cimport cython
from cpython.object cimport PyObject
from libc.errno cimport EAGAIN

from poolio.c.datagrams cimport POOLIO_BATCH, poolio_datagram_options, poolio_drops, poolio_take_error
from poolio.c.net cimport EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, poolio_peer
from poolio.c.python cimport PyContext_CopyCurrent, PyContext_Exit
from poolio.memory.pool cimport Pool, default_pool
from poolio.wire.endpoint cimport CLOSING, PAUSED, Endpoint, make_known, prepare, take_socket
from poolio.wire.inbox cimport inbox_of
from poolio.wire.outbox cimport Outbox
from poolio.wire.reactor cimport Reactor, enter_context, free_context
from poolio.wire.readslab cimport read_slab_for, room_in

from poolio.memory.methods import forbid_new, own_methods
from poolio.wire.endpoint import show_attributes

cdef enum:
    ENOUGH = 128                # datagrams after which an endpoint ends its pass, so that others get their turn
    ALONE = 4                   # passes that brought one datagram each, after which the next asks for only one
    LOOK = 8                    # but every eighth pass asks for a batch: more may come by now
    FIRST_SLOT = 2048           # bytes of room for a datagram before any has come: more than an Ethernet frame

BOUNDS = {"ENOUGH": ENOUGH, "ALONE": ALONE, "LOOK": LOOK}


class DatagramStatistics(NamedTuple):
    """What one datagram endpoint has done since it was opened. Counts of datagrams, unless said otherwise.

    received        read for the protocol; received_bytes: their bytes
    reads           system calls that brought some
    truncated       lost, and reported to error_received(): longer than what can be read, or a train of which the kernel
                    could not tell where to cut it
    unplaced        lost, and reported to error_received(): read when the pool was at its limit
    kernel_drops    lost because the socket's receive queue was full; a coalesced train counts as one
    sent            taken by the kernel; sent_bytes: their bytes
    """

    received: int
    received_bytes: int
    reads: int
    truncated: int
    unplaced: int
    kernel_drops: int
    sent: int
    sent_bytes: int


class DatagramShape(asyncio.transports._FlowControlMixin, asyncio.Transport, asyncio.DatagramTransport):
    """What isinstance() sees in a DatagramTransport, which can't inherit from asyncio's classes."""


@cython.final
cdef class DatagramTransport(Outbox):
    """A socket for datagrams on poolio's reactor; use it as asyncio.DatagramTransport.

    `sendto()` takes Buffers as well as bytes-like objects. It is made by create_datagram_endpoint(), poolio's own or
    that of poolio.EventLoop. A protocol with `datagrams_received` gets batches of (Buffer, address); any other protocol
    gets `datagram_received(bytes, address)` for each datagram.
    """

    def __init__(self):
        raise TypeError("a DatagramTransport is made by create_datagram_endpoint()")

    @property
    def __class__(self):
        return DatagramShape

    cdef object forget_protocol(self):
        self.slab = None
        self.wants = UNKNOWN
        if self.protocol is None:
            self.left = None

    # --- reading and delivering ---------------------------------------------------------------------------

    cdef int on_ready(self, unsigned int events) except -1:
        cdef int error
        context = enter_context(self.context)
        try:
            if events & <unsigned int>(EPOLLERR | EPOLLHUP):
                error = poolio_take_error(self.fd)
                if error:
                    self.tell_error(error)
            if self.left is not None:
                self._deliver_left()            # before anything that came later
            if events & self.interest & <unsigned int>EPOLLIN:
                self._read()
            if events & self.interest & <unsigned int>EPOLLOUT:
                self.send_queued()
        finally:
            PyContext_Exit(<PyObject *>context)
        return 0

    cdef int on_failure(self, exc) except -1:
        self.inbox.take_errors()                # the next endpoint that uses the inbox must not get them
        return self.fail(exc, "Fatal read error on datagram transport")

    cdef int _read(self) except -1:
        """Read until there is no more, or enough for one pass; then deliver it."""
        cdef list items
        cdef int count = 0
        if self.wants == UNKNOWN:
            self._decide()
        if self.received.alone >= ALONE and self.received.alone % LOOK > 0:
            return self._read_alone()
        items = []
        while len(items) < ENOUGH:
            count = self._read_batch(items)
            if count < self.inbox.most:
                break
        return self._end_pass(items, count)

    cdef int _read_alone(self) except -1:
        """Read one datagram, as those before it came one by one, and deliver it. If there are more, epoll says so."""
        cdef list items
        cdef Py_ssize_t size
        cdef char *room = room_in(self.slab, &size)
        cdef int count
        if room == NULL:
            self.wait_for_memory()
            return 0
        count = self.inbox.receive_alone(self.fd, room, size, not self.is_udp, &self.received)
        if count > 0 and self.inbox.is_plain and self.wants == BATCHES:
            items = [self.inbox.take_alone(self.slab, room, &self.received)]
        else:
            items = []
            self._take(items, room, count)
        return self._end_pass(items, count)

    cdef int _read_batch(self, list items) except? -4096:
        """Read once. Returns how many messages came, or a negated errno; -EAGAIN also if there is no memory for any."""
        cdef Py_ssize_t size
        cdef char *room = room_in(self.slab, &size)
        cdef int count
        if room == NULL:
            self.wait_for_memory()
            return -EAGAIN
        count = self.inbox.receive(self.fd, room, size, not self.is_udp, &self.received)
        self._take(items, room, count)
        return count

    cdef inline int _take(self, list items, char *room, int count) except -1:
        if count <= 0:
            self.slab.leave()
        elif self.wants == BATCHES:
            self.inbox.take_buffers(items, self.slab, room, &self.received)
        else:
            self.inbox.take_bytes(items, self.slab, room, &self.received)
        return 0

    cdef inline int _end_pass(self, list items, int count) except -1:
        """Deliver what was read, and tell of errors; `count` is what the last call has returned."""
        self.received.alone = self.received.alone + 1 if len(items) == 1 else 0
        errors = self.inbox.take_errors() if self.inbox.errors else None
        if items and self.wants == BATCHES:
            self._deliver_batch(items)
        elif items:
            self._deliver(items)
        if errors is not None:
            for exc in errors:
                self._tell("error_received", exc)
        return 0 if count >= 0 or count == -EAGAIN else self.tell_error(-count)

    cdef int _deliver(self, list items) except -1:
        cdef Py_ssize_t i
        if self.wants == BATCHES:
            return self._deliver_batch(items)
        for i in range(len(items)):
            if self.state & (CLOSING | PAUSED):     # a callback has closed or paused it
                self.left = items[i:]
                break
            data, address = items[i]
            try:
                self._deliver_one(data, address)
            except BaseException:                   # this ends the pass, but the rest is still delivered
                self.left = items[i + 1:]
                self.reactor.loop.call_soon(self._deliver_left, context=free_context(self.context))
                raise
        return 0

    def resume_reading(self):
        """Read again. What was read before `pause_reading()` and not delivered comes first."""
        Endpoint.resume_reading(self)
        if self.left is not None:
            self.reactor.loop.call_soon(self._deliver_left, context=free_context(self.context))

    def _deliver_left(self):
        if self.state & PAUSED:                     # it was paused again
            return
        left, self.left = self.left, None
        if left and self.protocol is not None:
            if self.wants == UNKNOWN:
                self._decide()
            if self.wants == BATCHES:               # set_protocol() was called since
                left = [(self._pool().from_bytes(data), address) for data, address in left]
            self._deliver(left)

    cdef int _deliver_batch(self, list items) except -1:
        cdef double started = self.reactor.clock() if self.reactor.in_debug else 0
        protocol = self.protocol
        try:
            protocol.datagrams_received(items)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._report("protocol.datagrams_received() failed", exc)
        if started > 0:
            self.reactor.tell_if_slow(started, protocol, self)
        return 0

    cdef int _deliver_one(self, data, address) except -1:
        cdef double started = self.reactor.clock()
        protocol = self.protocol
        try:
            protocol.datagram_received(data, address)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._report("protocol.datagram_received() failed", exc)
        finally:
            self.reactor.tell_if_slow(started, protocol, self)
        return 0

    cdef int _decide(self) except -1:
        """Find out how this protocol wants its datagrams. Called late, as connection_made() may still set its pool."""
        self.wants = BATCHES if hasattr(self.protocol, "datagrams_received") else ONE_BY_ONE
        self.slab = read_slab_for(self._pool(), self.reactor.loop)
        return 0

    cdef object _pool(self):
        pool = getattr(self.protocol, "pool", None) if self.wants == BATCHES else None
        if pool is None:
            return default_pool()
        if not isinstance(pool, Pool):
            raise TypeError(f"a protocol's pool must be a poolio.Pool or None, not {type(pool).__name__!r}")
        return pool

    cdef bint endures(self, exc) except -1:
        """Tell the protocol and wait on: the kernel queues what it can, and counts what it drops."""
        self.reactor.loop.call_soon(self._tell, "error_received", exc, context=free_context(self.context))
        return True

    # --- the end, and what others may ask -------------------------------------------------------------------

    cdef object close_socket(self):
        self._look_at_drops()
        Endpoint.close_socket(self)

    def _look_at_drops(self):
        cdef unsigned int drops = 0
        if self.fd >= 0 and poolio_drops(self.fd, &drops) == 0:
            self.received.dropped += <unsigned int>(drops - self.received.drops)
            self.received.drops = drops

    def statistics(self):
        """A DatagramStatistics of this endpoint as of now; once it is closed, as of its closing."""
        self._look_at_drops()
        return DatagramStatistics(
            received=self.received.datagrams,
            received_bytes=self.received.bytes,
            reads=self.received.reads,
            truncated=self.received.cut,
            unplaced=self.received.unplaced,
            kernel_drops=self.received.dropped,
            sent=self.sent,
            sent_bytes=self.sent_bytes,
        )


own_methods(DatagramTransport)
forbid_new(DatagramTransport)
show_attributes(DatagramTransport)


def open_datagram_transport(Reactor reactor, sock, protocol, address=None, waiter=None, extra=None):
    """Make the transport of a socket, which it owns from now on, and schedule connection_made().

    `address` is the only one to send to; None means the socket's peer, or any address if it has none. The loops floor
    calls this where asyncio's own loops make their transport, in `_make_datagram_transport()`.
    """
    cdef DatagramTransport transport = DatagramTransport.__new__(DatagramTransport)
    prepare(transport, reactor, protocol, PyContext_CopyCurrent())
    transport.inbox = inbox_of(reactor)
    transport.received.expected = FIRST_SLOT
    transport.received.burst = POOLIO_BATCH
    take_socket(transport, sock)
    transport.extra = dict(extra) if extra else None
    transport.is_udp = poolio_datagram_options(transport.fd)
    peer = transport.get_extra_info("peername") if poolio_peer(transport.fd, &transport.peer) == 0 else None
    transport.is_connected = peer is not None
    transport.remote = peer if address is None else address
    make_known(transport)
    reactor.loop.call_soon(transport._begin, waiter, context=transport.context)
    return transport
