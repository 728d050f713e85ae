# Cutting a Holder's bytes into slices. See pieces.pyx.

from poolio.memory.allocation cimport Holder
from poolio.memory.search cimport Search

cdef enum Ends:
    BOTH_ENDS
    LEFT_END
    RIGHT_END


cdef list split_at(Holder holder, sep, Py_ssize_t most)
cdef list split_whitespace(Holder holder, Py_ssize_t most)
cdef tuple parted(Holder holder, sep, Search kind)
cdef Holder stripped(Holder holder, chars, Ends ends)
cdef Holder without_prefix(Holder holder, prefix)
cdef Holder without_suffix(Holder holder, suffix)
