"""Owns LineAndBody: the codec of lines of fields, one of which may announce the bytes behind the line.

Refuses to know verbs and connections (codec), and how bytes are laid into memory (encoding). The codec keeps no state:
the chain knows how far it was searched, and how many bytes it needs before another try. So a line is looked at two
times at most, however the bytes behind it come.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM

from poolio.c.python cimport PY_SSIZE_T_MAX
from poolio.framing.codec cimport Codec, ensure_chain, one_of, size_in
from poolio.framing.cursor cimport Cursor, cursor_at, step, string_at
from poolio.framing.encoding cimport COPY_UP_TO, joined, pool_or_default, sum_of
from poolio.memory.chain cimport NOT_YET, TOO_FAR, Chain, bytes_of
from poolio.memory.digits cimport integer_of_frame, take_digits
from poolio.memory.pool cimport Pool

from poolio.errors import FrameError, FrameTooLarge
from poolio.framing.codec import MAX_FRAME, own_encoders
from poolio.memory.methods import own_methods

MAX_LINE = 8192                 # bytes, as most HTTP servers have it

cdef enum:
    MOST_DIGITS = 20            # of a length; any of 64 bits has fewer
    ANY_SPACE = -1

cdef object NOWHERE = object()      # what no verb stands for


cdef class LineAndBody(Codec):
    "LineAndBody(size, *, verbs='exact', separator=None, base=10, line_end=b'\\r\\n', body_end=b'\\r\\n', " \
        "zero='body', bytes_up_to=4096, max_line=8192, max_frame=1048576)\n--\n\n" \
        """Lines of fields, one of which may announce how many bytes follow the line, as in memcached's text protocol,
    in NATS and in HTTP's chunks. A frame is a tuple `(fields, body)`: a tuple of `bytes`, and the body, or None.

    size         which field says the length of the body: an index, from the end if negative, for all lines; or a dict
                 of verbs, each the first field of a line, and their indices. Lines with other verbs have no body.
                 None instead of an index means a line of a verb and text, which is one field
    verbs        "exact", or "any case" for verbs that may be written in capital or small letters
    separator    one byte between fields; None means runs of spaces and tabs. Spaces around the byte belong to no field
    base         of the length: 10 or 16
    line_end     what ends a line
    body_end     what stands behind a body; may be empty
    zero         behind a length of 0 stands with "body" an empty body and its end; with "lines" any number of lines
                 and an empty one, as behind the last chunk in HTTP. The body is then these lines with their ends
    bytes_up_to  bodies of up to so many bytes are `bytes`, longer ones are Buffers; 4096 by default
    max_line     the most bytes of a line, without its end; 8192 by default
    max_frame    the most bytes of a frame, line, body and ends; 1 MiB by default. A body that would be beyond it raises
                 FrameTooLarge before it has come

    An empty line has one field, which is empty. FrameError for a length that is no number, for a line without the field
    that its verb needs, and for a body without its end behind it.
    """

    def __cinit__(self, *arguments, **options):
        self.bytes_up_to = COPY_UP_TO
        self.max_line = MAX_LINE
        self.sizes = {}                         # sound, whatever a subclass does
        self.separator = ANY_SPACE
        self.line_end = self.body_end = b"\r\n"
        take_digits(&self.digits, 10, MOST_DIGITS)

    def __init__(
        self, size, *, verbs="exact", separator=None, base=10, line_end=b"\r\n", body_end=b"\r\n", zero="body",
        bytes_up_to=4096, max_line=MAX_LINE, max_frame=MAX_FRAME,
    ):
        super().__init__(max_frame=max_frame)
        self.ignores_case = one_of("verbs", verbs, "exact", "any case")
        self.line_end = bytes_of("line_end", line_end)
        self.body_end = bytes_of("body_end", body_end)
        if not self.line_end:
            raise ValueError("line_end must not be empty")
        self.separator = ANY_SPACE if separator is None else _separator(bytes_of("separator", separator))
        self.blank = self.line_end * 2 if one_of("zero", zero, "body", "lines") else None
        self.bytes_up_to = size_in("bytes_up_to", bytes_up_to, 0, PY_SSIZE_T_MAX // 4)
        self.max_line = size_in("max_line", max_line, 1, PY_SSIZE_T_MAX // 4)
        take_digits(&self.digits, base, MOST_DIGITS)
        if isinstance(size, int):
            self.sizes = None
            self.size = size
        else:
            self.sizes = {
                self._verb(bytes_of("verb", verb)): None if index is None else int(index)
                for verb, index in dict(size).items()}

    def __repr__(self):
        return f"<poolio.LineAndBody by {self.sizes or self.size}, max_frame {self.max_frame}>"

    cdef bytes _verb(self, bytes verb):
        return verb.upper() if self.ignores_case else verb

    cpdef object decode(self, Chain chain):
        cdef Py_ssize_t found, header
        cdef tuple fields
        ensure_chain(chain)
        if not self._may_be_whole(chain):
            chain.wanted = chain.size + 1
            return None
        found = chain._seek(self.line_end, 0, self.max_line)
        if found == NOT_YET:
            chain.wanted = chain.size + 1
            return None
        header = found + PyBytes_GET_SIZE(self.line_end)
        if found == TOO_FAR or header > self.max_frame:
            raise FrameTooLarge(min(self.max_line, self.max_frame) + 1, min(self.max_line, self.max_frame))
        if found <= chain.first.length:
            fields = self._fields_of(chain.first.data, found)
        else:
            line = _front_of(chain, found)
            fields = self._fields_of(PyBytes_AS_STRING(line), found)
        index = self._index_of(fields)
        if index is None:
            if self._is_text(fields):
                fields = self._verb_and_text(fields, _front_of(chain, found))
            chain.drop(header)
            return fields, None
        size = self._size_at(fields, index)
        body = self._lines(chain, found) if size == 0 and self.blank is not None else self._body(chain, header, size)
        return None if body is None else (fields, body)

    cdef bint _may_be_whole(self, Chain chain) except -1:
        """Is another look at the line worth it? Not while the lines behind a length of 0 are searched for their end."""
        cdef Py_ssize_t begin = self._line_before_lines(chain)
        if chain.size == 0:
            return False
        return begin == 0 or chain.size > self.max_frame or chain._seek(self.blank, begin, self.max_frame) != NOT_YET

    cdef Py_ssize_t _line_before_lines(self, Chain chain) noexcept:
        """Return the length of the line, if the lines behind a length of 0 are searched for their end; else 0."""
        cdef Py_ssize_t begin = chain.searched - chain.reach
        if self.blank is None or chain.searched_for is not self.blank:
            return 0
        return begin if 0 < begin <= chain.size else 0

    # --- the line ---------------------------------------------------------------------------------------

    cdef tuple _fields_of(self, const char *text, Py_ssize_t length):
        """Return the fields of a line, one at least."""
        cdef tuple fields
        cdef Py_ssize_t count = 0
        cdef Py_ssize_t at = 0
        cdef Py_ssize_t start, stop
        while _next_field(text, length, self.separator, &at, &start, &stop):
            count += 1
        if count == 0:
            return (b"",)
        fields = PyTuple_New(count)
        at = 0
        for count in range(count):
            _next_field(text, length, self.separator, &at, &start, &stop)
            field = PyBytes_FromStringAndSize(text + start, stop - start)
            Py_INCREF(field)
            PyTuple_SET_ITEM(fields, count, field)
        return fields

    cdef bint _is_text(self, tuple fields) except -1:
        """Is this a line of a verb and text?"""
        return self.sizes and len(fields) > 0 and self.sizes.get(self._verb(fields[0]), NOWHERE) is None

    cdef tuple _verb_and_text(self, tuple fields, bytes line):
        if len(fields) < 2:
            return fields
        verb = fields[0]
        rest = line.strip(b" \t")[len(verb):]
        if self.separator != ANY_SPACE:
            rest = rest.lstrip(b" \t")[1:]
        return verb, rest.strip(b" \t")

    cdef object _index_of(self, tuple fields):
        """Return the index of the field that says the length, not below 0; None if there is no body."""
        index = self.size if self.sizes is None else self.sizes.get(
            self._verb(fields[0]) if self.ignores_case else fields[0])
        if index is not None and index < 0:
            index += len(fields)
        if index is not None and not 0 <= index < len(fields):
            raise FrameError(f"a line of {len(fields)} fields lacks the one that says the length of its body")
        return index

    cdef object _size_at(self, tuple fields, Py_ssize_t index):
        cdef bytes field = fields[index]
        return integer_of_frame(PyBytes_AS_STRING(field), PyBytes_GET_SIZE(field), &self.digits, 0, None)

    # --- what follows it --------------------------------------------------------------------------------

    cdef object _body(self, Chain chain, Py_ssize_t header, object announced):
        """Take out line and body; return the body, or None if it is not there yet."""
        cdef Py_ssize_t end = PyBytes_GET_SIZE(self.body_end)
        cdef Py_ssize_t size, total
        cdef Cursor cursor
        if announced > self.max_frame - header - end:
            raise FrameTooLarge(announced + header + end, self.max_frame)
        size = announced
        total = header + size + end
        if chain.size < total:
            chain.wanted = total
            return None
        cursor_at(&cursor, chain, header)
        body = string_at(&cursor, chain, size, self.bytes_up_to)
        if end > 0:
            step(&cursor, size)
            if string_at(&cursor, chain, end, end) != self.body_end:
                raise FrameError(f"a body of {size} bytes does not end as it must, with {self.body_end!r}")
        chain.drop(total)
        return body

    cdef object _lines(self, Chain chain, Py_ssize_t found):
        """Take out the line, whose end begins at `found`, and lines up to an empty one; return these, or None."""
        cdef Py_ssize_t end = PyBytes_GET_SIZE(self.line_end)
        cdef Py_ssize_t stop = chain._seek(self.blank, found, self.max_frame)
        cdef Cursor cursor
        if (chain.size if stop < 0 else stop + 2 * end) > self.max_frame:
            raise FrameTooLarge(self.max_frame + 1, self.max_frame)
        if stop < 0:
            chain.wanted = chain.size + 1
            return None
        cursor_at(&cursor, chain, found + end)
        lines = b"" if stop == found else string_at(&cursor, chain, stop - found, self.bytes_up_to)
        chain.drop(stop + 2 * end)
        return lines

    # --- writing ----------------------------------------------------------------------------------------

    def encode(self, fields, body=None, *, pool=None):
        """Return one Buffer: a line of these fields, and the body with its end, if the line announces one.

        fields  bytes-like objects and integers; None stands for the length of the body
        body    a bytes-like object; None for lines that announce none
        pool    where the Buffer lies; None means the default pool. PoolExhausted at its limit

        FrameTooLarge beyond max_line and max_frame. FrameError if it would be decoded as another frame: with an end or
        a separator in a field, a length that is not that of the body, a body too many or none.
        """
        cdef tuple pieces = self._line_of(fields, body)
        return joined(pool_or_default(pool), pieces, sum_of(pieces), 0, 0)

    cdef object build(self, tuple pieces, Pool pool):
        cdef tuple parts
        cdef Py_ssize_t size
        if not 1 <= len(pieces) <= 2:
            raise TypeError(f"a frame here is fields and a body, not {len(pieces)} pieces")
        parts = self._line_of(pieces[0], pieces[1] if len(pieces) == 2 else None)
        size = sum_of(parts)
        if size <= COPY_UP_TO:
            return joined(pool, parts, size, 0, 0)
        return [joined(pool, parts[:2], sum_of(parts[:2]), 0, 0), *parts[2:]]

    cdef tuple _line_of(self, given, body):
        """Return the pieces of a frame: line, end, and those of the body."""
        cdef Py_ssize_t size = 0 if body is None else sum_of((body,))
        cdef bytes length = b"%x" % size if self.digits.base == 16 else b"%d" % size
        cdef tuple fields = tuple([
            length if word is None else b"%d" % word if isinstance(word, int) else bytes_of("field", word)
            for word in given])
        cdef bytes line = (b" " if self.separator == ANY_SPACE else bytes((self.separator,))).join(fields)
        cdef tuple parts
        self._ensure_line(fields, line)
        index = None if self._is_text(fields) else self._index_of(fields)
        if (index is None) != (body is None):
            raise FrameError("a line that announces a body needs one, and any other has none")
        parts = ((line, self.line_end) if index is None
                 else self._with_body(line, self._size_at(fields, index), body, size))
        if sum_of(parts) > self.max_frame:
            raise FrameTooLarge(sum_of(parts), self.max_frame)
        return parts

    cdef int _ensure_line(self, tuple fields, bytes line) except -1:
        """FrameError unless this line would be read as these fields."""
        cdef tuple decoded = self._fields_of(PyBytes_AS_STRING(line), PyBytes_GET_SIZE(line))
        if PyBytes_GET_SIZE(line) > self.max_line:
            raise FrameTooLarge(PyBytes_GET_SIZE(line), self.max_line)
        if (line + self.line_end).index(self.line_end) != len(line):
            raise FrameError("the end of a line stands in a field, or is formed with the end of it")
        if self._is_text(decoded):
            decoded = self._verb_and_text(decoded, line)
        if decoded != fields:
            raise FrameError(f"these {len(fields)} fields would be read as {len(decoded)} others")
        return 0

    cdef tuple _with_body(self, bytes line, object announced, body, Py_ssize_t size):
        if announced == 0 and self.blank is not None:
            self._ensure_lines(bytes(body))
            return line, self.line_end, body, self.line_end
        if announced != size:
            raise FrameError(f"a line announces {announced} bytes, and its body has {size}")
        return line, self.line_end, body, self.body_end

    cdef int _ensure_lines(self, bytes body) except -1:
        """FrameError unless these are whole lines, none of which is empty."""
        if (self.line_end + body + self.line_end).find(self.blank) != len(body):
            raise FrameError("what follows a length of 0 must be whole lines, none of which is empty")
        return 0


own_encoders.add(LineAndBody)
own_methods(LineAndBody)


cdef inline bint _is_space(char byte) noexcept:
    return byte == c" " or byte == c"\t"


cdef inline bint _next_field(
    const char *text, Py_ssize_t length, int separator, Py_ssize_t *at, Py_ssize_t *start, Py_ssize_t *stop
) noexcept:
    """Find the next field, from `at` on, and go behind it. False if there is none."""
    cdef Py_ssize_t here = at[0]
    if separator == ANY_SPACE:
        while here < length and _is_space(text[here]):
            here += 1
        if here == length:
            return False
        start[0] = here
        while here < length and not _is_space(text[here]):
            here += 1
        stop[0] = here
        at[0] = here
        return True
    if here > length:
        return False
    while here < length and _is_space(text[here]):
        here += 1
    start[0] = here
    while here < length and <unsigned char>text[here] != separator:
        here += 1
    at[0] = here + 1
    while here > start[0] and _is_space(text[here - 1]):
        here -= 1
    stop[0] = here
    return True


cdef bytes _front_of(Chain chain, Py_ssize_t count):
    front = PyBytes_FromStringAndSize(NULL, count)
    chain.read_into(PyBytes_AS_STRING(front), count)
    return front


cdef int _separator(bytes separator) except -1:
    if len(separator) != 1 or separator in b" \t":
        raise ValueError(f"separator must be one byte and no space, or None for runs of spaces, not {separator!r}")
    return separator[0]
