"""Owns the datagram transport: one UDP or unix socket, with all that asyncio.DatagramTransport promises, and batches.

Refuses to know how a socket is bound and names are resolved (asyncio's own code, loop), and what all transports have in
common (endpoint). Called by the reactor when the socket is ready, and by protocols.

    readable -> _receive(): recvmmsg, into the tail of the loop's read slab (inbox) -> datagrams_received(batch)
    sendto() -> the kernel, at once -> what it refuses is queued and waits for EPOLLOUT, against the water marks

A datagram is sent at once, also in a callback: gathering the answers to a batch into one sendmmsg saves 1 to 4 % of
an answer's price (measured in C), a queue costs more. Whoever has many to send says so: sendmany(), send_segmented().

Errors of single datagrams, ICMP's too, go to error_received(), and what a callback raises to the loop's exception
handler; neither ends the endpoint, as others send through it too.
"""

import asyncio
import os
from asyncio import constants
from asyncio.log import logger
from collections import deque
from typing import NamedTuple

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.errno cimport EAGAIN, EINVAL, EIO, EMSGSIZE, ENOPROTOOPT, EOPNOTSUPP

from poolio.c.datagrams cimport (
    POOLIO_BATCH, POOLIO_LONGEST, POOLIO_TRAIN, poolio_datagram_options, poolio_drops, poolio_letter,
    poolio_send_many, poolio_send_train, poolio_sendto, poolio_take_error,
)
from poolio.c.faults cimport poolio_new_bytes
from poolio.c.net cimport EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, poolio_address, poolio_peer
from poolio.c.python cimport PyContext_CopyCurrent, PyContext_Enter, PyContext_Exit
from poolio.memory.allocation cimport count_copied, ensure_alive, try_freeze
from poolio.memory.buffer cimport Buffer, slice_of
from poolio.memory.pool cimport Pool, default_pool
from poolio.wire.address cimport check_address, known_address, read_address
from poolio.wire.endpoint cimport BLOCKED, CLOSING, LOST, PAUSED, RESTS, Endpoint, make_known, prepare
from poolio.wire.inbox cimport inbox_of, see_drops
from poolio.wire.reactor cimport Reactor
from poolio.wire.readslab cimport read_slab_for, room_in

cdef enum:
    ENOUGH = 128                # datagrams for one pass, of one endpoint: more wait for the next, as others do
    FIRST_SLOT = 2048           # bytes of room for a datagram before any has come: over an Ethernet frame
    DATAGRAM_HEADER = 8         # bytes that the queue counts for each datagram, as asyncio does since 3.13

cdef double RETRY_SECONDS = 0.001


class DatagramStatistics(NamedTuple):
    """What one datagram endpoint has done since it was opened. Counts of datagrams, unless said otherwise.

    received        handed to the protocol; received_bytes: their bytes
    reads           system calls that brought some
    truncated       longer than could be received; lost, and told to error_received()
    unplaced        received, but the pool was at its limit; lost, and told to error_received()
    kernel_drops    that found the socket's receive queue full; a coalesced train counts as one
    sent            that the kernel has taken; sent_bytes: their bytes
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
cdef class DatagramTransport(Endpoint):
    """A socket for datagrams on poolio's reactor; use it as asyncio.DatagramTransport.

    `sendto()` takes Buffers as well as bytes-like objects. Made by create_datagram_endpoint(), poolio's and that of
    poolio.EventLoop. A protocol with `datagrams_received` gets batches of (Buffer, address), any other one
    `datagram_received(bytes, address)` for each.
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

    # --- receiving ----------------------------------------------------------------------------------------

    cdef int on_ready(self, unsigned int events) except -1:
        cdef PyObject *context = <PyObject *>self.context
        cdef int error
        PyContext_Enter(context)
        try:
            if events & <unsigned int>(EPOLLERR | EPOLLHUP):
                error = poolio_take_error(self.fd)
                if error:
                    self._error(error)
            if self.left is not None:
                self._deliver_left()            # before anything that came later
            if events & self.interest & <unsigned int>EPOLLIN:
                self._receive()
            if events & self.interest & <unsigned int>EPOLLOUT:
                self._send_queue()
        finally:
            PyContext_Exit(context)
        return 0

    cdef int on_failure(self, exc) except -1:
        self.inbox.take_errors()                # of this one: the next one's are not these
        return self.fail(exc, "Fatal error on datagram transport")

    cdef int _receive(self) except -1:
        """Receive until there is no more, or enough for one pass; then hand over, once."""
        cdef list items = []
        cdef int count = 0
        if self.wants == UNKNOWN:
            self._decide()
        while len(items) < ENOUGH:
            count = self._receive_batch(items)
            if count < self.inbox.most:
                break
        errors = self.inbox.take_errors() if self.inbox.errors else ()
        if items:
            self._deliver(items)
        for exc in errors:
            self._tell("error_received", exc)
        return 0 if count >= 0 or count == -EAGAIN else self._error(-count)

    cdef int _receive_batch(self, list items) except? -4096:
        """How many messages came, or a negated errno; -EAGAIN also if there is no memory for any."""
        cdef Py_ssize_t size
        cdef char *room = room_in(self.slab, &size)
        cdef int count
        if room == NULL:
            self.wait_for_room()
            return -EAGAIN
        count = self.inbox.receive(self.fd, room, size, not self.is_udp, &self.received)
        if count <= 0:
            self.slab.leave()
        elif self.wants == BATCHES:
            self.inbox.take_buffers(items, self.slab, room, &self.received)
        else:
            self.inbox.take_bytes(items, self.slab, room, &self.received)
        return count

    cdef int _deliver(self, list items) except -1:
        cdef Py_ssize_t i
        if self.wants == BATCHES:
            return self._hand_over(items)
        for i in range(len(items)):
            if self.state & (CLOSING | PAUSED):     # by a callback
                self.left = items[i:]
                break
            data, address = items[i]
            try:
                self._hand_over_one(data, address)
            except BaseException:                   # it ends the pass, not the datagrams
                self.left = items[i + 1:]
                self.reactor.loop.call_soon(self._deliver_left, context=self.context)
                raise
        return 0

    def resume_reading(self):
        """Receive again; first what was read before `pause_reading()` was called."""
        Endpoint.resume_reading(self)
        if self.left is not None:
            self.reactor.loop.call_soon(self._deliver_left, context=self.context)

    def _deliver_left(self):
        if self.state & PAUSED:                     # again
            return
        left, self.left = self.left, None
        if left and self.protocol is not None:
            if self.wants == UNKNOWN:
                self._decide()
            if self.wants == BATCHES:               # set_protocol() came between
                left = [(self._pool().from_bytes(data), address) for data, address in left]
            self._deliver(left)

    cdef int _hand_over(self, list items) except -1:
        try:
            self.protocol.datagrams_received(items)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._report("protocol.datagrams_received() failed", exc)
        return 0

    cdef int _hand_over_one(self, data, address) except -1:
        try:
            self.protocol.datagram_received(data, address)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._report("protocol.datagram_received() failed", exc)
        return 0

    cdef int _decide(self) except -1:
        """How does this protocol want its datagrams? Its pool may still have been set in connection_made()."""
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

    def _room_is_late(self, exc):
        """For the ReadSlab: the pool had no memory for long. As for a stream, but that this one is not closed for it.

        It waits on, and is told; the kernel's queue holds what it can, and counts the rest.
        """
        cdef Endpoint most
        if self.state & LOST:
            return False
        most = self.who_holds_most()
        self.reactor.loop.call_soon(self._tell, "error_received", exc, context=self.context)
        if most is None or most is self:
            return None
        most.fail(exc, "Fatal error: the pool had no memory to read into for too long.")
        return True

    cdef int _error(self, int number) except -1:
        self._tell("error_received", OSError(number, os.strerror(number)))
        return 0

    # --- sending ------------------------------------------------------------------------------------------

    def sendto(self, data, addr=None):
        """Send one datagram, at once: a Buffer or bytes-like object of 0 to 65,507 bytes, what it holds now.

        `addr` as the socket module writes it; None where the remote address was fixed when the endpoint was opened. A
        Buffer's allocation is frozen from here on, and you may release it at once. What the kernel refuses for now is
        queued; above high water the protocol's pause_writing() is called. Other errors go to error_received().
        """
        cdef const poolio_address *to
        cdef Buffer buf
        cdef Py_ssize_t taken
        if type(data) is Buffer and self.remote is None and not self.state & (LOST | BLOCKED):
            buf = <Buffer>data              # mostly: the answer to somebody who has just written
            to = known_address(addr, self.family)
            if to != NULL and buf.allocation != NULL:
                try_freeze(buf)
                taken = poolio_sendto(self.fd, buf.data, <size_t>buf.length, to)
                self._count_sent(buf, taken, addr)
                return
        self._send_data(data, 0, addr)

    cdef inline int _count_sent(self, Buffer buf, Py_ssize_t taken, addr) except -1:
        if taken >= 0:
            self.sent += 1
            self.sent_bytes += taken
        elif taken == -EAGAIN:
            self._keep(buf, buf.data, buf.length, 0, addr)
        else:
            self._error(<int>-taken)
        return 0

    def send_segmented(self, data, Py_ssize_t size, addr=None):
        """Send datagrams of `size` bytes, 1 to 65,507, cut from `data`; the last one may be shorter.

        Up to 64 of them in one system call (UDP_SEGMENT); one by one where the kernel can't do that. Else as sendto().
        """
        if not 1 <= size <= POOLIO_LONGEST:
            raise ValueError(f"a datagram has 1 to {POOLIO_LONGEST} bytes, not {size}")
        self._send_data(data, size, addr)

    def sendmany(self, batch):
        """Send many datagrams: an iterable of (data, addr), each as by sendto(), in few system calls (sendmmsg).

        Nothing is sent if one of them can't be: TypeError, ValueError, BufferReleased. Later errors, of a single
        datagram, go to error_received(), and the others are sent.
        """
        cdef list items = [self._checked(item) for item in batch]
        cdef Py_ssize_t i = 0
        while i < len(items):
            i += self._send_some(items, i)

    cdef tuple _checked(self, item):
        """A pair for sendmany(): (Buffer or bytes, address); None for the address if the kernel knows."""
        cdef poolio_address address
        if not isinstance(item, tuple) or len(item) != 2:
            raise TypeError(f"sendmany() takes pairs (data, addr), not {item!r}")
        data, addr = item
        if type(data) is Buffer and self.remote is None and known_address(addr, self.family) != NULL:
            ensure_alive(<Buffer>data)
            return item
        addr = self._where(addr)
        if addr is not None and not read_address(addr, self.family, &address):
            check_address(addr, self.family)
        if type(data) is Buffer:
            ensure_alive(<Buffer>data)
        elif not PyBytes_CheckExact(data):
            data = _snapshot(data)
        return data, addr

    cdef object _where(self, addr):
        """The address to send to; None: the kernel knows. ValueError if it can't be reached through this endpoint."""
        if self.remote is None:
            if addr is None:
                raise ValueError("this endpoint has no remote address: sendto() needs one")
            return addr
        if addr is not None and addr != self.remote:
            raise ValueError(f"Invalid address: must be None or {self.remote}")
        return None if self.is_connected else self.remote

    cdef int _check_writable(self) except -1:
        """Is anything sent any more? Counts what is not."""
        if not self.state & LOST:
            return True
        if self.lost_writes >= constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES:
            logger.warning("socket.send() raised exception.")
        self.lost_writes += 1
        return False

    cdef int _send_data(self, data, Py_ssize_t train, addr) except -1:
        cdef Py_buffer view
        cdef Buffer buf
        if self.remote is not None or addr is None:
            addr = self._where(addr)
        if type(data) is Buffer:
            buf = <Buffer>data
            ensure_alive(buf)
            try_freeze(buf)
            if train > 0:                       # error_received() may release the caller's, and the train goes on
                buf = slice_of(buf, 0, buf.length)
            return self._send_bytes(buf, buf.data, buf.length, train, addr)
        if PyBytes_CheckExact(data):
            return self._send_bytes(data, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), train, addr)
        _check_bytes_like(data)
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            return self._send_bytes(None, <const char *>view.buf, view.len, train, addr)
        finally:
            PyBuffer_Release(&view)

    cdef int _send_bytes(self, owner, const char *data, Py_ssize_t length, Py_ssize_t train, addr) except -1:
        """Send or queue. LIFETIME of data: the caller's, or the owner's: a Buffer or bytes."""
        cdef Py_ssize_t taken, size
        cdef Py_ssize_t end = length
        if not self._check_writable():
            return 0
        if train > 0 and length > 0:
            size = min(<Py_ssize_t>POOLIO_TRAIN, <Py_ssize_t>POOLIO_LONGEST // train) * train
        else:
            size = length
            train = 0
        while True:
            size = min(size, end)
            taken = -EAGAIN if self.state & BLOCKED else self._try(data, size, train, addr)
            if taken < size:
                if taken >= 0:                  # of a train that had to be sent in pieces
                    self._keep(owner, data + taken, size - taken, train, addr)
                elif taken == -EAGAIN:
                    self._keep(owner, data, size, train, addr)
                else:
                    self._error(<int>-taken)
            data += size
            end -= size
            if end == 0 or self.state & LOST:
                return 0

    cdef Py_ssize_t _try(self, const char *data, Py_ssize_t length, Py_ssize_t train, addr) except? -4096:
        """How many bytes the kernel has taken, all but of a train that it does not take as such; or a negated errno."""
        cdef poolio_address address
        cdef poolio_address *to = NULL
        cdef Py_ssize_t result
        if addr is not None:
            if not read_address(addr, self.family, &address):
                return self._try_named(data, length, addr) if train == 0 else (
                    self._try_in_pieces(data, length, train, addr))
            to = &address
        if train == 0 or length <= train:
            result = poolio_sendto(self.fd, data, <size_t>length, to)
            self.sent += result >= 0
        elif self.is_udp:
            result = poolio_send_train(self.fd, data, <size_t>length, <size_t>train, to)
            if result >= 0:
                self.sent += (length + train - 1) // train
            elif result in (-EINVAL, -EIO, -EMSGSIZE, -EOPNOTSUPP, -ENOPROTOOPT):
                return self._try_in_pieces(data, length, train, addr)
        else:
            return self._try_in_pieces(data, length, train, addr)
        if result > 0:
            self.sent_bytes += result
        return result

    cdef Py_ssize_t _try_in_pieces(self, const char *data, Py_ssize_t length, Py_ssize_t train, addr) except? -4096:
        """The datagrams of a train one by one: how many bytes of it are dealt with."""
        cdef Py_ssize_t done = 0
        cdef Py_ssize_t size, result
        while done < length and not self.state & LOST:
            size = min(train, length - done)
            result = self._try(data + done, size, 0, addr)
            if result == -EAGAIN:
                return done if done > 0 else result
            if result < 0:
                self._error(<int>-result)
            done += size
        return length

    cdef Py_ssize_t _try_named(self, const char *data, Py_ssize_t length, addr) except? -4096:
        """To an address that only the socket module can read."""
        check_address(addr, self.family)
        try:
            self.sock.sendto(poolio_new_bytes(data, length), addr)
        except (BlockingIOError, InterruptedError):
            return -EAGAIN
        except OSError as exc:
            self._tell("error_received", exc)
            return length
        self.sent += 1
        self.sent_bytes += length
        return length

    cdef int _send_some(self, list items, Py_ssize_t start) except -1:
        """Send up to POOLIO_BATCH of them, at least one. Returns how many are dealt with."""
        cdef poolio_address addresses[POOLIO_BATCH]
        cdef poolio_letter letters[POOLIO_BATCH]
        cdef Py_ssize_t known = 0
        cdef Py_ssize_t ready = 0
        cdef Py_ssize_t count = min(<Py_ssize_t>POOLIO_BATCH, len(items) - start)
        cdef Buffer buf
        cdef int result, i
        while known < count:                    # first what may run other people's code
            addr = (<tuple>items[start + known])[1]
            letters[known].address = NULL
            if addr is not None:
                if not read_address(addr, self.family, &addresses[known]):
                    break
                letters[known].address = &addresses[known]
            known += 1
        while ready < known:                    # SAFE: from here to the system call only what items hold is looked at
            data = (<tuple>items[start + ready])[0]
            if type(data) is Buffer:
                buf = <Buffer>data
                if buf.allocation == NULL:      # by error_received(), just now
                    break
                try_freeze(buf)
                letters[ready].data = buf.data
                letters[ready].size = <size_t>buf.length
            else:
                letters[ready].data = PyBytes_AS_STRING(data)
                letters[ready].size = <size_t>PyBytes_GET_SIZE(data)
            ready += 1
        if ready == 0 or self.state & (BLOCKED | LOST):
            data, addr = items[start]
            self._send_data(data, 0, addr)
            return 1
        result = poolio_send_many(self.fd, letters, <int>ready)
        if result == -EAGAIN:                   # it is queued, if it still is so, and the others behind it
            data, addr = items[start]
            self._send_data(data, 0, addr)
            return 1
        if result < 0:                          # the first one's: the others get another try
            self._error(-result)
            return 1
        self.sent += result
        for i in range(result):
            self.sent_bytes += <Py_ssize_t>letters[i].size
        return result

    # --- what the kernel has refused ------------------------------------------------------------------------

    cdef Py_ssize_t refused_bytes(self) noexcept:
        return self.queued

    cdef void drop_queue(self) noexcept:
        self.queue.clear()
        self.queued = 0

    cdef Py_ssize_t holds_from(self, Pool pool) except -1:
        cdef Py_ssize_t size = 0
        for data, _, _ in self.queue:
            if type(data) is Buffer and (<Buffer>data).pool is pool:
                size += len(data)
        return size

    cdef int _keep(self, owner, const char *data, Py_ssize_t length, Py_ssize_t train, addr) except -1:
        """Queue it, with a hold of its own."""
        cdef Buffer buf
        if type(owner) is Buffer and try_freeze(<Buffer>owner):
            buf = <Buffer>owner
            kept = slice_of(buf, data - buf.data, length)
        elif PyBytes_CheckExact(owner) and PyBytes_GET_SIZE(owner) == length:
            kept = owner
        else:
            if type(owner) is Buffer:
                count_copied(<Buffer>owner)
            kept = poolio_new_bytes(data, length)
        self.queue.append((kept, train, addr))
        self.queued += _queue_size(length, train)
        if not self.state & BLOCKED:
            self.state |= BLOCKED
            self.update_interest()
        return self.pause_protocol()

    cdef int _send_queue(self) except -1:
        """The kernel has room again, as it says."""
        cdef Py_ssize_t result, length, train
        cdef const char *data
        cdef bint is_stuck = True
        while self.queue:
            kept, train, addr = self.queue[0]
            if type(kept) is Buffer:
                data, length = (<Buffer>kept).data, (<Buffer>kept).length
            else:
                data, length = PyBytes_AS_STRING(kept), PyBytes_GET_SIZE(kept)
            try:
                result = self._try(data, length, train, addr)
            except (SystemExit, KeyboardInterrupt):
                raise
            except Exception as exc:            # an address that is none
                self._report("Fatal write error on datagram transport", exc)
                result = length
            if result == -EAGAIN or not self.queue:
                break
            is_stuck = False
            self.queue.popleft()
            self.queued -= _queue_size(length, train)
            if 0 <= result < length:
                self.queue.appendleft((kept[result:], train, addr))
                self.queued += _queue_size(length - result, train)
                break
            if result < 0:
                self._error(<int>-result)
        if self.state & LOST:                   # a callback has aborted
            return 0
        if self.queue:
            if is_stuck:
                self._rest()
            return self.resume_protocol()
        if self.state & BLOCKED:
            self.state &= ~<unsigned int>BLOCKED
            self.update_interest()
            self.resume_protocol()              # it may send
            if self.state & (CLOSING | LOST | BLOCKED) == CLOSING:
                self.end(None)
        return 0

    cdef int _rest(self) except -1:
        """epoll says that there is room, but the peer's queue is full: a unix socket that is not connected."""
        if self.retry is None:
            self.retry = self.reactor.loop.call_later(RETRY_SECONDS, self._try_again, context=self.context)
            self.state |= RESTS
            self.update_interest()
        return 0

    def _try_again(self):
        self.retry = None
        self.state &= ~<unsigned int>RESTS
        if self.fd >= 0:
            self.update_interest()
            self._send_queue()

    # --- the end, and what others may know ------------------------------------------------------------------

    cdef object on_end(self):
        if self.retry is not None:
            self.retry.cancel()
            self.retry = None

    cdef object close_socket(self):
        self._look_at_drops()
        Endpoint.close_socket(self)

    def _look_at_drops(self):
        cdef unsigned int drops = 0
        if self.fd >= 0 and poolio_drops(self.fd, &drops) == 0:
            see_drops(&self.received, drops)

    def statistics(self):
        """A DatagramStatistics of this endpoint, as of now; after the end, of its end."""
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


cdef Py_ssize_t _queue_size(Py_ssize_t length, Py_ssize_t train) noexcept:
    """What a datagram, or a train of them, counts in the queue."""
    cdef Py_ssize_t datagrams = 1 if train == 0 else (length + train - 1) // train
    return length + datagrams * DATAGRAM_HEADER


cdef bytes _snapshot(data):
    """What a bytes-like object holds now."""
    cdef Py_buffer view
    _check_bytes_like(data)
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return poolio_new_bytes(<const char *>view.buf, view.len)
    finally:
        PyBuffer_Release(&view)


cdef int _check_bytes_like(data) except -1:
    if not PyObject_CheckBuffer(data):
        raise TypeError(f"data argument must be a Buffer or a bytes-like object, not {type(data).__name__!r}")
    return 0


def open_datagram_transport(Reactor reactor, sock, protocol, address=None, waiter=None, extra=None):
    """The transport of a socket, which it owns from now on; connection_made() is scheduled.

    `address`: the only one to send to. For asyncio's loops, as their `_make_datagram_transport`.
    """
    cdef DatagramTransport transport = DatagramTransport.__new__(DatagramTransport)
    prepare(transport, reactor, protocol, PyContext_CopyCurrent())
    transport.queue = deque()
    transport.inbox = inbox_of(reactor)
    transport.received.expected = FIRST_SLOT
    transport.received.burst = POOLIO_BATCH
    transport.fd = sock.fileno()
    transport.sock = sock
    transport.family = sock.family
    transport.extra = dict(extra) if extra else {}
    transport.is_udp = poolio_datagram_options(transport.fd)
    peer = transport.get_extra_info("peername") if poolio_peer(transport.fd, &transport.peer) == 0 else None
    transport.is_connected = peer is not None
    transport.remote = peer if address is None else address
    make_known(transport)
    reactor.loop.call_soon(transport._begin, waiter, context=transport.context)
    return transport
