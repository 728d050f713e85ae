"""Owns integers in ASCII text: what is one, its limits, and the errors that name them.

Refuses to know where the text lies: it is given contiguous memory. Called by chain for integers of frames, which are
strict, and by buffer for `int(buf)`, which takes what `int(bytes)` takes.

A strict integer is a sign, if one may be there, and digits. Python's int() also takes spaces and underscores, and
digits without a bound; a protocol that takes them reads another number than the next server behind it, or none.

An error says how many bytes there are, which one is wrong, and the limit. It shows at most one byte and twenty digits
of the text, as errors are logged and the text is a peer's.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize

from poolio.c.python cimport PyNumber_AsSsize_t

import sys

from poolio.errors import FrameError

cdef enum:
    NO_DIGIT = 16
    DIGITS_AT_ONCE = 15     # they fit 63 bits in both bases
    DIGITS_SHOWN = 20       # of a number that is out of range: any of 64 bits
    DIGITS_UNCHECKED = 640  # CPython's limit of digits can't be set below this


cdef inline int _digit_of(char byte) noexcept nogil:
    if c"0" <= byte <= c"9":
        return byte - c"0"
    if c"a" <= byte <= c"f":
        return byte - c"a" + 10
    if c"A" <= byte <= c"F":
        return byte - c"A" + 10
    return NO_DIGIT


cdef inline bint _has_sign(const char *text, Py_ssize_t length) noexcept nogil:
    return length > 0 and (text[0] == c"-" or text[0] == c"+")


cdef Py_ssize_t _digits_at(const char *text, Py_ssize_t length, int base) noexcept nogil:
    """Return how many digits the text begins with."""
    cdef Py_ssize_t at = 0
    while at < length and _digit_of(text[at]) < base:
        at += 1
    return at


cdef object _value_of(const char *digits, Py_ssize_t count, int base):
    """Return the number that these are. SAFE: all of them are digits, which _digits_at() has counted."""
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t stop
    cdef long long part
    cdef object value = None
    while True:
        stop = min(at + DIGITS_AT_ONCE, count)
        part = 0
        for place in range(at, stop):
            part = part * base + _digit_of(digits[place])
        value = part if value is None else value * (<object>base) ** (stop - at) + part
        if stop == count:
            return value
        at = stop


cdef int take_digits(Digits *digits, base, count) except -1:
    """Take over the arguments `base` and `digits` of a user; ValueError if they are none."""
    digits.base = PyNumber_AsSsize_t(base, NULL)
    digits.most = PyNumber_AsSsize_t(count, NULL)
    if digits.base != 10 and digits.base != 16:
        raise ValueError(f"base must be 10 or 16, not {base}")
    if not 1 <= digits.most <= MOST_DIGITS:
        raise ValueError(f"digits must be in 1..{MOST_DIGITS}, not {count}")
    return 0


cdef object integer_of_frame(const char *text, Py_ssize_t length, Digits *digits, least, most):
    """Return a strict integer in least..most, each of which is an exact `int`, or None for no bound; else FrameError.

    If `least` is not below 0, there is no sign. More text than the most digits and a sign is no integer: the caller
    need not give more than the first byte of what is too much.
    """
    cdef Py_ssize_t sign = 1 if _has_sign(text, length) and (least is None or least < 0) else 0
    cdef Py_ssize_t count = _digits_at(text + sign, length - sign, digits.base)
    if count == 0 or count > digits.most or sign + count < length:
        _raise_no_integer(text, length, sign + count, digits)
    value = _value_of(text + sign, count, digits.base)
    if sign and text[0] == c"-":
        value = -value
    if (least is not None and value < least) or (most is not None and value > most):
        _raise_out_of_range(value, count, least, most)
    return value


cdef int _raise_no_integer(const char *text, Py_ssize_t length, Py_ssize_t right, Digits *digits) except -1:
    """Raise for a text of which so many bytes are right."""
    cdef Py_ssize_t sign = 1 if _has_sign(text, right) else 0
    if right - sign > digits.most:
        raise FrameError(f"an integer has more than {digits.most} digits, the limit")
    if right == length:
        raise FrameError(f"an integer of {length} bytes has no digits")
    raise FrameError(
        f"an integer of base {digits.base} has the byte 0x{<unsigned char>text[right]:02x} at index {right}")


cdef int _raise_out_of_range(value, Py_ssize_t count, least, most) except -1:
    shown = value if count <= DIGITS_SHOWN else f"one of {count} digits"
    if most is None:
        raise FrameError(f"an integer must be at least {least}, not {shown}")
    if least is None:
        raise FrameError(f"an integer must be at most {most}, not {shown}")
    raise FrameError(f"an integer must be in {least}..{most}, not {shown}")


cdef object integer_of_bytes(const char *text, Py_ssize_t length):
    """Return what `int(bytes)` returns for these bytes; ValueError, which shows none of them, if it raises one."""
    cdef Py_ssize_t sign = 1 if _has_sign(text, length) else 0
    cdef Py_ssize_t count = length - sign
    if count == 0 or count > DIGITS_UNCHECKED or _digits_at(text + sign, count, 10) < count:
        return _python_integer(text, length)
    value = _value_of(text + sign, count, 10)
    return -value if sign and text[0] == c"-" else value


cdef object _python_integer(const char *text, Py_ssize_t length):
    try:
        return int(PyBytes_FromStringAndSize(text, length))
    except ValueError:
        most = sys.get_int_max_str_digits() or "any number of"
        raise ValueError(f"a Buffer of {length} bytes is no decimal integer of at most {most} digits") from None
