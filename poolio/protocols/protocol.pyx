"""Owns poolio.Protocol: the base class whose data comes in pooled Buffers, on any loop's transports.

Refuses to know which loop it runs on. Of transports it knows poolio's own, which write() calls in C. The others find
what they look for: asyncio an asyncio.BufferedProtocol, uvloop a class with get_buffer() that is no asyncio.Protocol,
aiofastnet the same as asyncio. A compiled class can't have a Python class as its first base, so the compiled part
(ProtocolCore) comes first and asyncio's class second. Called by transports; users derive from it, and so do framed and
the protocol of streams.

The life of a byte on a loop's own transport: get_buffer() reserves the tail of the loop's read slab -> the transport
reads into it -> buffer_updated(n) makes a Buffer of exactly n bytes -> data_received(buf) -> write(buf) gives the
transport a form that it accepts. poolio's own transports make the Buffer themselves.
"""

import asyncio

from cpython.buffer cimport PyObject_CheckBuffer
from cpython.bytes cimport PyBytes_CheckExact
from cpython.object cimport PyTypeObject
from cpython.memoryview cimport PyMemoryView_Check, PyMemoryView_FromObject

from poolio.c.objects cimport poolio_is_method, poolio_method_of
from poolio.memory.allocation cimport count_copied, try_freeze
from poolio.memory.buffer cimport Buffer, slice_of
from poolio.memory.calls cimport check_call
from poolio.memory.pool cimport Pool
from poolio.wire.readslab cimport Reservation, read_slab_for
from poolio.wire.receiver cimport Receiver
from poolio.wire.stream cimport StreamTransport
from poolio.wire.tlstransport cimport TLSTransport

# Up to this many bytes a copy into `bytes` costs less than a slice and a memoryview over it, and pins nothing.
# They cost the same at 8 to 11 KiB (benchmarks/writeform.py). This is half of that, as the copy also takes room in the
# cache.
cdef Py_ssize_t COPY_UP_TO = 4096


cdef class ProtocolCore(Receiver):
    "ProtocolCore()\n--\n\n" \
        """The compiled half of Protocol."""

    def __cinit__(self, *arguments, **options):
        if arguments or options:
            check_call(type(self), arguments, options)

    def get_buffer(self, sizehint):
        """Called by the transport; returns room for the next read, at least a quarter of a slab."""
        if self.read_slab is None:
            self._find_read_slab()
        self.reservation = None
        self.reservation = self.read_slab.reserve()
        return self.reservation

    def buffer_updated(self, Py_ssize_t nbytes):
        """Called by the transport when it has filled the first `nbytes` of the room."""
        cdef Reservation room = self.reservation
        self.reservation = None
        if self.read_slab is None:
            raise RuntimeError("buffer_updated() without room reserved by get_buffer()")
        self.receive_on_loop(self.read_slab.commit(room, nbytes))

    cdef int receive_on_loop(self, Buffer buf) except -1:
        self.data_received(buf)
        return 0

    cdef object _find_read_slab(self):
        loop = asyncio._get_running_loop()      # none if it goes on in the child of a fork
        loop = loop or getattr(self.transport, "_loop", None) or asyncio.get_running_loop()
        self.read_slab = read_slab_for(self.connection_pool(), loop)

    def connection_made(self, transport):
        """Called once when the connection is made; keeps the transport. An override must call super's."""
        self.transport = transport

    def data_received(self, buf):
        """Called with each read's bytes as a Buffer of exactly that length. It is yours: keep, slice or write it."""

    def eof_received(self):
        """Called when the peer has sent its last byte; a false result closes the connection."""

    def connection_lost(self, exc):
        """Called once at the end; `exc` is None after an orderly close."""

    def pause_writing(self):
        """Called when the transport's write queue rises above high water."""

    def resume_writing(self):
        """Called when the transport's write queue has fallen to low water."""

    def write(self, data, /):
        """Send the bytes that a Buffer or any bytes-like object holds now.

        A Buffer's allocation is frozen from here on, and releasing your Buffer afterwards is always allowed. If a
        writable view of it is alive, or if `data` is another mutable object, its bytes are copied instead (counted in
        the pool's `copied_bytes`). It never waits: what the kernel does not take is queued, see `pause_writing()`.
        Raises TypeError for an object that is not bytes-like, RuntimeError before connection_made().
        """
        if type(self.transport) is StreamTransport:
            (<StreamTransport>self.transport).write_data(data)
        else:
            self.write_elsewhere(data)

    cdef object write_elsewhere(self, data):
        if type(self.transport) is TLSTransport:
            (<TLSTransport>self.transport).write_data(data)
            return
        if self.transport is None:
            raise RuntimeError("write() before connection_made(); an override must call super().connection_made()")
        self.transport.write(self._portable_form(data))

    def writelines(self, list_of_data, /):
        """Send several pieces in order, each as by `write()`."""
        if self.transport is None:
            raise RuntimeError("writelines() before connection_made(); an override must call super().connection_made()")
        if type(self.transport) is StreamTransport or type(self.transport) is TLSTransport:
            self.transport.writelines(list_of_data)
        else:
            self.transport.writelines([self._portable_form(data) for data in list_of_data])

    cdef object _portable_form(self, data):
        """Return the data in a form that every transport accepts and may keep: bytes, or a view of bytes that no longer
        change.
        """
        cdef Buffer buf
        cdef Pool pool
        if isinstance(data, Buffer):
            buf = <Buffer>data
            if buf.allocation == NULL:
                return buf.tobytes()               # raises BufferReleased
            if not try_freeze(buf):
                count_copied(buf)
                return buf.tobytes()
            if buf.length <= COPY_UP_TO:
                return buf.tobytes()
            return PyMemoryView_FromObject(slice_of(buf, 0, buf.length))
        if PyBytes_CheckExact(data) or PyMemoryView_Check(data) and _is_plain_view_of_bytes(data):
            return data
        if not PyObject_CheckBuffer(data):
            raise TypeError(f"write() takes a Buffer or a bytes-like object, not {type(data).__name__!r}")
        snapshot = bytes(data)
        pool = self.connection_pool()
        pool.copied_bytes += len(snapshot)
        return snapshot


cdef bint _is_plain_view_of_bytes(view) except -1:
    """May a transport keep this view, and cut it where it likes? It counts items and takes them for bytes."""
    return isinstance(view.obj, bytes) and view.itemsize == 1 and view.ndim == 1 and view.c_contiguous


class Protocol(ProtocolCore, asyncio.BufferedProtocol):
    """A stream protocol whose `data_received(buf)` gets pooled Buffers; use it as asyncio.Protocol.

    Works on asyncio's, uvloop's and aiofastnet's transports, over TCP, unix sockets and TLS. An idle connection holds
    no read memory. `pool` (on the class, or on the instance before data arrives) chooses the pool; None means
    `poolio.default_pool()`.

    An exception from `data_received` closes this connection only and goes to the loop's exception handler; so does, on
    poolio's own transports, one from `connection_made`.
    """

    pool = None

    @classmethod
    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        _own_write(cls)


cdef object _own_write(cls):
    """Make write() the class's own method, unless somebody overrides it.

    CPython calls a compiled method without a detour only if it belongs to the object's very class. The detour costs 175
    of the 1,500 instructions for an echoed message (callgrind). The copies of write() that bases were given in this way
    are passed over, so inheritance stays as written.
    """
    for base in cls.__mro__:
        found = vars(base).get("write")
        if found is not None and (base is ProtocolCore or not poolio_is_method(found)):
            break
    if base is ProtocolCore:
        found = poolio_method_of(<PyTypeObject *>cls, found)
    if base is not cls:
        cls.write = found
