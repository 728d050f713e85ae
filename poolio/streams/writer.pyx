"""Owns the compiled half of StreamWriter: writing, draining, writing frames.

Refuses to know how a stream receives (protocol) and how reading waits (inflow, reader, waiter). Called by user code.
Its Python half (connection) has what is rare and what waits.

A write goes to the transport at once, and the transport decides when to send. drain() waits only while the transport's
queue is above high water.
"""

cimport cython

from poolio.framing.codec cimport Codec
from poolio.memory.calls cimport check_call
from poolio.streams.waiter cimport ready
from poolio.wire.endpoint cimport CLOSING
from poolio.wire.stream cimport StreamTransport
from poolio.wire.tlstransport cimport TLSTransport

from poolio.framing.builder import FrameBuilder

cdef object _nothing = ready(None)


@cython.nonecheck(True)
cdef class WriterCore:
    "WriterCore(transport, protocol, reader)\n--\n\n" \
        """The compiled half of StreamWriter."""

    def __cinit__(self, *arguments, **options):
        check_call(type(self), arguments, options)

    def __init__(self, transport, protocol, reader):
        self.protocol = protocol
        self.reader = reader
        self._set_transport(transport)

    def _set_transport(self, transport):
        self.any_transport = transport
        self.own = <StreamTransport>transport if type(transport) is StreamTransport else None
        self.protocol.transport = transport

    @property
    def transport(self):
        """The transport that it writes to."""
        return self.any_transport

    def write(self, data):
        """Send what a Buffer or any bytes-like object holds now, as `poolio.Protocol.write()` does. Never waits.

        Write as much as you like between two `await writer.drain()`, but not without end.
        """
        if self.own is not None:
            self.own.write_data(data)
        else:
            self.protocol.write_elsewhere(data)

    def writelines(self, data):
        """Send several pieces in order, gathered."""
        self.protocol.writelines(data)

    def drain(self):
        """Send what was written, and wait while the transport's queue is above high water. Mostly it is not.

        Raises the error of the connection.
        """
        if self.own is not None:
            self.own.send_cork()
        elif type(self.any_transport) is TLSTransport:
            (<TLSTransport>self.any_transport).send_cork()
        if (self.protocol.is_writing_paused or self.protocol.is_lost or self._is_closing()
                or (self.reader is not None and self.reader.error is not None)):
            return self._drain()
        return _nothing

    cdef bint _is_closing(self) except -1:
        if self.own is not None:
            return (self.own.state & CLOSING) != 0
        return self.any_transport.is_closing()

    def write_frame(self, codec, *pieces):
        """Send one frame of these pieces as the codec encodes it, in the connection's pool; large ones are not copied.

        FrameTooLarge beyond the codec's max_frame, PoolExhausted at the pool's limit. Nothing is sent then.
        """
        if not isinstance(codec, Codec):
            raise TypeError(f"write_frame() takes a poolio.Codec, not {type(codec).__name__!r}")
        frame = (<Codec>codec).to_send(pieces, self.protocol.connection_pool())
        if type(frame) is list:
            self.writelines(frame)
        else:
            self.write(frame)

    def frame(self, codec):
        """Return a FrameBuilder in the connection's pool, for a `with` statement, at whose end the frame is sent."""
        return FrameBuilder(self, codec, self.protocol.connection_pool())
