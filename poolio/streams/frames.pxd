# Frames: the asynchronous iterator over the frames of a stream. See frames.pyx.

from poolio.framing.codec cimport Codec
from poolio.streams.inflow cimport Inflow
from poolio.streams.waiter cimport Awaitable

cdef class Frames(Awaitable):
    cdef Inflow reader
    cdef Codec codec

    cdef object _last(self)


cdef Frames new_frames(Inflow reader, Codec codec)
