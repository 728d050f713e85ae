"""Owns Marked: the codec of values whose first byte says what they are, as in RESP, which Redis speaks.

Refuses to know commands and connections (codec), how a place in a chain is found (cursor), and how values are written
(values).

A frame is looked at twice. The first pass finds its end and everything that is wrong with it, and makes no object. It
keeps what it knows in the chain, so that a peer who sends one byte at a time costs linear work, and one codec serves
any number of connections. The second pass makes the values, when all of them are there. Until then nothing is taken:
a small rest of an unfinished frame can move, and pins nothing.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memchr, memset

from poolio.c.python cimport PY_SSIZE_T_MAX, PyUnicode_DecodeUTF8
from poolio.framing.codec cimport Codec, count_in, ensure_chain, one_of, size_in
from poolio.framing.cursor cimport WINDOW, Cursor, cursor_at, front, remember, step, string_at
from poolio.framing.encoding cimport COPY_UP_TO, pool_or_default
from poolio.framing.values cimport ARRAY, ERROR, INTEGER, NO_MARK, STRING, TEXT, Kind, written
from poolio.memory.buffer cimport Buffer, slice_of
from poolio.memory.chain cimport Chain
from poolio.memory.digits cimport Digits, integer_of_frame
from poolio.memory.pool cimport Pool

from poolio.errors import ErrorReply, FrameError, FrameTooLarge
from poolio.framing.codec import MAX_FRAME, own_encoders
from poolio.framing.values import NIL
from poolio.memory.methods import own_methods

RESP2 = {b"*": "array", b"$": "string", b":": "integer", b"+": "text", b"-": "error"}
MAX_ITEMS = 1 << 16
MAX_DEPTH = 8
INLINE_LIMIT = 1 << 16          # bytes of a line of words, as Redis has it
NAMES = ("", "array", "string", "integer", "text", "error")

LARGEST = (1 << 63) - 1

cdef enum:
    SIMPLE_DIGITS = 18          # a number of so many fits 63 bits
    MOST_DIGITS = 20            # that are allowed; any number of 64 bits has fewer
    FEW = 32                    # strings of a command that is decoded in one pass: where they lie is kept on the stack

cdef uint64_t rules_made = 0        # serial number of the last


cdef class Marked(Codec):
    "Marked(*, frames='values', inline='refuse', bytes_up_to=4096, marks=None, max_items=65536, max_depth=8, " \
        "max_frame=1048576)\n--\n\n" \
        """Values whose first byte says what they are, as in RESP, the protocol of Redis: Marked() for a client,
    Marked(frames="commands") for a server.

    frames       with "values" a frame is any value; with "commands" it is a tuple of strings, and anything else is a
                 FrameError; an empty one is skipped
    inline       for a command that begins with no mark, as people type it: "refuse" makes it a FrameError, "split"
                 makes it a tuple of its words
    bytes_up_to  strings of up to so many bytes are `bytes`, longer ones are Buffers; 4096 by default. A copy of this
                 size costs no more than a Buffer, keeps no slab from being used again, and can be the key of a dict
    marks        what each first byte stands for: "array", "string", "integer", "text" or "error"; None means those of
                 RESP2
    max_items    the most values in the arrays of a frame together; 65536 by default
    max_depth    how deep arrays may lie in each other, 1 to 32; 8 by default
    max_frame    the most bytes of a frame that is decoded, with all its lines; 1 MiB by default. A string whose length
                 is beyond it raises FrameTooLarge before it has come

    An array is a tuple, a string `bytes` or a Buffer, an integer an int of 64 bits, a text a str, an error a
    poolio.ErrorReply, which is returned and not raised. A null, of either kind, is poolio.NIL: None is no frame.
    """

    def __cinit__(self, *arguments, **options):
        self.bytes_up_to = COPY_UP_TO
        self.max_items = MAX_ITEMS
        self.max_depth = MAX_DEPTH
        self._take_marks(RESP2)

    def __init__(
        self, *, frames="values", inline="refuse", bytes_up_to=4096, marks=None, max_items=MAX_ITEMS,
        max_depth=MAX_DEPTH, max_frame=MAX_FRAME,
    ):
        super().__init__(max_frame=max_frame)
        self.takes_commands = one_of("frames", frames, "values", "commands")
        self.splits = one_of("inline", inline, "refuse", "split")
        if self.splits and not self.takes_commands:
            raise ValueError("inline='split' makes commands, so it needs frames='commands'")
        self.bytes_up_to = size_in("bytes_up_to", bytes_up_to, 0, PY_SSIZE_T_MAX // 4)
        self.max_items = count_in("max_items", max_items, 1, PY_SSIZE_T_MAX // 64)
        self.max_depth = count_in("max_depth", max_depth, 1, DEEPEST)
        self._take_marks(RESP2 if marks is None else dict(marks))

    cdef int _take_marks(self, dict marks) except -1:
        global rules_made
        rules_made += 1
        self.rules = rules_made
        memset(self.kinds, NO_MARK, sizeof(self.kinds))
        memset(self.marks, 0, sizeof(self.marks))
        for mark, name in marks.items():
            if type(mark) is not bytes or len(mark) != 1 or mark.isspace():
                raise ValueError(f"a mark must be bytes of length 1, and no space, not {mark!r}")
            if name not in NAMES[1:]:
                raise ValueError(f"a mark must stand for one of {', '.join(NAMES[1:])}, not {name!r}")
            self.kinds[mark[0]] = NAMES.index(name)
            if self.marks[self.kinds[mark[0]]] == 0:
                self.marks[self.kinds[mark[0]]] = mark[0]
        return 0

    def __repr__(self):
        return f"<poolio.Marked {'commands' if self.takes_commands else 'values'}, max_frame {self.max_frame}>"

    cpdef object decode(self, Chain chain):
        cdef Scan scan
        cdef Cursor cursor
        ensure_chain(chain)
        while chain.size > 0:
            if chain.searched == 0:
                frame = self._simple(chain)
                if frame is not None:
                    return frame
            self._resume(chain, &scan)
            if not self._find_end(chain, &scan):
                return None
            cursor_at(&cursor, chain, 0)
            if self.splits and self.kinds[<unsigned char>chain.first.data[0]] != ARRAY:
                frame = tuple(string_at(&cursor, chain, scan.at, scan.at).split())
            else:
                frame = self._value(chain, &cursor)
            chain.drop(scan.at)
            if frame or not self.takes_commands:
                return frame
        return None

    cdef tuple _simple(self, Chain chain):
        """Take out the frame if it is as most commands: a few strings, in one Buffer. None: it must be looked at."""
        cdef Py_ssize_t starts[FEW]
        cdef Py_ssize_t sizes[FEW]
        cdef const char *data = chain.first.data
        cdef Py_ssize_t there = min(chain.first.length, self.max_frame)
        cdef Py_ssize_t at, width, index
        cdef int64_t count = 0
        cdef int64_t size = 0
        cdef tuple frame
        at = _number_at(data, there, &count)
        if at == 0 or self.kinds[<unsigned char>data[0]] != ARRAY or not 1 <= count <= min(self.max_items, FEW):
            return None
        for index in range(count):
            width = _number_at(data + at, there - at, &size)
            if width == 0 or self.kinds[<unsigned char>data[at]] != STRING:
                return None
            at += width
            if size > there - at - 2 or data[at + size] != c"\r" or data[at + size + 1] != c"\n":
                return None
            starts[index] = at
            sizes[index] = size
            at += size + 2
        frame = PyTuple_New(count)
        for index in range(count):
            if sizes[index] <= self.bytes_up_to:
                piece = PyBytes_FromStringAndSize(data + starts[index], sizes[index])
            else:
                piece = slice_of(<Buffer>chain.first.buf, data - (<Buffer>chain.first.buf).data + starts[index],
                                 sizes[index])
            Py_INCREF(piece)
            PyTuple_SET_ITEM(frame, index, piece)
        chain.drop(at)
        return frame

    # --- the first pass: where does it end? -------------------------------------------------------------

    cdef int _resume(self, Chain chain, Scan *scan) except -1:
        """Go on where the last pass over this frame has ended, or begin."""
        cdef Progress known
        if chain.searched > 0 and type(chain.searched_for) is Progress:
            known = <Progress>chain.searched_for
            if known.rules == self.rules and known.scan.at + known.scan.searched == chain.searched:
                scan[0] = known.scan
                return 0
        scan.at = scan.searched = scan.items = 0
        scan.depth = 0
        scan.left[0] = 1
        return 0

    cdef int _save(self, Chain chain, Scan *scan, Cursor *cursor) except -1:
        """Keep in the chain how far this pass has come."""
        cdef Progress known
        if type(chain.searched_for) is Progress:
            known = <Progress>chain.searched_for
        else:
            known = Progress.__new__(Progress)
            chain.searched_for = known
        known.rules = self.rules
        known.scan = scan[0]
        chain.searched = scan.at + scan.searched
        if scan.searched == 0:
            remember(cursor, chain)
        return 0

    cdef bint _find_end(self, Chain chain, Scan *scan) except -1:
        """Go to the end of the frame. False if it is not there yet; how far this came is kept."""
        cdef Cursor cursor
        cdef Py_ssize_t size
        cursor_at(&cursor, chain, scan.at)
        while True:
            while scan.left[scan.depth] == 0:
                if scan.depth == 0:
                    return True
                scan.depth -= 1
            size = self._pass(chain, scan, &cursor)
            if size == 0:
                self._save(chain, scan, &cursor)
                return False
            scan.at += size
            step(&cursor, size)
            if scan.at > self.max_frame:
                raise FrameTooLarge(scan.at, self.max_frame)

    cdef Py_ssize_t _pass(self, Chain chain, Scan *scan, Cursor *cursor) except -1:
        """Return the bytes of the value here, of an array those of its line. 0 if they are not there yet: then
        `wanted` is set.
        """
        cdef char copy[WINDOW]
        cdef Py_ssize_t there, width
        cdef int64_t number = 0
        cdef const char *data = front(cursor, chain, copy, &there)
        cdef Kind kind
        if there == 0:
            chain.wanted = chain.size + 1
            return 0
        kind = <Kind>self.kinds[<unsigned char>data[0]]
        if self.takes_commands and kind != (ARRAY if scan.depth == 0 else STRING):
            if self.splits and scan.depth == 0:
                return self._pass_line(chain, scan, b"\n", min(self.max_frame, <Py_ssize_t>INLINE_LIMIT))
            _refuse_mark(data[0], "the mark of an array" if scan.depth == 0 else "the mark of a string")
        if kind == NO_MARK:
            _refuse_mark(data[0], "a mark")
        if kind == TEXT or kind == ERROR:
            return self._pass_line(chain, scan, b"\r\n", self.max_frame)
        width = _number_at(data, there, &number)
        if width == 0:
            width = self._odd_number_at(data, there, kind, &number)
            if width == 0:
                chain.wanted = chain.size + 1
                return 0
        if kind == STRING and number >= 0:
            width = self._pass_string(chain, scan, cursor, data, width, number)
            if width == 0:
                return 0
        scan.left[scan.depth] -= 1
        if kind == ARRAY and number > 0:
            self._begin_array(scan, number)
        return width

    cdef Py_ssize_t _pass_string(
        self, Chain chain, Scan *scan, Cursor *cursor, const char *data, Py_ssize_t width, int64_t size
    ) except -1:
        cdef char copy[WINDOW]
        cdef Py_ssize_t total, there
        cdef Cursor behind
        if size > self.max_frame - scan.at - width - 2:
            raise FrameTooLarge(<uint64_t>size + <uint64_t>(scan.at + width + 2), self.max_frame)
        total = width + size + 2
        if chain.size < scan.at + total:
            chain.wanted = scan.at + total
            return 0
        if cursor.here + total <= cursor.link.length:
            data += width + size
        else:
            behind = cursor[0]
            step(&behind, width + size)
            data = front(&behind, chain, copy, &there)
        if data[0] != c"\r" or data[1] != c"\n":
            raise FrameError(f"a string of {size} bytes does not end with CR and LF")
        return total

    cdef Py_ssize_t _pass_line(self, Chain chain, Scan *scan, bytes end, Py_ssize_t limit) except -1:
        """As _pass(), for a value that is the rest of its line."""
        cdef Py_ssize_t length = PyBytes_GET_SIZE(end)
        cdef Py_ssize_t found = chain.find_from(
            scan.at + scan.searched, chain.size, PyBytes_AS_STRING(end), length)
        cdef Py_ssize_t size = (chain.size if found < 0 else found + length)
        if size > limit:
            raise FrameTooLarge(limit + 1, limit)
        if found < 0:
            scan.searched = max(chain.size - scan.at - length + 1, 0)
            chain.wanted = chain.size + 1
            return 0
        scan.searched = 0
        scan.left[scan.depth] -= 1
        return size - scan.at

    cdef int _begin_array(self, Scan *scan, int64_t count) except -1:
        if count > self.max_items - scan.items:
            raise FrameError(f"arrays of {<uint64_t>count + <uint64_t>scan.items} values are beyond the limit of "
                             f"{self.max_items}")
        if scan.depth == self.max_depth:
            raise FrameError(f"arrays lie in each other deeper than {self.max_depth}, the limit")
        scan.items += count
        scan.depth += 1
        scan.left[scan.depth] = count
        return 0

    cdef Py_ssize_t _odd_number_at(self, const char *data, Py_ssize_t there, Kind kind, int64_t *number) except -1:
        """As _number_at(), for any number that is allowed; FrameError for what is none."""
        cdef Digits digits = [10, MOST_DIGITS]
        cdef const char *end
        cdef Py_ssize_t length
        end = <const char *>memchr(data + 1, c"\r", <size_t>(there - 1))
        length = (there if end == NULL else end - data) - 1
        if length <= MOST_DIGITS + 1 and length + 2 >= there:
            return 0
        if kind == INTEGER:
            number[0] = integer_of_frame(data + 1, length, &digits, -LARGEST - 1, LARGEST)
        else:
            number[0] = integer_of_frame(
                data + 1, length, &digits, 0 if kind == STRING and self.takes_commands else -1, LARGEST)
        if data[length + 2] != c"\n":
            raise FrameError(f"behind a number and its CR stands 0x{<unsigned char>data[length + 2]:02x}, and no LF")
        return length + 3

    # --- the second pass: SAFE without checks, as _find_end() has made them -----------------------------

    cdef object _value(self, Chain chain, Cursor *cursor):
        cdef char copy[WINDOW]
        cdef Py_ssize_t there, width
        cdef int64_t number = 0
        cdef const char *data = front(cursor, chain, copy, &there)
        cdef Kind kind = <Kind>self.kinds[<unsigned char>data[0]]
        if kind == TEXT or kind == ERROR:
            return self._line(chain, cursor, kind)
        width = _number_at(data, there, &number)
        if width == 0:
            width = self._odd_number_at(data, there, kind, &number)
        step(cursor, width)
        if kind == INTEGER:
            return number
        if number < 0:
            return NIL
        if kind == ARRAY:
            return self._array(chain, cursor, number)
        piece = string_at(cursor, chain, number, self.bytes_up_to)
        step(cursor, number + 2)
        return piece

    cdef tuple _array(self, Chain chain, Cursor *cursor, Py_ssize_t count):
        cdef tuple values = PyTuple_New(count)
        cdef Py_ssize_t index
        for index in range(count):
            value = self._value(chain, cursor)
            Py_INCREF(value)
            PyTuple_SET_ITEM(values, index, value)
        return values

    cdef object _line(self, Chain chain, Cursor *cursor, Kind kind):
        cdef Py_ssize_t size = chain.find_from(cursor.at, chain.size, b"\r\n", 2) - cursor.at
        cdef bytes line
        step(cursor, 1)
        line = string_at(cursor, chain, size - 1, size)
        step(cursor, size + 1)
        text = PyUnicode_DecodeUTF8(PyBytes_AS_STRING(line), size - 1, "surrogateescape")
        return text if kind == TEXT else ErrorReply(text)

    # --- writing ----------------------------------------------------------------------------------------

    def encode(self, *values, pool=None):
        """Return one Buffer: these values, one behind the other.

        A list or tuple is an array, a bytes-like object a string, an int an integer, a str a text, an exception an
        error with the text of it, in which ends of lines become spaces; None and poolio.NIL are a null.

        pool  where the Buffer lies; None means the default pool. PoolExhausted at its limit

        TypeError for anything else, ValueError for a str with an end of a line in it, FrameError for an int beyond 64
        bits. What is written has no limit.
        """
        return written(values, self.marks, pool_or_default(pool), False)

    cdef object build(self, tuple pieces, Pool pool):
        return written(pieces, self.marks, pool, True)


own_encoders.add(Marked)
own_methods(Marked)


cdef inline Py_ssize_t _number_at(const char *data, Py_ssize_t there, int64_t *number) noexcept:
    """Return the bytes of a line that is a mark and a number. 0 if it is not all there, or not as simple as most."""
    cdef Py_ssize_t at = 1
    cdef Py_ssize_t stop = min(there - 1, SIMPLE_DIGITS + 1)
    cdef int64_t value = 0
    cdef unsigned char digit
    while at < stop:
        digit = <unsigned char>(data[at] - c"0")
        if digit > 9:
            break
        value = value * 10 + digit
        at += 1
    if at == 1 or at + 1 >= there or data[at] != c"\r" or data[at + 1] != c"\n":
        return 0
    number[0] = value
    return at + 2


cdef int _refuse_mark(char mark, str wanted) except -1:
    raise FrameError(f"a value begins with the byte 0x{<unsigned char>mark:02x}, and not with {wanted}")
