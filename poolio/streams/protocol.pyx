"""Owns the compiled half of StreamProtocol: what stands between a transport and a StreamReader.

Refuses to know how reading waits (inflow, reader, waiter) and how a stream is written to (writer). Called by
transports, by the writer, and by its Python half (connection), which has what is rare and what waits.

    poolio's own transports: receive(buf)            -> reader.arrived(buf): the task that waits may go on at once
    other transports:        receive_on_loop(buf)    -> reader.fed(buf): the task goes on in the loop's next turn
"""

cimport cython

from poolio.memory.buffer cimport Buffer
from poolio.memory.pool cimport Pool
from poolio.protocols.protocol cimport ProtocolCore
from poolio.streams.reader cimport StreamReader
from poolio.wire.receiver cimport CAME, OWED, UNASKED, UNKNOWN, First


@cython.nonecheck(True)             # a subclass may forget to call __init__()
cdef class StreamCore(ProtocolCore):
    """The compiled half of StreamProtocol."""

    cdef bint receives(self) except -1:
        return self.reader is not None

    cdef int receive(self, Buffer buf, object context) except -1:
        return self.reader.arrived(buf)

    cdef int receive_on_loop(self, Buffer buf) except -1:
        return self.reader.fed(buf)

    def data_received(self, buf):
        """Take data that comes from elsewhere than a transport: a Buffer, or a bytes-like object, which is copied."""
        self.reader.feed_data(buf)

    cdef object waiting_task(self):
        return None if self.reader is None else self.reader.waiting_task()

    cdef First first_frame(self) noexcept:
        if self.reader is None:
            return UNKNOWN
        if self.reader.was_read:
            return CAME
        return OWED if self.reader.waiting != NULL else UNASKED

    cdef Py_ssize_t unread_in(self, Pool pool) except -1:
        return 0 if self.reader is None else self.reader.chain.bytes_in(pool)

    cdef bytes unread(self):
        return b"" if self.reader is None else self.reader.chain.copy()

    cdef int drop_unread(self) except -1:
        return 0 if self.reader is None else self.reader.drop_all()

    @property
    def loop(self):
        """The event loop of the stream."""
        return self.reader.given_loop

    @property
    def pool(self):
        """The pool that is received into, or None for the default pool."""
        return self.reader.chain.pool

    def start_reader(self, limit, loop, pool):
        """Make the StreamReader. Called once, at the beginning."""
        self.reader = StreamReader(limit, loop, pool=pool)

    def pause_writing(self):
        """Called by the transport when its queue is above high water."""
        self.is_writing_paused = True

    def resume_writing(self):
        """Called by the transport when its queue has fallen to low water."""
        self.is_writing_paused = False
        self._end_drain(None)

    def stop_writing(self, exc):
        """Note that the connection is lost, and wake the tasks that drain, with this exception if there is one."""
        self.is_lost = True
        self._end_drain(exc)

    def _end_drain(self, exc):
        waiters, self.drain_waiters = self.drain_waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None) if exc is None else waiter.set_exception(exc)

    def drain_waiter(self, loop):
        """Return a future that ends when writing may go on, or None if it may. ConnectionResetError after the loss."""
        if self.is_lost:
            raise ConnectionResetError("Connection lost")
        if not self.is_writing_paused:
            return None
        if self.drain_waiters is None:
            self.drain_waiters = {}
        waiter = loop.create_future()
        self.drain_waiters[waiter] = None
        return waiter

    def forget_drain(self, waiter):
        """Remove the future of a task that drains no longer."""
        if self.drain_waiters is not None:
            self.drain_waiters.pop(waiter, None)
