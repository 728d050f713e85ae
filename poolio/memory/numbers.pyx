"""Owns fixed-width numbers at an offset, in both byte orders, and swapping the byte order in place.

Refuses to know more of memory than where its holder's bytes are. Called by users. Names are the Rust `bytes` crate's
and Node's, shortened: u16be is an unsigned integer of 16 bits, big-endian; f64le is a float of 64 bits, little-endian.
Offsets count from the start of the Buffer, need no alignment and are never negative: a wrong offset in a parser must
not read the other end. An offset out of bounds is an IndexError (beyond the address space Python's OverflowError), and
a number that does not fit is a ValueError; both name the limit. A write returns the offset behind the number, where
the next one goes.

The methods are alike on purpose: one line each over the helpers at the end, so that each is one call from Python.
"""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from poolio.c.numbers cimport poolio_load_be, poolio_load_le, poolio_store_be, poolio_store_le, poolio_swap
from poolio.c.python cimport (
    PyFloat_AsDouble, PyFloat_Pack4, PyFloat_Pack8, PyFloat_Unpack4, PyFloat_Unpack8, PyLong_AsLongLongAndOverflow,
    PyLong_AsUnsignedLongLongMask, PyNumber_Index,
)
from poolio.memory.allocation cimport Holder, ensure_alive, ensure_writable

cdef class Numbers(Holder):
    """The part of `poolio.Buffer` that is numbers. Not made by itself."""

    # --- unsigned and signed integers ----------------------------------------------------------------------

    def read_u8(self, Py_ssize_t offset, /):
        """Unsigned, 1 byte."""
        return <uint8_t>poolio_load_be(_at(self, offset, 1), 1)

    def write_u8(self, value, Py_ssize_t offset, /):
        """Unsigned, 1 byte; returns the offset behind it."""
        cdef uint64_t number = _unsigned(value, 8)
        poolio_store_be(_room_at(self, offset, 1), number, 1)
        return offset + 1

    def read_i8(self, Py_ssize_t offset, /):
        """Signed, 1 byte."""
        return <int8_t>poolio_load_be(_at(self, offset, 1), 1)

    def write_i8(self, value, Py_ssize_t offset, /):
        """Signed, 1 byte; returns the offset behind it."""
        cdef uint64_t number = _signed(value, 8)
        poolio_store_be(_room_at(self, offset, 1), number, 1)
        return offset + 1

    def read_u16be(self, Py_ssize_t offset, /):
        """Unsigned, 2 bytes, big-endian."""
        return <uint16_t>poolio_load_be(_at(self, offset, 2), 2)

    def write_u16be(self, value, Py_ssize_t offset, /):
        """Unsigned, 2 bytes, big-endian; returns the offset behind it."""
        cdef uint64_t number = _unsigned(value, 16)
        poolio_store_be(_room_at(self, offset, 2), number, 2)
        return offset + 2

    def read_u16le(self, Py_ssize_t offset, /):
        """Unsigned, 2 bytes, little-endian."""
        return <uint16_t>poolio_load_le(_at(self, offset, 2), 2)

    def write_u16le(self, value, Py_ssize_t offset, /):
        """Unsigned, 2 bytes, little-endian; returns the offset behind it."""
        cdef uint64_t number = _unsigned(value, 16)
        poolio_store_le(_room_at(self, offset, 2), number, 2)
        return offset + 2

    def read_i16be(self, Py_ssize_t offset, /):
        """Signed, 2 bytes, big-endian."""
        return <int16_t>poolio_load_be(_at(self, offset, 2), 2)

    def write_i16be(self, value, Py_ssize_t offset, /):
        """Signed, 2 bytes, big-endian; returns the offset behind it."""
        cdef uint64_t number = _signed(value, 16)
        poolio_store_be(_room_at(self, offset, 2), number, 2)
        return offset + 2

    def read_i16le(self, Py_ssize_t offset, /):
        """Signed, 2 bytes, little-endian."""
        return <int16_t>poolio_load_le(_at(self, offset, 2), 2)

    def write_i16le(self, value, Py_ssize_t offset, /):
        """Signed, 2 bytes, little-endian; returns the offset behind it."""
        cdef uint64_t number = _signed(value, 16)
        poolio_store_le(_room_at(self, offset, 2), number, 2)
        return offset + 2

    def read_u32be(self, Py_ssize_t offset, /):
        """Unsigned, 4 bytes, big-endian."""
        return <uint32_t>poolio_load_be(_at(self, offset, 4), 4)

    def write_u32be(self, value, Py_ssize_t offset, /):
        """Unsigned, 4 bytes, big-endian; returns the offset behind it."""
        cdef uint64_t number = _unsigned(value, 32)
        poolio_store_be(_room_at(self, offset, 4), number, 4)
        return offset + 4

    def read_u32le(self, Py_ssize_t offset, /):
        """Unsigned, 4 bytes, little-endian."""
        return <uint32_t>poolio_load_le(_at(self, offset, 4), 4)

    def write_u32le(self, value, Py_ssize_t offset, /):
        """Unsigned, 4 bytes, little-endian; returns the offset behind it."""
        cdef uint64_t number = _unsigned(value, 32)
        poolio_store_le(_room_at(self, offset, 4), number, 4)
        return offset + 4

    def read_i32be(self, Py_ssize_t offset, /):
        """Signed, 4 bytes, big-endian."""
        return <int32_t>poolio_load_be(_at(self, offset, 4), 4)

    def write_i32be(self, value, Py_ssize_t offset, /):
        """Signed, 4 bytes, big-endian; returns the offset behind it."""
        cdef uint64_t number = _signed(value, 32)
        poolio_store_be(_room_at(self, offset, 4), number, 4)
        return offset + 4

    def read_i32le(self, Py_ssize_t offset, /):
        """Signed, 4 bytes, little-endian."""
        return <int32_t>poolio_load_le(_at(self, offset, 4), 4)

    def write_i32le(self, value, Py_ssize_t offset, /):
        """Signed, 4 bytes, little-endian; returns the offset behind it."""
        cdef uint64_t number = _signed(value, 32)
        poolio_store_le(_room_at(self, offset, 4), number, 4)
        return offset + 4

    def read_u64be(self, Py_ssize_t offset, /):
        """Unsigned, 8 bytes, big-endian."""
        return <uint64_t>poolio_load_be(_at(self, offset, 8), 8)

    def write_u64be(self, value, Py_ssize_t offset, /):
        """Unsigned, 8 bytes, big-endian; returns the offset behind it."""
        cdef uint64_t number = _unsigned(value, 64)
        poolio_store_be(_room_at(self, offset, 8), number, 8)
        return offset + 8

    def read_u64le(self, Py_ssize_t offset, /):
        """Unsigned, 8 bytes, little-endian."""
        return <uint64_t>poolio_load_le(_at(self, offset, 8), 8)

    def write_u64le(self, value, Py_ssize_t offset, /):
        """Unsigned, 8 bytes, little-endian; returns the offset behind it."""
        cdef uint64_t number = _unsigned(value, 64)
        poolio_store_le(_room_at(self, offset, 8), number, 8)
        return offset + 8

    def read_i64be(self, Py_ssize_t offset, /):
        """Signed, 8 bytes, big-endian."""
        return <int64_t>poolio_load_be(_at(self, offset, 8), 8)

    def write_i64be(self, value, Py_ssize_t offset, /):
        """Signed, 8 bytes, big-endian; returns the offset behind it."""
        cdef uint64_t number = _signed(value, 64)
        poolio_store_be(_room_at(self, offset, 8), number, 8)
        return offset + 8

    def read_i64le(self, Py_ssize_t offset, /):
        """Signed, 8 bytes, little-endian."""
        return <int64_t>poolio_load_le(_at(self, offset, 8), 8)

    def write_i64le(self, value, Py_ssize_t offset, /):
        """Signed, 8 bytes, little-endian; returns the offset behind it."""
        cdef uint64_t number = _signed(value, 64)
        poolio_store_le(_room_at(self, offset, 8), number, 8)
        return offset + 8

    # --- floats ------------------------------------------------------------------------------------------------

    def read_f32be(self, Py_ssize_t offset, /):
        """IEEE 754 float, 4 bytes, big-endian."""
        return PyFloat_Unpack4(_at(self, offset, 4), 0)

    def write_f32be(self, value, Py_ssize_t offset, /):
        """IEEE 754 float, 4 bytes, big-endian; returns the offset behind it. ValueError if beyond its range."""
        cdef double number = PyFloat_AsDouble(value)
        return _write_f32(_room_at(self, offset, 4), number, 0) + offset

    def read_f32le(self, Py_ssize_t offset, /):
        """IEEE 754 float, 4 bytes, little-endian."""
        return PyFloat_Unpack4(_at(self, offset, 4), 1)

    def write_f32le(self, value, Py_ssize_t offset, /):
        """IEEE 754 float, 4 bytes, little-endian; returns the offset behind it. ValueError if beyond its range."""
        cdef double number = PyFloat_AsDouble(value)
        return _write_f32(_room_at(self, offset, 4), number, 1) + offset

    def read_f64be(self, Py_ssize_t offset, /):
        """IEEE 754 float, 8 bytes, big-endian."""
        return PyFloat_Unpack8(_at(self, offset, 8), 0)

    def write_f64be(self, value, Py_ssize_t offset, /):
        """IEEE 754 float, 8 bytes, big-endian; returns the offset behind it."""
        cdef double number = PyFloat_AsDouble(value)
        PyFloat_Pack8(number, _room_at(self, offset, 8), 0)
        return offset + 8

    def read_f64le(self, Py_ssize_t offset, /):
        """IEEE 754 float, 8 bytes, little-endian."""
        return PyFloat_Unpack8(_at(self, offset, 8), 1)

    def write_f64le(self, value, Py_ssize_t offset, /):
        """IEEE 754 float, 8 bytes, little-endian; returns the offset behind it."""
        cdef double number = PyFloat_AsDouble(value)
        PyFloat_Pack8(number, _room_at(self, offset, 8), 1)
        return offset + 8

    # --- byte order --------------------------------------------------------------------------------------------

    def swap16(self):
        """Reverse the byte order of each 2 bytes in place; return this Buffer. ValueError if any are left over."""
        return _swap(self, 2)

    def swap32(self):
        """Reverse the byte order of each 4 bytes in place; return this Buffer. ValueError if any are left over."""
        return _swap(self, 4)

    def swap64(self):
        """Reverse the byte order of each 8 bytes in place; return this Buffer. ValueError if any are left over."""
        return _swap(self, 8)


cdef inline const char *_at(Numbers self, Py_ssize_t offset, int width) except NULL:
    ensure_alive(self)
    if offset < 0 or offset > self.length - width:
        _raise_outside(self, offset, width)
    return self.data + offset


cdef inline char *_room_at(Numbers self, Py_ssize_t offset, int width) except NULL:
    # after the value was converted: its __index__ or __float__ may have released or frozen the Buffer
    ensure_writable(self)
    if offset < 0 or offset > self.length - width:
        _raise_outside(self, offset, width)
    return self.data + offset


cdef int _raise_outside(Numbers self, Py_ssize_t offset, int width) except -1:
    raise IndexError(f"{width} bytes at offset {offset} are outside a Buffer of {self.length} bytes")


cdef inline uint64_t _unsigned(value, int bits) except? 0:
    cdef int overflow = 0
    cdef long long number
    if bits == 64:
        return _unsigned64(value)
    number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow or number < 0 or number >> bits:
        raise ValueError(f"a number of {bits} bits must be in 0..{2 ** <object>bits - 1}, not {value!r}")
    return <uint64_t>number


cdef uint64_t _unsigned64(value) except? 0:
    number = PyNumber_Index(value)
    if number < 0 or number.bit_length() > 64:
        raise ValueError(f"a number of 64 bits must be in 0..{2 ** <object>64 - 1}, not {value!r}")
    return PyLong_AsUnsignedLongLongMask(number)


cdef inline uint64_t _signed(value, int bits) except? 0:
    cdef int overflow = 0
    cdef long long number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow or (bits < 64 and number >> (bits - 1) != 0 and number >> (bits - 1) != -1):
        limit = 2 ** <object>(bits - 1)
        raise ValueError(f"a signed number of {bits} bits must be in {-limit}..{limit - 1}, not {value!r}")
    return <uint64_t>number


cdef Py_ssize_t _write_f32(char *room, double number, int little_endian) except -1:
    try:
        PyFloat_Pack4(number, room, little_endian)
    except OverflowError:
        raise ValueError(f"a float of 4 bytes ends at 3.4028235e+38, not {number!r}") from None
    return 4


cdef object _swap(Numbers self, int width):
    ensure_writable(self)
    if self.length % width:
        raise ValueError(f"swap{width * 8} needs a multiple of {width} bytes, not {self.length}")
    if width == 2:
        poolio_swap(self.data, self.length, 2)
    elif width == 4:
        poolio_swap(self.data, self.length, 4)
    else:
        poolio_swap(self.data, self.length, 8)
    return self
