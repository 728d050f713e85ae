"""Owns Frames: the asynchronous iterator over the frames of a stream.

Refuses to know what a frame is (framing) and how bytes arrive (inflow). StreamReader.frames() and lines() make it. It
takes one frame at a time: what is not asked for stays unread.
"""

cimport cython
from cpython.object cimport PyObject

from poolio.framing.codec cimport Codec, decode_next, ensure_not_shared
from poolio.memory.chain cimport Chain
from poolio.streams.inflow cimport Inflow
from poolio.streams.waiter cimport Awaitable, make_awaitable

from poolio.errors import FrameError


@cython.final
@cython.no_gc_clear
@cython.nonecheck(True)
cdef class Frames(Awaitable):
    """What `async for` goes over. It is also what is awaited for each frame, so a frame that is there needs no further
    object.
    """

    def __dealloc__(self):
        self.give_up()

    def __aiter__(self):
        return self

    def __anext__(self):
        if self.reader.waiting == <PyObject *>self:     # a task waits with this one: another task gets its own
            return new_frames(self.reader, self.codec)
        return self

    cdef object proceed(self):
        cdef Inflow reader = self.reader
        cdef Chain chain = reader.chain
        self.is_finished = False                        # so that it can be awaited again
        if reader.error is not None:
            reader.raise_error()
        if chain.size > 0:
            chain.wanted = 0
            ensure_not_shared(self.codec)
            try:
                frame = decode_next(self.codec, chain)
            except FrameError as exc:
                reader.refused = exc
                raise
            if frame is not None:
                reader.was_read = True
                if reader.is_paused:
                    reader.taken()
                return frame
        if reader.is_at_end:
            return self._last()
        return reader.wait(self, max(chain.wanted, chain.size + 1))

    cdef object _last(self):
        frame = self.codec.decode_last(self.reader.chain)
        if frame is None:
            raise StopAsyncIteration
        return frame

    cdef int give_up(self) except -1:
        self.is_finished = False
        if self.reader is not None:
            self.reader.stop_waiting(self)
        return 0

    cdef bint still_waits(self) noexcept:
        return self.reader is not None and self.reader.waiting == <PyObject *>self

    cdef object name(self):
        return "StreamReader.frames()"


cdef Frames new_frames(Inflow reader, Codec codec):
    cdef Frames frames = Frames.__new__(Frames)
    frames.reader = reader
    frames.codec = codec
    frames.is_started = True
    return frames


make_awaitable(Frames)
