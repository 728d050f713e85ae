"""Owns the contract of poolio's stream transport with poolio's protocols, which take Buffers of their own pool.

Refuses to know either of them. Called by the stream transport; unread_of(), drop_unread() and deliver() where a
connection gets another protocol. A protocol that is a Receiver gets Buffers; every other one is served as asyncio
serves it, with `bytes` or through get_buffer().
"""

import asyncio
import logging
from asyncio import IncompleteReadError

from poolio.memory.attributed cimport Attributed
from poolio.memory.buffer cimport Buffer
from poolio.memory.pool cimport Pool, default_pool

logger = logging.getLogger("poolio")


cdef class Receiver(Attributed):

    cdef Pool connection_pool(self):
        pool = self.pool
        if pool is None:
            return default_pool()
        if not isinstance(pool, Pool):
            raise TypeError(f"a protocol's pool must be a poolio.Pool or None, not {type(pool).__name__!r}")
        return <Pool>pool

    cdef bint receives(self) except -1:
        return False

    cdef int receive(self, Buffer buf, object context) except -1:
        raise NotImplementedError

    cdef bint reads_itself(self) noexcept:
        return False

    cdef int read_itself(self) except -1:
        raise NotImplementedError

    cdef int go_on_later(self) except -1:
        raise NotImplementedError

    cdef object waiting_task(self):
        return None

    cdef First first_frame(self) noexcept:
        return UNKNOWN

    cdef Py_ssize_t unread_in(self, Pool pool) except -1:
        return 0

    cdef bytes unread(self):
        return b""

    cdef int drop_unread(self) except -1:
        return 0


def unread_of(protocol):
    """Return a copy of what a protocol has received and not delivered yet, as `bytes`.

    Only the protocols of streams, asyncio's too, and FramedProtocol have any: all others were given what came.
    RuntimeError while the protocol is dropping a frame that is too large.
    """
    if isinstance(protocol, Receiver):
        return (<Receiver>protocol).unread()
    reader = _asyncio_reader(protocol)
    return b"" if reader is None else bytes(reader._buffer)


def drop_unread(protocol):
    """Make a protocol forget what it has received and not delivered yet: it is another one's now."""
    if isinstance(protocol, Receiver):
        (<Receiver>protocol).drop_unread()
    else:
        reader = _asyncio_reader(protocol)
        if reader is not None:
            reader._buffer.clear()
            reader._maybe_resume_transport()


cdef object _asyncio_reader(protocol):
    """The reader of a stream of asyncio's own; None if it is none, or if the reader was dropped."""
    return protocol._stream_reader if isinstance(protocol, asyncio.StreamReaderProtocol) else None


def deliver(protocol, data):
    """Give received data to a protocol in the form that it takes, as a transport would.

    `data` is a Buffer if the protocol is poolio's. RuntimeError if the protocol gives no room.
    """
    if isinstance(protocol, Receiver):
        protocol.data_received(data)
    elif not isinstance(protocol, asyncio.BufferedProtocol) and hasattr(protocol, "data_received"):
        protocol.data_received(bytes(data))
    else:
        _fill_rooms(protocol, memoryview(data))


def hand_over(transport, protocol, unread, *, is_paused, is_at_end=False):
    """Give a connection to another protocol, for an upgrade of what both ends speak.

    The protocol gets connection_made(), then the Buffers that are unread, then what comes.

    is_paused  the transport has called pause_writing()
    is_at_end  the peer has sent its last byte
    """
    transport.set_protocol(protocol)
    try:
        protocol.connection_made(transport)
        if is_paused:
            protocol.pause_writing()
        for buf in unread:
            if not transport.is_closing():
                deliver(protocol, buf)
        if is_at_end and not transport.is_closing() and not protocol.eof_received():
            transport.close()
    except BaseException:
        transport.abort()
        raise


def log_fault_of_peer(transport, exc):
    """Log why a connection is closed because of what its peer did: one line at INFO, and no traceback."""
    reason = f"it ended {len(exc.partial)} bytes into a frame" if isinstance(exc, IncompleteReadError) else exc
    logger.info("closing the connection of %s: %s", transport.get_extra_info("peername") or transport, reason)


cdef object _fill_rooms(protocol, rest):
    while rest:
        room = memoryview(protocol.get_buffer(len(rest))).cast("B")
        count = min(len(room), len(rest))
        if count == 0:
            raise RuntimeError("get_buffer() returned an empty buffer")
        room[:count] = rest[:count]
        room.release()
        protocol.buffer_updated(count)
        rest = rest[count:]
