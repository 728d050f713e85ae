# How the bytes of a frame are laid into memory of a pool. See encoding.pyx.

from poolio.framing.codec cimport Codec
from poolio.memory.buffer cimport Buffer
from poolio.memory.pool cimport Pool

cdef enum:
    LARGEST_HEADER = 64
    # Up to this many bytes a copy into one Buffer costs less than sending header and body as two pieces.
    COPY_UP_TO = 4096

# Return the bytes of these pieces together; TypeError for a piece that is not bytes-like
cdef Py_ssize_t sum_of(tuple pieces) except -1
# Make a Buffer of these pieces, `size` bytes together, with room before and behind that the caller fills
cdef Buffer joined(Pool pool, tuple pieces, Py_ssize_t size, Py_ssize_t before, Py_ssize_t behind)
# Make one Buffer of header and body. The header ends behind `room` bytes; if it is shorter, the frame begins later
cdef Buffer frame_of(Codec codec, Py_ssize_t room, tuple pieces, Pool pool)
# Return what to send: that Buffer, or for a large body a list of the header and of the pieces as they are
cdef object header_and_body(Codec codec, tuple pieces, Pool pool)
# Return the pool that encode() was given, or the default pool for None. TypeError for anything else
cdef Pool pool_or_default(pool)
