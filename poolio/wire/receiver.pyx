"""Owns the contract of poolio's stream transport with poolio's protocols, which take Buffers of their own pool.

Refuses to know either of them. Called by the stream transport; ensure_nothing_unread() where TLS starts. A protocol
that is a Receiver gets Buffers; every other one is served as asyncio serves it, with `bytes` or through get_buffer().
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

    cdef object waiting_task(self):
        return None

    cdef Py_ssize_t unread(self) except -1:
        return 0

    cdef Py_ssize_t unread_in(self, Pool pool) except -1:
        return 0


def ensure_nothing_unread(protocol):
    """Raise RuntimeError if anything is unread: what came in the clear must not be taken for the beginning of TLS.

    A protocol that is not poolio's is not asked.
    """
    unread = (<Receiver>protocol).unread() if isinstance(protocol, Receiver) else 0
    if unread:
        raise RuntimeError(f"{unread} bytes are unread, which the peer has sent in the clear before start_tls()")
