"""int(buf): what `int(bytes)` gives, read where it lies."""

import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import poolio


@settings(max_examples=500, deadline=None)
@given(st.text("0123456789+-_ \n", max_size=30).map(str.encode))
@example(b"9" * 640)
@example(b"-" + b"8" * 641)
@example(b" 12\n")
@example(b"1_000")
@example(b"\x00")
def test_int_is_that_of_bytes(text):
    try:
        expected = int(text)
    except ValueError:
        with pytest.raises(ValueError, match=f"{len(text)} bytes"):
            int(poolio.from_bytes(text))
    else:
        assert int(poolio.from_bytes(text)) == expected


@pytest.mark.parametrize("number", [0, 9, 10**15 - 1, 10**15, 2**63 - 1, 2**63, -(2**63), 10**30, 10**640])
def test_int_of_any_size(pool, number):
    assert int(pool.from_bytes(b"%d" % number)) == number


def test_int_beyond_the_limit_of_digits_names_it(pool):
    most = sys.get_int_max_str_digits()
    assert int(pool.from_bytes(b"1" * most)) == int("1" * most)
    with pytest.raises(ValueError, match=rf"{most + 1} bytes .* {most} digits"):
        int(pool.from_bytes(b"1" * (most + 1)))


def test_int_of_no_integer_shows_no_content(pool):
    with pytest.raises(ValueError, match="no decimal integer") as caught:
        int(pool.from_bytes(b"hunter2"))
    assert "hunter" not in f"{caught.value} {caught.value.__cause__}"
    assert caught.value.__suppress_context__


def test_buffer_is_no_index(pool):
    with pytest.raises(TypeError):
        range(pool.from_bytes(b"1"))
    assert bytes(pool.from_bytes(b"3")) == b"3"
