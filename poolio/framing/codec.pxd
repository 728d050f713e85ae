# Codec: the base of all codecs. See codec.pyx.

from libc.stdint cimport uint64_t

from poolio.memory.buffer cimport Buffer
from poolio.memory.chain cimport Chain
from poolio.memory.pool cimport Pool

cdef enum Encoder:
    NOT_LOOKED_FOR
    OURS                # build() does what encode() does
    WITH_POOL           # somebody else's encode() is called, which takes the connection's pool
    WITHOUT_POOL        # somebody else's encode() is called, which does not take it


cdef class Codec:
    cdef Chain chain_of_feed            # None before the first feed()
    cdef object error_of_feed           # what the next feed() raises; None: nothing
    cdef readonly Py_ssize_t max_frame
    cdef readonly Py_ssize_t discarded  # frames too large, since creation
    cdef bint discards
    cdef bint is_own                    # exactly a class of poolio's: decode() is not overridden
    cdef Encoder encoder
    # whose it is, see codec_for()
    cdef Py_ssize_t connections         # how many have been given this object
    cdef bint has_attributes            # a Python subclass, which could keep state in them
    cdef tuple slots                    # their names, of those that are not in a __dict__
    cdef dict attributes                # as they were when the first connection was given it; None before
    cdef Py_ssize_t header_room         # bytes that are enough for the header of a frame of any size; 0: it has none

    cpdef object decode(self, Chain chain)
    cpdef object decode_last(self, Chain chain)

    # Return what to send for a frame of these pieces, in memory of this pool: a Buffer or bytes, or a list of them.
    # build() is the compiled half of it, for the codecs in `own_encoders`
    cdef object to_send(self, tuple pieces, Pool pool)
    cdef object build(self, tuple pieces, Pool pool)
    # Write the header of a body of `size` bytes, so that it ends at `end`; return its length, header_room at most
    cdef Py_ssize_t put_header(self, char *end, Py_ssize_t size) except -1

    # Append the frames that lie whole in the chain's first Buffer, until the list has `most` or one is not quickly cut:
    # that and the rest is decode()'s. Codecs that do not override it cut none
    cdef int decode_front(self, Chain chain, list frames, Py_ssize_t most) except -1

    cdef int ensure_stateless(self) except -1
    cdef int _find_encoder(self) except -1
    cdef int _too_large(self, Chain chain, uint64_t size, uint64_t header) except -1


cdef inline object decode_next(Codec codec, Chain chain):
    """Call codec.decode(chain). RuntimeError for a frame without a byte taken: no codec can make a loop endless."""
    cdef Py_ssize_t before = chain.size
    frame = codec.decode(chain)
    if chain.size == before and frame is not None:
        raise_stuck(codec)
    return frame


cdef inline int ensure_chain(Chain chain) except -1:
    if chain is None:
        raise TypeError("a codec decodes a poolio.Chain, not None")
    return 0


cdef inline int ensure_not_shared(Codec codec) except -1:
    """Called before a connection decodes: RuntimeError if what it would find is another connection's state."""
    return codec.ensure_stateless() if codec.has_attributes and codec.connections > 1 else 0


cdef int raise_stuck(Codec codec) except -1
# Return the codec of a new connection: what was given, or what it makes when it is called. `taker` is for the error
cdef Codec codec_for(object given, str taker)
# True of poolio's own codecs
cdef bint is_stateless(object codec)
# Append all whole frames of the chain to the list. If that raises, the frames before are in the list
cdef int decode_all(Codec codec, Chain chain, list frames) except -1
# The same, until the list has so many
cdef int decode_some(Codec codec, Chain chain, list frames, Py_ssize_t most) except -1
# Return 0 or 1: which of the two the argument of this name is; ValueError if it is neither
cdef Py_ssize_t count_in(name, value, Py_ssize_t least, Py_ssize_t most) except? -1
cdef Py_ssize_t size_in(name, value, Py_ssize_t least, Py_ssize_t most) except? -1
cdef int one_of(name, value, first, second) except -1
