"""Buffers cut into slices as `bytes` are: partition, strip, removeprefix and their kin."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import poolio

TEXT = st.text("ab \t\r\n\x0b-", max_size=12).map(str.encode)


@settings(max_examples=400, deadline=None)
@given(TEXT, TEXT.filter(bool))
def test_pieces_are_those_of_bytes(text, other):
    buf = poolio.from_bytes(text)
    assert buf.partition(other) == text.partition(other)
    assert buf.rpartition(other) == text.rpartition(other)
    for arguments in ((), (None,), (other,)):
        assert buf.strip(*arguments) == text.strip(*arguments)
        assert buf.lstrip(*arguments) == text.lstrip(*arguments)
        assert buf.rstrip(*arguments) == text.rstrip(*arguments)
    for end in (other, other[:2], b"", text[:3], text[-3:], text):
        assert buf.removeprefix(end) == text.removeprefix(end)
        assert buf.removesuffix(end) == text.removesuffix(end)


def test_strip_without_argument_strips_what_bytes_strip(pool):
    for value in range(256):
        text = bytes([value])
        assert pool.from_bytes(text).strip() == text.strip()
        assert pool.from_bytes(text + b"x" + text).strip(text) == (b"x" if value != ord("x") else b"")


def cuts(buf):
    return [*buf.partition(b"="), *buf.rpartition(b"x"), buf.strip(), buf.lstrip(b"k"), buf.rstrip(b"e"),
            buf.removeprefix(b"key"), buf.removesuffix(b"no")]


def test_pieces_share_the_memory(pool):
    buf = pool.from_bytes(b"key=value")
    for piece in cuts(buf):
        assert (piece.slab, piece.pool) == (buf.slab, pool)
    assert pool.statistics().live_allocations == 1
    buf.partition(b"=")[2][:] = b"VALUE"
    assert buf == b"key=VALUE"


def test_pieces_of_all_bytes_outlive_the_released_buffer(pool):
    buf = pool.from_bytes(b"key")
    pieces = [buf.strip(), buf.removeprefix(b"x"), buf.removesuffix(b"x"), buf.partition(b"x")[0],
              buf.rpartition(b"x")[2]]
    buf.release()
    assert pieces == [b"key"] * 5


@pytest.mark.parametrize("method", ["partition", "rpartition", "strip", "lstrip", "rstrip", "removeprefix",
                                    "removesuffix"])
@pytest.mark.parametrize("wrong", [97, "a", [b"a"], (b"a",)])
def test_pieces_by_something_else_raise(pool, method, wrong):
    with pytest.raises(TypeError, match=type(wrong).__name__):
        getattr(pool.from_bytes(b"abc"), method)(wrong)


@pytest.mark.parametrize("method", ["partition", "rpartition"])
def test_partition_by_nothing_raises_as_split_does(pool, method):
    with pytest.raises(ValueError, match="empty separator"):
        getattr(pool.from_bytes(b"abc"), method)(b"")


@pytest.mark.parametrize("kind", [bytearray, memoryview, poolio.from_bytes])
def test_pieces_by_any_bytes_like(pool, kind):
    buf = pool.from_bytes(b"a=b")
    assert (buf.partition(kind(b"=")), buf.strip(kind(b"ab")), buf.removeprefix(kind(b"a="))) == (
        (b"a", b"=", b"b"), b"=", b"b")


@pytest.mark.parametrize("cut", [
    lambda buf: buf.partition(b"b"), lambda buf: buf.strip(), lambda buf: buf.strip(b"a"),
    lambda buf: buf.removeprefix(b"a"), lambda buf: buf.removesuffix(b"a"), lambda buf: buf.eq_ignore_ascii_case(b"a"),
    int, hash, bytes,
])
def test_use_of_a_released_buffer_raises(pool, cut):
    buf = pool.from_bytes(b"abc")
    buf.release()
    with pytest.raises(poolio.BufferReleased):
        cut(buf)
