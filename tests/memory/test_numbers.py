"""Numbers: every width, sign and byte order at every offset, against struct."""

import math
import struct

import pytest

import poolio

INTEGERS = {f"{kind}{bits}{order}": (">" if order == "be" else "<") + code
            for bits, codes in ((8, "Bb"), (16, "Hh"), (32, "Ii"), (64, "Qq"))
            for kind, code in zip("ui", codes, strict=True) for order in (("",) if bits == 8 else ("be", "le"))}
FLOATS = {"f32be": ">f", "f32le": "<f", "f64be": ">d", "f64le": "<d"}
FORMATS = INTEGERS | FLOATS

every_integer = pytest.mark.parametrize("name", INTEGERS)
every_number = pytest.mark.parametrize("name", FORMATS)


def reader(buf, name):
    return getattr(buf, f"read_{name}")


def writer(buf, name):
    return getattr(buf, f"write_{name}")


def limits(name):
    bits = int("".join(filter(str.isdigit, name)))
    return (0, 2**bits - 1) if name[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def test_names_are_those_of_the_design():
    expected = {f"{verb}_{name}" for verb in ("read", "write") for name in FORMATS}
    assert {name for name in dir(poolio.Buffer) if name.startswith(("read_", "write_"))} == expected


@every_number
def test_read_at_every_offset_is_that_of_struct(pool, name):
    data = bytes(range(1, 30)) + bytes(range(240, 256))
    buf, size = pool.from_bytes(data), struct.calcsize(FORMATS[name])
    for offset in range(len(data) - size + 1):
        expected = struct.unpack_from(FORMATS[name], data, offset)[0]
        assert repr(reader(buf, name)(offset)) == repr(expected)    # some are nan, which equals nothing


@every_integer
def test_write_at_every_offset_is_that_of_struct(pool, name):
    size = struct.calcsize(FORMATS[name])
    for number in (*limits(name), 0, 1, 42):
        for offset in range(9):
            buf, model = pool.alloc(17), bytearray(17)
            assert writer(buf, name)(number, offset) == offset + size
            struct.pack_into(FORMATS[name], model, offset, number)
            assert buf == model
            assert reader(buf, name)(offset) == number


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("number", [0.0, -0.0, 1.5, -2.25, 1e-40, math.inf, -math.inf, math.nan, 3, True])
def test_write_float_is_that_of_struct(pool, name, number):
    buf, model, size = pool.alloc(12), bytearray(12), struct.calcsize(FORMATS[name])
    assert writer(buf, name)(number, 3) == 3 + size
    struct.pack_into(FORMATS[name], model, 3, number)
    assert buf == model


@every_number
@pytest.mark.parametrize("offset", [-1, -8, 2**31, 2**62])
def test_offset_outside_raises_naming_it(pool, name, offset):
    buf = pool.from_bytes(bytes(16))
    with pytest.raises(IndexError, match=rf"offset {offset} .* 16 bytes"):
        reader(buf, name)(offset)
    with pytest.raises(IndexError, match=rf"offset {offset} .* 16 bytes"):
        writer(buf, name)(0, offset)
    assert buf == bytes(16)


@every_number
def test_offset_one_beyond_the_last_raises(pool, name):
    size = struct.calcsize(FORMATS[name])
    for length in range(size + 3):
        buf = pool.from_bytes(bytes(length))
        with pytest.raises(IndexError):
            reader(buf, name)(length - size + 1)
        if length >= size:
            assert reader(buf, name)(length - size) == 0


@every_number
def test_offset_in_slice_stays_in_slice(pool, name):
    whole, size = pool.from_bytes(b"\xff" * 32), struct.calcsize(FORMATS[name])
    piece = whole[8:8 + size]
    writer(piece, name)(0, 0)
    assert whole == b"\xff" * 8 + bytes(size) + b"\xff" * (24 - size)
    with pytest.raises(IndexError):
        reader(piece, name)(1)


@every_integer
@pytest.mark.parametrize("beyond", [1, 2**70])
def test_write_number_out_of_range_raises_naming_it(pool, name, beyond):
    buf, (low, high) = pool.alloc(8), limits(name)
    for number in (low - beyond, high + beyond):
        with pytest.raises(ValueError, match=rf"{low}\.\.{high}, not {number}"):
            writer(buf, name)(number, 0)
    assert buf == bytes(8)


@pytest.mark.parametrize("name", ["f32be", "f32le"])
@pytest.mark.parametrize("number", [1e39, -1e300])
def test_write_float_out_of_range_raises_naming_it(pool, name, number):
    buf = pool.alloc(4)
    with pytest.raises(ValueError, match=rf"not {number}".replace("+", r"\+")):
        writer(buf, name)(number, 0)
    assert buf == bytes(4)


@every_integer
@pytest.mark.parametrize("wrong", [1.0, "1", None, b"1"])
def test_number_of_other_type_raises(pool, name, wrong):
    buf = pool.alloc(8)
    with pytest.raises(TypeError):
        writer(buf, name)(wrong, 0)
    with pytest.raises(TypeError):
        reader(buf, name)(wrong)


@every_number
def test_use_after_release_raises(pool, name):
    buf = pool.alloc(8)
    buf.release()
    with pytest.raises(poolio.BufferReleased):
        reader(buf, name)(0)
    with pytest.raises(poolio.BufferReleased):
        writer(buf, name)(0, 0)


@every_number
def test_write_frozen_raises_and_read_does_not(pool, name):
    buf = pool.alloc(8).freeze()
    assert reader(buf, name)(0) == 0
    with pytest.raises(TypeError, match="frozen"):
        writer(buf, name)(1, 0)
    assert buf == bytes(8)


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_swap_reverses_each_number(pool, bits):
    data, width = bytes(range(48)), bits // 8
    buf = pool.from_bytes(b"!" + data)
    piece = buf[1:]
    assert getattr(piece, f"swap{bits}")() is piece
    assert piece == b"".join(data[at:at + width][::-1] for at in range(0, 48, width))
    assert buf[0] == ord("!")
    assert getattr(piece, f"swap{bits}")() == data


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_swap_with_bytes_left_over_raises_naming_size(pool, bits):
    buf = pool.from_bytes(bytes(range(bits // 8 + 1)))
    with pytest.raises(ValueError, match=rf"{bits // 8} bytes, not {bits // 8 + 1}"):
        getattr(buf, f"swap{bits}")()
    assert buf == bytes(range(bits // 8 + 1))
    with pytest.raises(TypeError, match="frozen"):
        getattr(pool.alloc(16).freeze(), f"swap{bits}")()
    assert getattr(pool.alloc(0), f"swap{bits}")() == b""
