# Declares numbers.h: fixed-width integers in either byte order.

from libc.stdint cimport uint64_t

cdef extern from "poolio/c/numbers.h" nogil:
    uint64_t poolio_load_be(const char *data, int width)
    uint64_t poolio_load_le(const char *data, int width)
    void poolio_store_be(char *data, uint64_t value, int width)
    void poolio_store_le(char *data, uint64_t value, int width)
    void poolio_swap(char *data, Py_ssize_t size, int width)
