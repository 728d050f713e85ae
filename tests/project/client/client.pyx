# cython: language_level=3
"""A small extension of somebody else's, built against the installed package: all that `from poolio cimport` offers."""

from libc.string cimport memset

from poolio cimport (
    Buffer, Chain, Codec, Pool, buffer_data, buffer_length, buffer_release, buffer_writable_data, chain_front,
    chain_length, chain_take, default_pool,
)


def checksum(Buffer buf):
    """The sum of the bytes; pointer and length are asked for without the GIL."""
    cdef const unsigned char *data
    cdef Py_ssize_t at
    cdef unsigned long total = 0
    with nogil:
        data = <const unsigned char *>buffer_data(buf)
        for at in range(buffer_length(buf)):
            total += data[at]
    return total


def filled(Pool pool, Py_ssize_t size, int byte):
    cdef Buffer buf = pool.allocate(size)
    cdef char *room = buffer_writable_data(buf)
    with nogil:
        memset(room, byte, <size_t>size)
    return buf


def zeroed(Py_ssize_t size):
    return default_pool().allocate_zeroed(size)


def write_zero(Buffer buf):
    buffer_writable_data(buf)[0] = 0


def is_null(Buffer buf):
    return buffer_data(buf) == NULL


def give_up(Buffer buf):
    buffer_release(buf)


cdef class OneByteLength(Codec):
    """Frames with their length in the byte before them."""

    cpdef object decode(self, Chain chain):
        cdef Py_ssize_t there, size
        cdef const unsigned char *front = <const unsigned char *>chain_front(chain, &there)
        if there == 0 or chain_length(chain) < 1 + front[0]:
            return None
        size = front[0]
        chain_take(chain, 1)
        return chain_take(chain, size)


def take(Chain chain, Py_ssize_t count):
    return chain_take(chain, count)
