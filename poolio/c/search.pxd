# Declares search.h: the search for bytes in bytes, and comparing them without case.

cdef extern from "poolio/c/search.h" nogil:
    Py_ssize_t poolio_find(const char *text, Py_ssize_t size, const char *needle, Py_ssize_t length)
    Py_ssize_t poolio_rfind(const char *text, Py_ssize_t size, const char *needle, Py_ssize_t length)
    Py_ssize_t poolio_count(const char *text, Py_ssize_t size, const char *needle, Py_ssize_t length)
    bint poolio_same_ignoring_case(const char *one, const char *other, Py_ssize_t size)
