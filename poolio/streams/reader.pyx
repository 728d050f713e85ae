"""Owns StreamReader: the calls that read what a connection has received.

Refuses to know how bytes arrive and how a task is woken (inflow, waiter), and what a frame is (framing). Called by user
code.

Each call is an Operation, with a function that tries once. What is there already is returned without a switch of tasks.
Else the task waits until the chain holds as many bytes as the try wanted, and the try is made again in the task; so a
cancelled call has taken nothing.
"""

from asyncio import IncompleteReadError, LimitOverrunError

cimport cython
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport _Py_REFCNT

from poolio.c.python cimport PY_SSIZE_T_MAX, PyIndex_Check
from poolio.framing.codec cimport Codec, codec_for, is_stateless
from poolio.framing.delimited cimport Delimited
from poolio.memory.buffer cimport Buffer
from poolio.memory.chain cimport Chain
from poolio.streams.frames cimport new_frames
from poolio.streams.inflow cimport Inflow
from poolio.streams.waiter cimport Awaitable, make_awaitable

from poolio.memory.methods import own_methods

DEFAULT_LIMIT = 65536               # asyncio's
MOST_CODECS = 8                     # that are known again by what frames() was given; a protocol changes among a few

cdef Delimited _line_ends = Delimited(b"\n")


cdef object _checked(limit):
    if not PyIndex_Check(limit):
        raise TypeError(f"limit must be an integer, not {type(limit).__name__!r}")
    if limit <= 0:
        raise ValueError(f"limit must be at least 1 byte, not {limit}")
    return limit


@cython.final
cdef class StreamReader(Inflow):
    "StreamReader(limit=65536, loop=None, *, pool=None)\n--\n\n" \
        """Reads from a stream, as asyncio.StreamReader does; it returns Buffers over what was received.

    limit  the most bytes of a line, or of what readuntil() returns; the transport is paused while more than twice as
           many are unread. 65536 by default
    loop   the event loop; if it is None, the one that runs when a task has to wait
    pool   what feed_data() copies into if it is given anything but a Buffer; if it is None, the default pool

    A Buffer is yours: keep, slice, write or release it. At the end of the stream it is empty. After an error of the
    connection every call raises that error. One task at a time may wait for data: a second one gets RuntimeError.
    What is there already is returned without a switch of tasks; a cancelled call has taken nothing.
    """

    def __init__(self, limit=DEFAULT_LIMIT, loop=None, *, pool=None):
        self.limit = _checked(limit)
        self.given_loop = loop
        self.chain.__init__(pool)

    def __repr__(self):
        state = " at its end" if self.is_at_end else ""
        return f"<poolio.StreamReader{state} with {self.chain.size} bytes unread>"

    # --- reading ----------------------------------------------------------------------------------------

    def read(self, n=-1):
        """Return what is there, at most `n` bytes, in one Buffer, which is never a copy. It is empty at the end.

        Waits only if nothing is there. If n < 0, waits for the end of the stream and returns all until then.
        """
        cdef Py_ssize_t count = n
        if count < 0:
            return _operation(self, &READ_ALL, 0, None)
        return _operation(self, &READ, count, None)

    def readexactly(self, n):
        """Return exactly `n` bytes, copied only if they came in several reads.

        asyncio.IncompleteReadError if the stream ends before.
        """
        return _operation(self, &READ_EXACTLY, _count("readexactly", n), None)

    def read_at_least(self, n):
        """Return `n` bytes, and what lies behind them in the same Buffer if they came in one read.

        asyncio.IncompleteReadError if the stream ends before.
        """
        return _operation(self, &READ_AT_LEAST, _count("read_at_least", n), None)

    def peek(self, n):
        """Return the next `n` bytes, which stay unread; fewer at the end of the stream."""
        return _operation(self, &PEEK, _count("peek", n), None)

    def readinto(self, target):
        """Copy what is there into a writable bytes-like object, as much as fits. Returns how much: 0 at the end."""
        return _operation(self, &READ_INTO, 0, target)

    def readuntil(self, separator=b"\n", *, limit=None):
        """Return all up to the separator, and the separator. Of a tuple of separators, the one that ends first counts.

        limit  the most bytes before the separator, for this call; if it is None, the reader's limit

        asyncio.LimitOverrunError beyond the limit, and nothing is taken; asyncio.IncompleteReadError if the stream ends
        before the separator.
        """
        return _operation(self, &READ_UNTIL, self._limit_of(limit),
                          self._finder_of(separator))

    def readline(self, *, limit=None):
        """Return a line with its b"\\n". At the end of the stream the line may lack it, or be empty.

        limit  the most bytes of the line, for this call; if it is None, the reader's limit. ValueError beyond it, and
               what is there of the line is lost
        """
        return _operation(self, &READ_LINE, self._limit_of(limit), _line_ends)

    def __aiter__(self):
        return self

    def __anext__(self):
        return _operation(self, &NEXT_LINE, self.limit, _line_ends)

    def frames(self, codec):
        """Return an asynchronous iterator over the frames of a poolio.Codec, or of the one that a class makes.

        codec  a poolio.Codec, or its class, or a function without arguments that makes one: this connection's, which
               is made when it is first asked for, and used again when the same is given again; the last 8 are known

        It takes one frame at a time: what is not asked for stays unread. It raises FrameTooLarge and FrameError as the
        codec does, and asyncio.IncompleteReadError if the stream ends within a frame.
        """
        return new_frames(self, <Codec>codec if is_stateless(codec) else self._codec_for(codec))

    def lines(self, *, limit=None):
        """Return an asynchronous iterator over the lines, without their b"\\n"; the last line may lack it.

        limit  the most bytes of a line; if it is None, the reader's limit. FrameTooLarge beyond it
        """
        return new_frames(self, Delimited(b"\n", last="deliver", max_frame=self._limit_of(limit)))

    # --- arguments --------------------------------------------------------------------------------------

    def _limit_of(self, limit):
        return self.limit if limit is None else _checked(limit)

    cdef Codec _codec_for(self, given):
        """Return the codec that the same thing has made here before, or was; or a new one."""
        if self.codecs is None:
            self.codecs = []
        for known, made in self.codecs:
            if known is given or known == given:
                return <Codec>made
        codec = codec_for(given, "frames()")
        if len(self.codecs) == MOST_CODECS:     # a function that is written anew for each call is never the same
            del self.codecs[0]
        self.codecs.append((given, codec))
        return codec

    cdef object _finder_of(self, separator):
        if self.finder is not None and self.finder[0] == separator:
            return self.finder[1]
        finder = _line_ends if separator == b"\n" else Delimited(separator)
        if type(separator) is bytes or type(separator) is tuple:
            self.finder = separator, finder
        return finder


cdef Py_ssize_t _count(method, n) except -1:
    cdef Py_ssize_t count = n
    if count < 0:
        raise ValueError(f"{method} size can not be less than zero, but is {n}")
    return count


# --- the operations: each function tries once, and returns the result or a future --------------------------

@cython.final
@cython.no_gc_clear                     # __dealloc__() needs the reader
@cython.nonecheck(True)                 # __new__() alone gives it no reader
cdef class Operation(Awaitable):
    """One call of a StreamReader."""

    def __dealloc__(self):
        self.give_up()

    cdef object proceed(self):
        cdef StreamReader reader = self.reader
        if reader.error is not None:
            reader.raise_error()
        found = self.method.attempt(reader, self)
        if not self.is_waiting:
            reader.was_read = True
            self.give_up()
        return found

    cdef int give_up(self) except -1:
        if self.reader is not None:
            self.reader.stop_waiting(self)
            self.reader = self.subject = None
        return 0

    cdef bint still_waits(self) noexcept:
        return self.reader is not None and self.reader.waiting == <PyObject *>self

    cdef object name(self):
        return f"StreamReader.{'?' if self.method == NULL else self.method.name.decode()}()"


cdef Operation _operation(StreamReader reader, Method *method, Py_ssize_t count, object subject):
    cdef Operation call = reader.spare
    if call is None or _Py_REFCNT(<PyObject *>call) > 2 or not call.is_finished:         # 2: the reader's, ours
        call = reader.spare = Operation.__new__(Operation)
    call.is_started = call.is_finished = False
    call.reader = reader
    call.method = method
    call.count = count
    call.subject = subject
    return call


cdef object _read(StreamReader reader, Operation call):
    cdef Chain chain = reader.chain
    if chain.size == 0 and call.count > 0 and not reader.is_at_end:
        return reader.wait(call, 1)
    return _cut(reader, min(call.count, chain.first.length if chain.size > 0 else 0))


cdef object _cut(StreamReader reader, Py_ssize_t count):
    found = reader.chain.cut(count)
    reader.taken()
    return found


cdef object _read_all(StreamReader reader, Operation call):
    if not reader.is_at_end:
        return reader.wait(call, PY_SSIZE_T_MAX)
    return _cut(reader, reader.chain.size)


cdef object _read_exactly(StreamReader reader, Operation call):
    if reader.chain.size >= call.count:
        return _cut(reader, call.count)
    return _wait_or_end(reader, call)


cdef object _read_at_least(StreamReader reader, Operation call):
    cdef Chain chain = reader.chain
    if chain.size >= call.count:
        return _cut(reader, max(call.count, chain.first.length if chain.size > 0 else 0))
    return _wait_or_end(reader, call)


cdef object _wait_or_end(StreamReader reader, Operation call):
    if reader.is_at_end:
        raise IncompleteReadError(bytes(_cut(reader, reader.chain.size)), call.count)
    return reader.wait(call, call.count)


cdef object _peek(StreamReader reader, Operation call):
    if reader.chain.size < call.count and not reader.is_at_end:
        return reader.wait(call, call.count)
    return reader.chain.peek(min(call.count, reader.chain.size))


cdef object _read_into(StreamReader reader, Operation call):
    cdef Py_buffer view
    cdef Py_ssize_t count
    PyObject_GetBuffer(call.subject, &view, PyBUF_WRITABLE)
    try:
        count = min(view.len, reader.chain.size)
        if count == 0 and view.len > 0 and not reader.is_at_end:
            return reader.wait(call, 1)
        reader.chain.read_into(<char *>view.buf, count)
    finally:
        PyBuffer_Release(&view)
    reader.chain.drop(count)
    reader.taken()
    return count


cdef Py_ssize_t _end_of_search(StreamReader reader, Operation call) except -2:
    """Return how many bytes there are up to the end of the separator, or -1 if it is not there yet."""
    cdef Delimited finder = <Delimited>call.subject
    cdef Py_ssize_t size = reader.chain.size
    cdef Py_ssize_t length
    cdef Py_ssize_t found = finder.find(reader.chain, &length)
    cdef Py_ssize_t end = found + length
    if found >= 0 and len(finder.delimiters) > 1:
        found = _shortest_at(reader.chain, finder, end)
    if found > call.count:
        raise LimitOverrunError("Separator is found, but chunk is longer than limit", found)
    if found >= 0:
        return end
    if size + 1 - finder.longest > call.count:
        raise LimitOverrunError("Separator is not found, and chunk exceed the limit", size + 1 - finder.longest)
    return -1


cdef Py_ssize_t _shortest_at(Chain chain, Delimited finder, Py_ssize_t end) except -2:
    """Return where the shortest of the separators ending at `end` begins: asyncio measures what stands before it."""
    cdef Py_ssize_t found = -1
    cdef Py_ssize_t size
    for separator in finder.delimiters:         # the longest first
        size = PyBytes_GET_SIZE(separator)
        if size <= end and chain.find_from(end - size, end, PyBytes_AS_STRING(separator), size) >= 0:
            found = end - size
    return found


cdef object _read_until(StreamReader reader, Operation call):
    cdef Py_ssize_t end = _end_of_search(reader, call)
    if end >= 0:
        return _cut(reader, end)
    if reader.is_at_end:
        raise IncompleteReadError(bytes(_cut(reader, reader.chain.size)), None)
    return reader.wait(call, reader.chain.size + 1)


cdef object _read_line(StreamReader reader, Operation call):
    cdef Py_ssize_t end
    try:
        end = _end_of_search(reader, call)
    except LimitOverrunError as exc:
        _drop_line(reader, exc.consumed)
        raise ValueError(exc.args[0]) from None
    if end >= 0:
        return _cut(reader, end)
    if reader.is_at_end:
        return _cut(reader, reader.chain.size)
    return reader.wait(call, reader.chain.size + 1)


cdef int _drop_line(StreamReader reader, Py_ssize_t consumed) except -1:
    """Drop what is known to be of a line that is too long."""
    cdef Py_ssize_t length
    cdef Py_ssize_t found = _line_ends.find(reader.chain, &length)
    reader.chain.drop(consumed + 1 if found == consumed else reader.chain.size)
    return reader.taken()


cdef object _next_line(StreamReader reader, Operation call):
    line = _read_line(reader, call)
    if type(line) is Buffer and (<Buffer>line).length == 0:
        raise StopAsyncIteration
    return line


cdef Method READ = Method(_read, "read")
cdef Method READ_ALL = Method(_read_all, "read")
cdef Method READ_EXACTLY = Method(_read_exactly, "readexactly")
cdef Method READ_AT_LEAST = Method(_read_at_least, "read_at_least")
cdef Method READ_INTO = Method(_read_into, "readinto")
cdef Method READ_UNTIL = Method(_read_until, "readuntil")
cdef Method READ_LINE = Method(_read_line, "readline")
cdef Method NEXT_LINE = Method(_next_line, "__anext__")
cdef Method PEEK = Method(_peek, "peek")

make_awaitable(Operation)
own_methods(StreamReader)
