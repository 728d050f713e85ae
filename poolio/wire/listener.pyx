"""Owns the listening side: accepts what waits, in compiled batches, and gives each connection its protocol.

Refuses to know TLS (the factory that it is given wraps the protocol) and how a server binds (asyncio's own code does,
for the loops floor, which makes and stops the listeners). Called by the reactor when the listening socket is readable.

A connection begins in the same turns of the loop as on asyncio, so that what a server and a client in one loop see
comes in the same order:

    turn 1   it is accepted, beside the loop's other events; its transport is made, and the server knows it
    turn 2   factory()
    turn 3   connection_made(); from now on it is read

The selector of poolio.EventLoop finds events before the callbacks of the turn run, so there the listener only notes
that it is ready, and accepts in a callback of that turn. These callbacks are deferred (reactor): a loop that has
nothing else to do runs them at once. factory() and connection_made() run in a context of the
connection's own, copied from the one that was current when serving began. A server that is closed meanwhile keeps the
connections that were accepted before. When its server is full (limits), accepting stops until a connection has ended,
or others are refused. When the system is short of descriptors or memory, accepting stops for a second,
as in asyncio, and the loop's exception handler is told.
"""

import os
import select
from asyncio import constants, trsock

from libc.errno cimport EAGAIN, ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM

from poolio.c.net cimport (
    AF_INET, AF_INET6, EPOLLIN, poolio_accept, poolio_address, poolio_close, poolio_no_delay, poolio_waiting,
)
from poolio.c.python cimport PyContext_Copy, PyContext_CopyCurrent
from poolio.wire.endpoint cimport CLOSING
from poolio.wire.limits cimport Limits
from poolio.wire.reactor cimport Reactor, Source
from poolio.wire.stream cimport StreamTransport, attach, new_transport

from poolio.memory.methods import forbid_new

cdef enum:
    ACCEPTS = 64            # connections accepted in one pass, so that a burst leaves time for those that are served

BOUNDS = {"ACCEPTS": ACCEPTS}


cdef class Listener(Source):
    """A listening socket that serves. `factory()` makes the protocol of each connection."""

    cdef Reactor reactor
    cdef object loop
    cdef object sock
    cdef object factory
    cdef object server
    cdef object context
    cdef object making         # its method _make_protocol; None: it accepts no more
    cdef Limits limits         # of the server; None: it has none
    cdef object retry          # the timer after which accepting goes on; None: the system is not short of anything
    cdef bint is_held          # the server is full: limits calls go_on() when it is not
    cdef int family

    def __init__(self, Reactor reactor, sock, factory, server, context=None, Limits limits=None):
        self.outlives_fork = True
        self.reactor = reactor
        self.loop = reactor.loop
        self.sock = sock
        self.fd = sock.fileno()
        self.family = sock.family
        self.factory = factory
        self.server = server
        self.context = PyContext_CopyCurrent() if context is None else context
        self.making = self._make_protocol
        self.only_notes = True
        self.reactor.set_interest(self, EPOLLIN)
        self.limits = limits
        if limits is not None:
            limits.enter(reactor, server)

    def stop(self):
        """Accept no more. The socket stays open: it is the server's."""
        if self.fd < 0:
            return
        if self.retry is not None:
            self.retry.cancel()
            self.retry = None
        self.reactor.set_interest(self, 0)
        self.fd = -1
        self.making = None
        if self.limits is not None:
            self.limits.leave(self._has_room)

    def _go_on(self):
        self.retry = None
        self._listen()

    def _has_room(self):
        self.is_held = False
        self._listen()

    cdef int _listen(self) except -1:
        if self.fd < 0 or self.is_held or self.retry is not None:
            return 0
        try:
            self.reactor.set_interest(self, EPOLLIN)
        except OSError as exc:
            self._try_later(exc)
        return 0

    cdef int _try_later(self, exc) except -1:
        self.retry = self.loop.call_later(constants.ACCEPT_RETRY_DELAY, self._go_on)
        self.reactor.set_interest(self, 0)
        self._report("socket.accept() out of system resource", exc, None)
        return 0

    cdef int on_ready(self, unsigned int events) except -1:
        if self.reactor.acts_in_select:
            return self.reactor.defer(self._accept_later, None, self.context)
        return self._accept()

    def _accept_later(self, _):
        self.reactor.deferred -= 1
        self._accept()

    cdef int _accept(self) except -1:
        cdef poolio_address peer
        cdef int fd, _
        cdef int waiting = poolio_waiting(self.fd)      # accept() that finds none costs 1 us, this a fifth of it
        cdef bint is_full
        for _ in range(min(waiting, <int>ACCEPTS) if waiting > 0 else <int>ACCEPTS):
            if self.interest == 0:       # stop() was called
                break
            is_full = self.limits is not None and self.limits.is_full()
            if is_full and not self.limits.refuses:
                self._hold()
                break
            fd = poolio_accept(self.fd, &peer)
            if fd >= 0 and is_full:
                self.limits.refuse(fd)
            elif fd >= 0:
                self._take(fd, &peer)
            elif fd == -EAGAIN:
                break
            elif fd != -ECONNABORTED:
                self._accept_failed(-fd)
                break
        return 0

    cdef int _hold(self) except -1:
        """The server is full: let connections wait in the kernel's queue. Do nothing before there are any."""
        poller = select.poll()
        poller.register(self.fd, select.POLLIN)
        if not poller.poll(0):
            return 0
        self.is_held = True
        self.reactor.set_interest(self, 0)
        self.limits.wait(self._has_room)
        return self.limits.note_full()

    cdef int _take(self, int fd, poolio_address *peer) except -1:
        """Make the transport of an accepted connection, and let it begin later."""
        cdef StreamTransport transport = None
        try:
            transport = new_transport(self.reactor, None, PyContext_Copy(self.context))
            transport.fd = fd
            transport.family = self.family
            if self.family == AF_INET or self.family == AF_INET6:
                poolio_no_delay(fd)
                transport.peer = peer[0]
            attach(transport, self.server if self.limits is None else self.limits)
            self.reactor.defer(self.making, transport, transport.context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            if transport is None:
                poolio_close(fd)
            self._give_up(transport, exc)
        return 0

    def _make_protocol(self, StreamTransport transport):
        self.reactor.deferred -= 1
        if transport.state & CLOSING:            # the server has closed it meanwhile
            return
        try:
            transport.protocol = self.factory()
            self.reactor.defer(_begin, transport, transport.context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._give_up(transport, exc)

    cdef object _give_up(self, StreamTransport transport, exc):
        if transport is not None:
            transport.close_socket()
            transport.on_end()
        self._report("Error on transport creation for incoming connection", exc, transport)

    cdef int on_failure(self, exc) except -1:
        self._report("Error while accepting", exc, None)
        return 0

    cdef int _accept_failed(self, int number) except -1:
        exc = OSError(number, os.strerror(number))
        if number in (EMFILE, ENFILE, ENOBUFS, ENOMEM):
            self._try_later(exc)
        else:
            self._report("socket.accept() failed", exc, None)
        return 0

    cdef object _report(self, message, exc, transport):
        context = {"message": message, "exception": exc, "socket": trsock.TransportSocket(self.sock)}
        if transport is not None:
            context["transport"] = transport
        self.loop.call_exception_handler(context)


forbid_new(Listener)


def _begin(StreamTransport transport):
    transport.reactor.deferred -= 1
    transport.begin()
