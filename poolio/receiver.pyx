"""Owns the contract of poolio's own transports with poolio's protocols: they take Buffers of their pool.

Refuses to know either of them. A protocol that is a Receiver is called with Buffers straight from the reactor; every
other one is served as asyncio serves it, with `bytes` or through get_buffer().
"""

from poolio.buffer cimport Buffer
from poolio.pool cimport Pool, default_pool


cdef class Receiver:

    cdef Pool pool_to_receive_into(self):
        pool = self.pool
        if pool is None:
            return default_pool()
        if not isinstance(pool, Pool):
            raise TypeError(f"a protocol's pool must be a poolio.Pool or None, not {type(pool).__name__!r}")
        return <Pool>pool

    cdef int receive(self, Buffer buf) except -1:
        raise NotImplementedError

    cdef Py_ssize_t held_from(self, Pool pool) except -1:
        return 0
