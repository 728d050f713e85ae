# How values are written, each with a mark before it. See values.pyx.

from poolio.memory.pool cimport Pool

cdef enum Kind:
    NO_MARK
    ARRAY           # a count, and as many values
    STRING          # a length, and as many bytes
    INTEGER
    TEXT            # the rest of the line
    ERROR           # the rest of the line
    KINDS

# Return what to send for these values, with marks by kind: one Buffer, or, if that is allowed, a list of Buffers and of
# large strings as they are
cdef object written(tuple values, const char *marks, Pool pool, bint may_split)
