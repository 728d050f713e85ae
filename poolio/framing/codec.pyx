"""Owns Codec, the base of all codecs: feeding, cutting all frames of a chain, what is sent for a frame, and the rule
which codec a connection uses.

Refuses to know what a frame is (lengths, delimited, and other people's subclasses) and connections: bytes come in a
Chain, frames go out as Buffers. Called by FramedProtocol, `reader.frames()` and `writer.write_frame()`; users call
feed() and encode().

A codec of poolio's is the rules alone; how far a connection has come is in its Chain. So one codec serves any number of
connections; only `feed()` keeps a chain of its own. A codec of somebody's own may keep state: codec_for() makes one for
each connection if it is given a class, and an object that has changed is refused to a second connection.

A frame is a slice of what was received, or one copy where it straddles two Buffers. The size that a peer announces is
compared with `max_frame`, and no memory is reserved for it. A frame that is written lies in the pool of its connection.

A frame that is too large raises FrameTooLarge, after all frames before it were returned, each time that its chain is
looked at; or it is dropped as it comes and counted (too_large="discard").
"""

import copyreg
import inspect
from asyncio import IncompleteReadError
from collections import deque

from libc.stdint cimport uint64_t

from poolio.c.python cimport PY_SSIZE_T_MAX, PyIndex_Check
from poolio.memory.calls cimport check_call
from poolio.memory.chain cimport Chain
from poolio.memory.pool cimport Pool, default_pool

from poolio.errors import FrameTooLarge

# The default max_frame is what WebSocket libraries allow; gRPC allows 4 MiB.
MAX_FRAME = 1 << 20

# What is compared by value where the attributes of a codec are looked at; all else is compared by identity.
cdef tuple VALUES = (int, float, str, bytes, tuple, frozenset)
cdef tuple CONTAINERS = (list, dict, set, bytearray, deque)

cdef object _missing = object()

# Classes whose encode() makes the same frame as their build().
own_encoders = set()


cdef class Codec:
    "Codec(*, max_frame=1048576, too_large='raise')\n--\n\n" \
        """Base of all codecs, and of your own: override `decode(chain)`, and `encode(...)` if you also write.

    max_frame  the largest frame in bytes, without header and delimiter, inclusive; 1 MiB by default. A codec of your
               own must check it itself.
    too_large  "raise" raises FrameTooLarge; "discard" drops such frames, counts them in `discarded` and goes on.

    `decode(chain)` takes the next frame out of a `poolio.Chain` and returns it as a Buffer or any other object but
    None. At least one byte is taken in the call that returns a frame: RuntimeError otherwise. It is called again until
    it returns None, and never with an empty chain.

    None means that nothing more can be done with the bytes that are there; the next call comes with more of them.
    Bytes may be taken all the same, as of a header, and kept until then in attributes, if each connection has a codec
    of its own: give FramedProtocol and frames() the class, not an object. An object whose attributes have changed is a
    RuntimeError for a second connection. As an empty chain is a clean end of a stream, such a codec overrides
    `decode_last()` to say that a part of a frame is no end. `chain.wanted`, set after the last byte was taken, saves
    calls in vain while the chain holds fewer bytes.

    FrameError says that the bytes are no frame: the connection is then closed. What is still in the chain stays there.

    `encode(*pieces)` returns one frame, a Buffer or bytes-like. If it takes the keyword `pool`, it is given the pool of
    the connection that the frame is written to; it should allocate there.
    """

    def __cinit__(self, *arguments, **options):
        check_call(type(self), arguments, options)
        self.max_frame = MAX_FRAME          # for a subclass whose __init__() does not call this one
        self.is_own = type(self) in own_encoders

    def __init__(self, *, max_frame=MAX_FRAME, too_large="raise"):
        self.max_frame = size_in("max_frame", max_frame, 1, PY_SSIZE_T_MAX // 4)
        self.discards = one_of("too_large", too_large, "raise", "discard")

    cpdef object decode(self, Chain chain):
        """Take out and return the next frame; None if it is not complete."""
        raise NotImplementedError(f"{type(self).__name__} has no decode()")

    cdef int decode_front(self, Chain chain, list frames, Py_ssize_t most) except -1:
        return 0

    cpdef object decode_last(self, Chain chain):
        """Called at the end of the stream, after the last whole frame; returns a last frame, or None.

        If bytes are left, it raises an asyncio.IncompleteReadError that has them.
        """
        ensure_chain(chain)
        if chain.size > 0:
            raise IncompleteReadError(bytes(chain.cut(chain.size)), None)
        return None

    def encode(self, *pieces):
        """Return one frame, ready to be sent."""
        raise NotImplementedError(f"{type(self).__name__} has no encode()")

    def gather(self, list pieces not None, Pool pool=None):
        """Return a list of what to send for a frame of these pieces.

        It is the result of encode(*pieces), or the header and the pieces of a large body without a copy.

        pool  what is copied lies in this pool; None means the default pool
        """
        cdef object found = self.to_send(tuple(pieces), default_pool() if pool is None else pool)
        return found if type(found) is list else [found]

    cdef object to_send(self, tuple pieces, Pool pool):
        """Return what to send for a frame of these pieces, in memory of this pool: one object, or a list of them."""
        if self.encoder == NOT_LOOKED_FOR:
            self._find_encoder()
        if self.encoder == OURS:
            return self.build(pieces, pool)
        return self.encode(*pieces, pool=pool) if self.encoder == WITH_POOL else self.encode(*pieces)

    cdef object build(self, tuple pieces, Pool pool):
        raise NotImplementedError

    cdef int ensure_stateless(self) except -1:
        """RuntimeError if an attribute has changed since the first of several connections was given this codec."""
        cdef dict now = _attributes_of(self)
        for name, value in now.items():
            if not _is_same(value, self.attributes.get(name, _missing)):
                _refuse_state(self, name)
        if len(now) != len(self.attributes):
            _refuse_state(self, next(name for name in self.attributes if name not in now))
        return 0

    cdef int _find_encoder(self) except -1:
        """Is encode() poolio's own, so that build() may stand in for it? If not, does it take `pool`?"""
        for kind in type(self).__mro__:
            if "encode" in vars(kind):
                break
        if kind in own_encoders:
            self.encoder = OURS
        else:
            self.encoder = WITH_POOL if _takes_pool(kind.encode) else WITHOUT_POOL
        return 0

    cdef Py_ssize_t put_header(self, char *end, Py_ssize_t size) except -1:
        raise NotImplementedError

    @property
    def chain(self):
        """The Chain of `feed()`: what was fed and is not yet a whole frame."""
        if self.chain_of_feed is None:
            self.chain_of_feed = Chain()
        return self.chain_of_feed

    def feed(self, data):
        """Return the frames that these bytes complete, in order. A Buffer is not copied; you may release yours.

        An error of decode() is raised by the first call that has no whole frame to return before it.
        """
        cdef Chain chain = self.chain
        cdef list frames = []
        chain.append(data)
        error, self.error_of_feed = self.error_of_feed, None
        if error is not None:
            raise error
        try:
            decode_all(self, chain, frames)
        except Exception as exc:
            if not frames:
                raise
            self.error_of_feed = exc
        return frames

    cdef int _too_large(self, Chain chain, uint64_t size, uint64_t header) except -1:
        """Raise FrameTooLarge for this frame, or drop it with its header and count it."""
        if not self.discards:
            raise FrameTooLarge(size, self.max_frame)
        self.discarded += 1
        chain.discard(<Py_ssize_t>min(size, <uint64_t>PY_SSIZE_T_MAX // 2) + <Py_ssize_t>header)
        return 0


cdef Codec codec_for(object given, str taker):
    codec = given if isinstance(given, Codec) or not callable(given) else given()
    if not isinstance(codec, Codec):
        made = "" if codec is given else f", which {given!r} has made"
        raise TypeError(f"{taker} needs a poolio.Codec, its class, or a function that makes one, "
                        f"not {type(codec).__name__!r}{made}")
    if isinstance(given, type):
        (<Codec>codec).connections += 1         # nobody else has it
    else:
        _give_to_connection(<Codec>codec)
    return <Codec>codec


cdef bint is_stateless(object codec):
    return type(codec) in own_encoders


cdef int _give_to_connection(Codec codec) except -1:
    codec.connections += 1
    if codec.attributes is not None:
        codec.ensure_stateless()
    elif codec.is_own:
        codec.attributes = {}
    else:
        codec.slots = tuple(copyreg._slotnames(type(codec)))
        codec.has_attributes = bool(codec.slots) or hasattr(codec, "__dict__")
        codec.attributes = {name: value.copy() if type(value) in CONTAINERS else value
                            for name, value in _attributes_of(codec).items()}
    return 0


cdef dict _attributes_of(Codec codec):
    """Return the attributes that a Python subclass has given this object; they are not to be changed.

    Compiled subclasses have none that can be seen from here.
    """
    cdef dict found
    if not codec.has_attributes:
        return {}
    found = getattr(codec, "__dict__", None) or {}
    if codec.slots:
        found = {**found, **{name: getattr(codec, name) for name in codec.slots if hasattr(codec, name)}}
    return found


cdef int _refuse_state(Codec codec, name) except -1:
    raise RuntimeError(f"this {type(codec).__name__} keeps state ({name!r} has changed), and {codec.connections} "
                       "connections were given it. Give the class, or a function that makes one: then each has its own")


cdef bint _is_same(now, before) except -1:
    return now is before or (type(now) is type(before) and type(now) in VALUES + CONTAINERS and now == before)


cdef int decode_all(Codec codec, Chain chain, list frames) except -1:
    """Append all whole frames of the chain to the list. If that raises, the frames before are in the list."""
    return decode_some(codec, chain, frames, PY_SSIZE_T_MAX)


cdef int decode_some(Codec codec, Chain chain, list frames, Py_ssize_t most) except -1:
    """As decode_all(), but stop when the list has so many frames."""
    ensure_not_shared(codec)
    while chain.size > 0 and chain.size >= chain.wanted:
        if codec.is_own:
            codec.decode_front(chain, frames, most)
        if len(frames) < most and chain.size > 0:
            frame = decode_next(codec, chain)
            if frame is None:
                break
            frames.append(frame)
        if len(frames) >= most:
            return 0
    return chain.unpin()


cdef int raise_stuck(Codec codec) except -1:
    raise RuntimeError(f"{type(codec).__name__}.decode() has returned a frame without taking a byte from the chain")


cdef bint _takes_pool(encode) except -1:
    """Has this function a keyword argument `pool`?"""
    try:
        parameters = inspect.signature(encode).parameters
    except ValueError:              # compiled without a signature
        return False
    return "pool" in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())


cdef Py_ssize_t size_in(name, value, Py_ssize_t least, Py_ssize_t most) except? -1:
    """Return the value; TypeError if it is no integer, ValueError if it is not in least..most bytes."""
    return _number_in(name, value, least, most, " bytes")


cdef Py_ssize_t count_in(name, value, Py_ssize_t least, Py_ssize_t most) except? -1:
    """As size_in(), for what is not counted in bytes."""
    return _number_in(name, value, least, most, "")


cdef Py_ssize_t _number_in(name, value, Py_ssize_t least, Py_ssize_t most, unit) except? -1:
    if not PyIndex_Check(value):
        raise TypeError(f"{name} must be an integer, not {type(value).__name__!r}")
    if not least <= value.__index__() <= most:
        raise ValueError(f"{name} must be in {least}..{most}{unit}, not {value}")
    return value


cdef int one_of(name, value, first, second) except -1:
    """Return 0 if value is the first, 1 if it is the second; ValueError if it is neither."""
    if value != first and value != second:
        raise ValueError(f"{name} must be {first!r} or {second!r}, not {value!r}")
    return value == second
