# Integers in ASCII text. See digits.pyx.

cdef enum:
    MOST_DIGITS = 4300      # that an integer of a frame may be allowed: as many as CPython's int(text) takes by default

cdef struct Digits:
    int base                # 10 or 16
    Py_ssize_t most         # digits, 1 to MOST_DIGITS


cdef int take_digits(Digits *digits, base, count) except -1
cdef object integer_of_frame(const char *text, Py_ssize_t length, Digits *digits, least, most)
cdef object integer_of_bytes(const char *text, Py_ssize_t length)
