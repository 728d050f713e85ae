"""Owns Inflow: what a connection has received and nobody has read yet, and the one task that waits for more.

Refuses to know sockets and transports (it pauses and resumes one), what a frame is, and what the calls of a reader are
(reader, frames). Called by the stream protocol, arrived() and fed(), and by calls that wait: wait(), taken().

    arrived(buf) ──> Chain ──> read(), readexactly(), readuntil(), frames() ...: slices of what was received

Water: twice the limit unread pauses the transport; as much as the limit lets it go on, and so does a call that waits
for more, however much is there: a frame larger than the limit is no deadlock.
"""

import asyncio

from cpython.object cimport PyObject

from poolio.memory.buffer cimport Buffer
from poolio.memory.chain cimport Chain
from poolio.streams.waiter cimport Awaitable, call_now, take_callback


cdef class Inflow:
    """The part of `poolio.StreamReader` that is what has arrived. Not made by itself."""

    def __cinit__(self, *arguments, **options):
        self.chain = Chain()

    def at_eof(self):
        """Has the stream ended, and is everything read?"""
        return self.is_at_end and self.chain.size == 0

    def exception(self):
        """The error of the connection; None."""
        return self.error

    # --- being fed --------------------------------------------------------------------------------------

    def feed_data(self, data):
        """More has arrived: a Buffer, or a bytes-like object that is copied."""
        cdef Chain arrived
        if self.is_at_end:
            raise RuntimeError("feed_data after feed_eof")
        arrived = Chain(self.chain.pool)
        arrived.append(data)
        if arrived.size > 0:
            self.fed(arrived.cut(arrived.size))

    def feed_eof(self):
        """No more will come."""
        self.is_at_end = True
        self.wake()

    def set_exception(self, exc):
        """The connection is broken: every call raises this from now on."""
        self.error = exc
        self.wake()

    def set_transport(self, transport):
        """The transport that is paused when too much is unread."""
        if self.upstream is not None:
            raise RuntimeError("Transport already set")
        self.upstream = transport

    def replace_transport(self, transport):
        """For start_tls(): the transport that is paused from now on. The old one, which carries it, goes on."""
        paused, self.upstream = self.upstream, transport
        if self.is_paused:
            self.is_paused = False
            if transport is not None:
                paused.resume_reading()

    def take_unread(self):
        """All that is unread, as a list of Buffers, for the protocol that comes next; this reader reads no more."""
        if self.waiting != NULL:
            raise RuntimeError("a task waits to read from this connection")
        unread = []
        while self.chain.size > 0:
            unread.append(self.chain.cut(self.chain.first.length))
        if self.is_paused:
            self.is_paused = False
            self.upstream.resume_reading()
        self.upstream = None
        self.error = RuntimeError("this connection was handed over to another protocol")
        return unread

    cdef int arrived(self, Buffer buf) except -1:
        self.chain.put(buf)
        if self.waiting != NULL and self.chain.size >= self.wanted:
            pair = take_callback(self.future)
            if pair is None:
                self.wake()
            else:
                self.waiting = NULL
                call_now(pair, self.given_loop)
        return self._look_after()

    cdef int fed(self, Buffer buf) except -1:
        self.chain.put(buf)
        if self.waiting != NULL and self.chain.size >= self.wanted:
            return self.wake()             # it will take it: nothing to look after
        return self._look_after()

    cdef int wake(self) except -1:
        """Let the task that waits go on in the loop's next turn."""
        if self.waiting != NULL:
            future, self.future = self.future, None
            self.waiting = NULL
            if not future.done():
                future.set_result(None)
        return 0

    cdef int _look_after(self) except -1:
        """Compact unread bytes; pause the transport above twice the limit."""
        if self.chain.size == 0:
            return 0
        self.chain.unpin()
        if (self.chain.size - self.limit > self.limit and self.waiting == NULL and not self.is_paused
                and self.upstream is not None):
            try:
                self.upstream.pause_reading()
                self.is_paused = True
            except NotImplementedError:     # it can't: so be it
                self.upstream = None
        return 0

    # --- waiting ----------------------------------------------------------------------------------------

    cdef object wait(self, Awaitable call, Py_ssize_t wanted):
        """A future for the call to wait with, until the chain holds `wanted` bytes, or the end or an error comes."""
        if self.waiting != NULL:
            raise RuntimeError(f"{call.name()} called while another coroutine is already waiting for incoming data")
        if self.given_loop is None:
            self.given_loop = asyncio.get_running_loop()
        if self.future is None:
            self.future = self.given_loop.create_future()
        self.chain.unpin()
        if self.is_paused:
            self.upstream.resume_reading()
            self.is_paused = False
        self.future._asyncio_future_blocking = True     # what a future's own __await__() tells the task
        self.waiting = <PyObject *>call                 # last, when nothing can fail any more
        self.wanted = wanted
        call.is_waiting = True
        return self.future

    cdef int stop_waiting(self, Awaitable call) noexcept:
        if self.waiting == <PyObject *>call:
            self.waiting = NULL
            self.future = None              # a task may still hang on it
        return 0

    cdef int taken(self) except -1:
        """Bytes were taken."""
        if self.is_paused and self.chain.size <= self.limit:
            self.is_paused = False
            self.upstream.resume_reading()
        return 0

    cdef object raise_error(self):
        raise self.error
