"""Owns the half of a datagram endpoint that sends: at once, in batches, in trains; and what the kernel has refused.

Refuses to know how datagrams are read and delivered (datagram) and what all transports have in common (endpoint).
Called by protocols, and by datagram when the socket can take more.

    sendto() -> the kernel, at once -> what it refuses is queued and waits for EPOLLOUT, against the water marks

A datagram is sent at once, also in a callback: one sendmmsg for all answers to a batch would save 1 to 4 % of an
answer's price (measured in C), and the queue for it costs more. A caller that has many to send says so: sendmany(),
send_segmented(). An error of a single datagram goes to error_received(), and the others are sent.
"""

import os
from asyncio import constants
from asyncio.log import logger
from collections import deque

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINVAL, EIO, EMSGSIZE, ENOPROTOOPT, EOPNOTSUPP

from poolio.c.datagrams cimport (
    POOLIO_BATCH, POOLIO_LONGEST, POOLIO_TRAIN, poolio_letter, poolio_send_many, poolio_send_train, poolio_sendto,
)
from poolio.c.faults cimport poolio_new_bytes
from poolio.c.net cimport poolio_address
from poolio.memory.allocation cimport count_copied, ensure_alive, try_freeze
from poolio.memory.buffer cimport Buffer, slice_of
from poolio.memory.pool cimport Pool
from poolio.wire.address cimport check_address, known_address, read_address, same_address
from poolio.wire.endpoint cimport BLOCKED, CLOSING, LOST, RESTS, Endpoint
from poolio.wire.reactor cimport free_context

from poolio.memory.methods import forbid_new

cdef enum:
    DATAGRAM_HEADER = 8         # bytes that the queue counts for each datagram, as asyncio does since 3.13

BOUNDS = {"DATAGRAM_HEADER": DATAGRAM_HEADER}

cdef double RETRY_SECONDS = 0.001


cdef class Outbox(Endpoint):
    """The sending half of DatagramTransport."""

    def __cinit__(self):
        self.queue = deque()

    def sendto(self, data, addr=None):
        """Send one datagram at once: what a Buffer or bytes-like object of 0 to 65,507 bytes holds now.

        `addr` is written as for the socket module. It may be None if the remote address was fixed when the endpoint was
        opened; another one, however it is written, is a ValueError then. A Buffer's allocation is frozen from here on,
        and you may release the Buffer at once. What the kernel refuses for now is queued; above high water the
        protocol's pause_writing() is called. Other errors go to error_received().
        """
        cdef const poolio_address *to
        cdef Buffer buf
        cdef Py_ssize_t taken
        if type(data) is Buffer and self.remote is None and not self.state & (LOST | BLOCKED):
            buf = <Buffer>data              # the usual case: an answer to a recent sender
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
            self.tell_error(<int>-taken)
        return 0

    def send_segmented(self, data, Py_ssize_t size, addr=None):
        """Send datagrams of `size` bytes, 1 to 65,507, cut from `data`; the last one may be shorter.

        Up to 64 of them go in one system call (UDP_SEGMENT), or one by one where the kernel can't do that. Everything
        else is as for sendto().
        """
        if not 1 <= size <= POOLIO_LONGEST:
            raise ValueError(f"a datagram has 1 to {POOLIO_LONGEST} bytes, not {size}")
        self._send_data(data, size, addr)

    def sendmany(self, batch):
        """Send many datagrams: an iterable of (data, addr), each as for sendto(), in few system calls (sendmmsg).

        If one of them can't be sent, none is: TypeError, ValueError or BufferReleased. Later errors of a single
        datagram go to error_received(), and the others are sent.
        """
        cdef list items = [self._checked(item) for item in batch]
        cdef Py_ssize_t i = 0
        while i < len(items):
            i += self._send_some(items, i)

    cdef tuple _checked(self, item):
        """Check an item of sendmany(). Returns (Buffer or bytes, address); no address (None) if the kernel knows it."""
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
        """The address to send to; None if the kernel knows it. ValueError if this endpoint does not send there."""
        if self.remote is None:
            if addr is None:
                raise ValueError("this endpoint has no remote address: sendto() needs one")
            return addr
        if addr is not None and addr != self.remote and not same_address(addr, self.remote, self.family):
            raise ValueError(f"Invalid address: must be None or {self.remote!r}, not {addr!r}")
        return None if self.is_connected else self.remote

    cdef int _check_writable(self) except -1:
        """True if it still sends: without a remote address, as on asyncio, until connection_lost() has run.

        Otherwise the write is counted as lost.
        """
        if not self.state & LOST or (self.remote is None and self.fd >= 0):
            return True
        return self._lose()

    cdef int _lose(self) except -1:
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
            buf = slice_of(buf, 0, buf.length)      # the caller's may be released meanwhile, by a callback or a thread
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
        """Send or queue. LIFETIME of data: that of `owner`, a Buffer or bytes; if it is None, until this returns."""
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
                if taken >= 0:                  # a part of a train that had to be sent in pieces
                    self._keep(owner, data + taken, size - taken, train, addr)
                elif taken == -EAGAIN:
                    self._keep(owner, data, size, train, addr)
                else:
                    self.tell_error(<int>-taken)
            data += size
            end -= size
            if end == 0 or self.state & LOST:
                return 0

    cdef Py_ssize_t _try(self, const char *data, Py_ssize_t length, Py_ssize_t train, addr) except? -4096:
        """Send. Returns how many bytes the kernel has taken, or a negated errno.

        They are all, unless a train had to be sent in pieces: then they may be its first ones.
        """
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
        """Send the datagrams of a train one by one. Returns how many bytes of it are dealt with, or -EAGAIN if none."""
        cdef Py_ssize_t done = 0
        cdef Py_ssize_t size, result
        while done < length and not self.state & LOST:
            size = min(train, length - done)
            result = self._try(data + done, size, 0, addr)
            if result == -EAGAIN:
                return done if done > 0 else result
            if result < 0:
                self.tell_error(<int>-result)
            done += size
        return length

    cdef Py_ssize_t _try_named(self, const char *data, Py_ssize_t length, addr) except? -4096:
        """Send to an address that only the socket module understands, as a host name or a path."""
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
        """Send up to POOLIO_BATCH of the items, at least one. Returns how many are dealt with."""
        cdef poolio_address addresses[POOLIO_BATCH]
        cdef poolio_letter letters[POOLIO_BATCH]
        cdef Py_ssize_t known = 0
        cdef Py_ssize_t ready = 0
        cdef Py_ssize_t count = min(<Py_ssize_t>POOLIO_BATCH, len(items) - start)
        cdef Buffer buf
        cdef int result, i
        while known < count:                    # first all that may run other people's code
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
                if buf.allocation == NULL:      # error_received() has just released it
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
        if result == -EAGAIN:                   # the first one is queued if that is still so, the others behind it
            data, addr = items[start]
            self._send_data(data, 0, addr)
            return 1
        if result < 0:                          # it is the first one's error: the others get another try
            self.tell_error(-result)
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

    cdef Py_ssize_t holds_of(self, Pool pool) except -1:
        cdef Py_ssize_t size = 0
        for data, _, _ in self.queue:
            if type(data) is Buffer and (<Buffer>data).pool is pool:
                size += len(data)
        return size

    cdef int _keep(self, owner, const char *data, Py_ssize_t length, Py_ssize_t train, addr) except -1:
        """Queue it: a Buffer as a slice with its own hold, whole `bytes` by reference, anything else as a copy."""
        cdef Buffer buf
        if self.state & LOST:                   # nobody would send it
            return self._lose()
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

    cdef int send_queued(self) except -1:
        """Send from the queue, as the kernel says that it can take more."""
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
            except Exception as exc:            # for example, the address is not valid
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
                self.tell_error(<int>-result)
        if self.state & LOST:                   # a callback has aborted the endpoint
            return 0
        if self.queue:
            if is_stuck:
                self._rest()
            return self.resume_protocol()
        if self.state & BLOCKED:
            self.state &= ~<unsigned int>BLOCKED
            self.update_interest()
            self.resume_protocol()              # the protocol may send in it
            if self.state & (CLOSING | LOST | BLOCKED) == CLOSING:
                self.end(None)
        return 0

    cdef int _rest(self) except -1:
        """Try again on a timer: epoll calls a unix socket without a peer ready even if the receiver's queue is full."""
        if self.retry is None:
            self.retry = self.reactor.loop.call_later(
                RETRY_SECONDS, self._try_again, context=free_context(self.context))
            self.state |= RESTS
            self.update_interest()
        return 0

    def _try_again(self):
        self.retry = None
        self.state &= ~<unsigned int>RESTS
        if self.fd >= 0:
            self.update_interest()
            self.send_queued()

    cdef int tell_error(self, int number) except -1:
        self._tell("error_received", OSError(number, os.strerror(number)))
        return 0

    # --- the end ----------------------------------------------------------------------------------------------

    cdef object on_end(self):
        if self.retry is not None:
            self.retry.cancel()
            self.retry = None


forbid_new(Outbox)


cdef Py_ssize_t _queue_size(Py_ssize_t length, Py_ssize_t train) noexcept:
    """Bytes that a datagram, or a train of them, counts in the queue."""
    cdef Py_ssize_t datagrams = 1 if train == 0 else (length + train - 1) // train
    return length + datagrams * DATAGRAM_HEADER


cdef bytes _snapshot(data):
    """A copy of what a bytes-like object holds now."""
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
