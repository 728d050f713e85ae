"""Owns Inflow: what a connection has received and nobody has read yet, and the one task that waits for more.

Refuses to know sockets, transports (except that it pauses and resumes one), what a frame is, and what the calls of a
reader are (reader, frames). The stream protocol calls arrived() and fed(). The calls of a reader call wait() and
taken().

    arrived(buf) ──> Chain ──> read(), readexactly(), readuntil(), frames() ...: slices of what was received

Above twice the limit of unread bytes the transport is paused; at the limit it is resumed. A call that waits for more
resumes it too, however much is unread, so a frame larger than the limit is no deadlock.
"""

import asyncio

from cpython.object cimport PyObject

from poolio.memory.buffer cimport Buffer
from poolio.memory.calls cimport check_call
from poolio.memory.chain cimport Chain
from poolio.streams.waiter cimport Awaitable, call_now, take_callback


cdef class Inflow:
    """The part of `poolio.StreamReader` that keeps what has arrived. It is never made alone."""

    def __cinit__(self, *arguments, **options):
        if arguments or options:
            check_call(type(self), arguments, options)
        self.chain = Chain()

    def at_eof(self):
        """Has the stream ended, and was everything read?"""
        return self.is_at_end and self.chain.size == 0

    def exception(self):
        """The error of the connection, or None."""
        return self.error

    # --- being fed --------------------------------------------------------------------------------------

    def feed_data(self, data):
        """Add what has arrived: a Buffer, or a bytes-like object, which is copied. RuntimeError after feed_eof()."""
        cdef Chain arrived
        if self.is_at_end:
            raise RuntimeError("feed_data after feed_eof")
        arrived = Chain(self.chain.pool)
        arrived.append(data)
        if arrived.size > 0:
            self.fed(arrived.cut(arrived.size))

    def feed_eof(self):
        """Note that no more will come, and wake the task that waits."""
        self.is_at_end = True
        self.wake()

    def set_exception(self, exc):
        """Note that the connection is broken: every call raises this exception from now on."""
        self.error = exc
        self.wake()

    def set_transport(self, transport):
        """Set the transport that is paused when too much is unread. RuntimeError if there is one already."""
        if self.upstream is not None:
            raise RuntimeError("Transport already set")
        self.upstream = transport

    def replace_transport(self, transport):
        """Set the transport that is paused from now on: the new one of start_tls(), or None after the loss.

        With a new one, the old one, which carries it, is resumed if it was paused.
        """
        paused, self.upstream = self.upstream, transport
        if self.is_paused:
            self.is_paused = False
            if transport is not None:
                paused.resume_reading()

    def take_unread(self):
        """Return all that is unread as a list of Buffers, for the protocol to which the connection is handed over.

        Every later call raises RuntimeError. So does this one if a task waits to read.
        """
        if self.waiting != NULL:
            raise RuntimeError("a task waits to read from this connection")
        unread = self.chain.cut_all()
        if self.is_paused:
            self.is_paused = False
            self.upstream.resume_reading()
        self.upstream = None
        self.error = RuntimeError("this connection was handed over to another protocol")
        return unread

    cdef int drop_all(self) except -1:
        self.chain.clear()
        self.wanted = 1                     # the call tries again with the first bytes, and knows what it needs
        return self.taken()

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
            return self.wake()             # the task will take the bytes: nothing to look after
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
            except NotImplementedError:     # it can't be paused, so it is not asked again
                self.upstream = None
        return 0

    # --- waiting ----------------------------------------------------------------------------------------

    cdef object wait(self, Awaitable call, Py_ssize_t wanted):
        """Return a future for the call to wait with, until `wanted` bytes are there, or the end or an error comes.

        RuntimeError if a task waits already.
        """
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
            self.future = None              # a task's callback may still be on it
        return 0

    cdef int taken(self) except -1:
        """Bytes were taken: resume the transport if no more than the limit is unread."""
        if self.is_paused and self.chain.size <= self.limit:
            self.is_paused = False
            self.upstream.resume_reading()
        return 0

    cdef object raise_error(self):
        raise self.error

    cdef object waiting_task(self):
        callbacks = None if self.waiting == NULL else self.future._callbacks
        return getattr(callbacks[0][0], "__self__", None) if callbacks else None
