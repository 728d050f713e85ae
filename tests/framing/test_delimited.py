"""Delimited: several delimiters, lines that are too long, and a last line without its end."""

import asyncio

import pytest
from kit.memory import SMALL_SLAB
from kit.reference import Ended, compare
from kit.splits import both_modes

import poolio


@pytest.mark.parametrize("delimiters", [(b"\r\n", b"\n\n\n"), (b"abcd", b"bc"), (b"ab", b"x" * 5), (b"y" * 300, b"ab")])
def test_one_of_several_delimiters_is_found_wherever_it_stands_in_a_long_line(delimiters):
    rules = Ended(delimiters)
    for doubled in (256, 768, 1792):                 # it is searched in windows that double
        for place in range(doubled - 12, doubled + 4):
            for delimiter in delimiters:
                stream = b"-" * place + delimiter + b"-" * 700
                assert rules.parse(stream).frames == [b"-" * place] or delimiter == b"abcd"
                compare(rules, stream, [stream])


def test_discarded_line_is_dropped_as_it_comes(make_pool):
    pool, codec = make_pool(slab_size=SMALL_SLAB), poolio.Delimited((b"\r\n", b"\n"), max_frame=10, too_large="discard")
    for _ in range(500):
        assert codec.feed(pool.from_bytes(b"x" * 1999 + b"\r")) == []
        assert pool.statistics().live_bytes <= 1
    assert codec.feed(pool.from_bytes(b"\nnext\n")) == [b"next"]
    assert codec.discarded == 1


@pytest.mark.parametrize("delimiter", [
    b"\r\n", bytearray(b"\r\n"), memoryview(b"\r\n"), [b"\r\n"], (bytearray(b"\r\n"),),
])
def test_delimiter_of_any_bytes_like_is_taken(delimiter):
    codec = poolio.Delimited(delimiter)
    assert codec.delimiters == (b"\r\n",)
    assert codec.feed(b"a\r\nb\nc\r\n") == [b"a", b"b\nc"]


def test_decode_last_of_line_delivers_or_refuses():
    for last, expected in (("deliver", b"end"), ("refuse", None)):
        codec = poolio.Delimited(b"\n", last=last)
        assert codec.feed(b"line\nend") == [b"line"]
        if expected is None:
            with pytest.raises(asyncio.IncompleteReadError) as raised:
                codec.decode_last(codec.chain)
            assert raised.value.partial == b"end"
        else:
            assert codec.decode_last(codec.chain) == expected
        assert codec.decode_last(codec.chain) is None


@both_modes
def test_decode_last_of_line_too_large(too_large):
    codec = poolio.Delimited(b"\r\n", last="deliver", max_frame=3, too_large=too_large)
    assert codec.feed(b"a\r\nabcd") == [b"a"]
    if too_large == "raise":
        with pytest.raises(poolio.FrameTooLarge):
            codec.decode_last(codec.chain)
    else:
        assert codec.decode_last(codec.chain) is None
        assert (codec.discarded, len(codec.chain)) == (1, 0)
