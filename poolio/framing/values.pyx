"""Owns how values are written with a mark before each, and NIL, the value that stands for nothing.

Refuses to know how they are read, and which marks there are (marked). All values are measured first, then written into
one Buffer of the pool; strings above 4 KiB need no copy if the caller can send a list.

Other people's code can run in between (a __buffer__), and may change the values; so nothing is written beyond what was
measured, and all of it is.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.string cimport memchr, memcpy

from poolio.c.python cimport PyLong_AsLongLong, PyLong_Check, PyUnicode_AsUTF8AndSize, PyUnicode_Check
from poolio.framing.encoding cimport COPY_UP_TO
from poolio.memory.allocation cimport ensure_alive
from poolio.memory.buffer cimport Buffer, slice_of
from poolio.memory.pool cimport Pool

from poolio.errors import FrameError

cdef enum:
    MOST_DIGITS = 20            # of a number of 64 bits, with its sign
    DEEPEST = 32                # lists in lists that are written: as many as can be read


cdef class _Nil:
    """The value of poolio.NIL: a null of a protocol. It is false."""

    def __bool__(self):
        return False

    def __repr__(self):
        return "poolio.NIL"

    def __reduce__(self):
        return "NIL"


NIL = _Nil()
cdef object nil = NIL


cdef struct Output:
    const char *marks
    Py_ssize_t size             # while it is measured: bytes for the Buffer
    char *room                  # while it is written: where the next byte goes; NULL while it is measured
    char *end
    char *begun                 # what was not yet given to `pieces`
    bint may_split
    Py_ssize_t lines            # texts that were made while it was measured, and are used while it is written


cdef class _Parts:
    """What was made for an output: lines of text, and the pieces to send."""
    cdef list lines
    cdef list pieces
    cdef Buffer frame


cdef object written(tuple values, const char *marks, Pool pool, bint may_split):
    cdef _Parts parts = _Parts.__new__(_Parts)
    cdef Output output
    output.marks = marks
    output.size = 0
    output.room = NULL
    output.may_split = may_split
    output.lines = 0
    for value in values:
        _put(value, &output, parts, 0)
    parts.frame = pool.allocate_to_fill(output.size)
    output.room = output.begun = parts.frame.data
    output.end = parts.frame.data + output.size
    for value in values:
        _put(value, &output, parts, 0)
    if output.room != output.end:
        _raise_changed()
    if parts.pieces is None:
        return parts.frame
    _end_piece(&output, parts)
    return parts.pieces


cdef int _put(value, Output *output, _Parts parts, int depth) except -1:
    if PyBytes_CheckExact(value):
        return _put_string(value, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), output, parts)
    if type(value) is Buffer:
        ensure_alive(<Buffer>value)
        return _put_string(value, (<Buffer>value).data, (<Buffer>value).length, output, parts)
    if PyUnicode_Check(value):
        return _put_text(value, output, parts)
    if PyLong_Check(value):
        return _put_number(_mark(output, INTEGER), _integer(value), output)
    if value is None or value is nil:
        return _put_number(_mark(output, STRING), -1, output)
    if isinstance(value, (list, tuple)):
        return _put_array(value, output, parts, depth)
    if isinstance(value, BaseException):
        return _put_error(value, output, parts)
    if PyObject_CheckBuffer(value):
        return _put_view(value, output, parts)
    raise TypeError("a value must be a bytes-like object, str, int, None, list, tuple or exception, "
                    f"not {type(value).__name__!r}")


cdef inline char _mark(Output *output, Kind kind) except 0:
    if output.marks[<int>kind] == 0:
        raise FrameError("these marks have none for this kind of value")
    return output.marks[<int>kind]


cdef inline char *_room(Output *output, Py_ssize_t size) except? NULL:
    """Return where to write so many bytes; NULL while they are only measured."""
    cdef char *room = output.room
    if room == NULL:
        output.size += size
        return NULL
    if size > output.end - room:
        _raise_changed()
    output.room += size
    return room


cdef int _put_number(char mark, int64_t number, Output *output) except -1:
    """Write a line: mark and number."""
    cdef char digits[MOST_DIGITS]
    cdef int at = MOST_DIGITS
    cdef unsigned long long rest = <unsigned long long>number if number >= 0 else 0 - <unsigned long long>number
    cdef char *room
    while True:
        at -= 1
        digits[at] = <char>(c"0" + rest % 10)
        rest //= 10
        if rest == 0:
            break
    if number < 0:
        at -= 1
        digits[at] = c"-"
    room = _room(output, MOST_DIGITS - at + 3)
    if room != NULL:
        room[0] = mark
        memcpy(room + 1, digits + at, <size_t>(MOST_DIGITS - at))
        room[MOST_DIGITS - at + 1] = c"\r"
        room[MOST_DIGITS - at + 2] = c"\n"
    return 0


cdef int _put_string(value, const char *data, Py_ssize_t size, Output *output, _Parts parts) except -1:
    cdef char *room
    _put_number(_mark(output, STRING), size, output)
    if size > COPY_UP_TO and output.may_split:
        if output.room != NULL:
            _end_piece(output, parts)
            parts.pieces.append(value)
        size = 0
    room = _room(output, size + 2)
    if room != NULL:
        memcpy(room, data, <size_t>size)
        room[size] = c"\r"
        room[size + 1] = c"\n"
    return 0


cdef int _put_view(value, Output *output, _Parts parts) except -1:
    cdef Py_buffer view
    PyObject_GetBuffer(value, &view, PyBUF_SIMPLE)
    try:
        return _put_string(value, <const char *>view.buf, view.len, output, parts)
    finally:
        PyBuffer_Release(&view)


cdef int _put_array(values, Output *output, _Parts parts, int depth) except -1:
    cdef Py_ssize_t count = len(values)
    if depth == DEEPEST:
        raise FrameError(f"lists lie in each other deeper than {DEEPEST}")
    _put_number(_mark(output, ARRAY), count, output)
    for value in values:
        _put(value, output, parts, depth + 1)
        count -= 1
    if count != 0:
        _raise_changed()
    return 0


cdef int _put_text(text, Output *output, _Parts parts) except -1:
    cdef Py_ssize_t size
    cdef const char *data
    try:
        data = PyUnicode_AsUTF8AndSize(text, &size)
    except UnicodeEncodeError:
        return _put_kept_line(TEXT, text, output, parts)
    if memchr(data, c"\n", <size_t>size) != NULL or memchr(data, c"\r", <size_t>size) != NULL:
        raise ValueError("an end of a line stands in a text")
    return _put_line(_mark(output, TEXT), data, size, output)


cdef int _put_error(error, Output *output, _Parts parts) except -1:
    """Write the text of an exception. It is made once, as code of other people makes it."""
    text = "" if output.room != NULL else " ".join(str(error).replace("\r", "\n").split("\n"))
    return _put_kept_line(ERROR, text, output, parts)


cdef int _put_kept_line(Kind kind, text, Output *output, _Parts parts) except -1:
    cdef bytes line
    if output.room == NULL:
        line = text.encode("utf-8", "surrogateescape")
        if kind == TEXT and (b"\n" in line or b"\r" in line):
            raise ValueError("an end of a line stands in a text")
        if parts.lines is None:
            parts.lines = []
        parts.lines.append(line)
    else:
        if parts.lines is None or output.lines >= len(parts.lines):
            _raise_changed()
        line = parts.lines[output.lines]
        output.lines += 1
    return _put_line(_mark(output, kind), PyBytes_AS_STRING(line), PyBytes_GET_SIZE(line), output)


cdef int _put_line(char mark, const char *data, Py_ssize_t size, Output *output) except -1:
    cdef char *room = _room(output, size + 3)
    if room != NULL:
        room[0] = mark
        memcpy(room + 1, data, <size_t>size)
        room[size + 1] = c"\r"
        room[size + 2] = c"\n"
    return 0


cdef int _end_piece(Output *output, _Parts parts) except -1:
    """Give what was written since the last piece to the pieces."""
    if parts.pieces is None:
        parts.pieces = []
    if output.room > output.begun:
        parts.pieces.append(slice_of(parts.frame, output.begun - parts.frame.data, output.room - output.begun))
    output.begun = output.room
    return 0


cdef int64_t _integer(value) except? -1:
    try:
        return PyLong_AsLongLong(value)
    except OverflowError:
        raise FrameError("an integer here has 64 bits, and this one has more") from None


cdef int _raise_changed() except -1:
    raise ValueError("the values of a frame changed while it was written")
