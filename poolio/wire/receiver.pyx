"""Owns the contract of poolio's stream transport with poolio's protocols, which take Buffers of their own pool.

Refuses to know either of them. Called by the stream transport, and by the loops floor: unread_bytes(). A protocol that
is a Receiver gets Buffers; every other protocol is served as asyncio serves it, with `bytes` or through get_buffer().
"""

from poolio.memory.buffer cimport Buffer
from poolio.memory.pool cimport Pool, default_pool


cdef class Receiver:

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

    cdef Py_ssize_t unread(self) except -1:
        return 0

    cdef Py_ssize_t unread_in(self, Pool pool) except -1:
        return 0


def unread_bytes(protocol):
    """How many bytes a protocol has received and not delivered yet; 0 for one that is not poolio's."""
    return (<Receiver>protocol).unread() if isinstance(protocol, Receiver) else 0
