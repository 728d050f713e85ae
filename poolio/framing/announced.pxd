# LineAndBody: lines of fields, one of which may announce a body. See announced.pyx.

from poolio.framing.codec cimport Codec
from poolio.memory.chain cimport Chain
from poolio.memory.digits cimport Digits

cdef class LineAndBody(Codec):
    cdef readonly Py_ssize_t bytes_up_to
    cdef readonly Py_ssize_t max_line
    # which field announces the body
    cdef dict sizes                 # by verb: an index, or None for a line of verb and text; None: of each line ...
    cdef Py_ssize_t size            # ... it is this one
    cdef bint ignores_case
    cdef Digits digits
    # what stands between
    cdef int separator              # a byte; ANY_SPACE: runs of spaces and tabs
    cdef bytes line_end
    cdef bytes body_end
    cdef bytes blank                # the end of a line and an empty line; None: 0 announces a body as any other number

    cdef bytes _verb(self, bytes verb)
    cdef tuple _fields_of(self, const char *text, Py_ssize_t length)
    cdef tuple _verb_and_text(self, tuple fields, bytes line)
    cdef object _index_of(self, tuple fields)
    cdef object _size_at(self, tuple fields, Py_ssize_t index)
    cdef bint _is_text(self, tuple fields) except -1
    cdef bint _may_be_whole(self, Chain chain) except -1
    cdef Py_ssize_t _line_before_lines(self, Chain chain) noexcept
    cdef object _body(self, Chain chain, Py_ssize_t header, object size)
    cdef object _lines(self, Chain chain, Py_ssize_t found)
    cdef tuple _line_of(self, given, body)
    cdef int _ensure_line(self, tuple fields, bytes line) except -1
    cdef tuple _with_body(self, bytes line, object announced, body, Py_ssize_t size)
    cdef int _ensure_lines(self, bytes body) except -1
