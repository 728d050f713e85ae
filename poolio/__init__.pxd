# For other people's Cython: `from poolio cimport Buffer, Pool, ...`. What is named here keeps its meaning.
#
#   cdef Pool pool = default_pool()
#   cdef Buffer buf = pool.allocate(4096)          # as alloc_unsafe(); allocate_zeroed() as alloc(). Needs the GIL
#   cdef char *room = buffer_writable_data(buf)    # raises if released or frozen. Needs the GIL
#   with nogil:                                    # pointer and length need no GIL:
#       fill(room, buffer_length(buf))             #   buffer_data(buf), buffer_length(buf)
#   buffer_release(buf)                            # or drop it. Needs the GIL
#
# A pointer is good while you hold a reference to the Buffer and nobody calls its release(): keep a slice of your own,
# `buf[:]`, if others know the Buffer too. Fields and other functions in the .pxd files may change with any version.

# A codec in Cython: `cdef class Mine(Codec)` with `cpdef object decode(self, Chain chain)`, which takes a frame out of
# the chain with chain_take(), or returns None; chain_length() and chain_front() tell what is there.

from poolio.framing.codec cimport Codec
from poolio.memory.allocation cimport buffer_data, buffer_length, buffer_release, buffer_writable_data
from poolio.memory.buffer cimport Buffer
from poolio.memory.chain cimport Chain, chain_front, chain_length, chain_take
from poolio.memory.pool cimport Pool, default_pool
