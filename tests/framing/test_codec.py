"""Codecs: any split of a stream into reads gives what the whole gives, and what the rules in plain Python give."""

import asyncio
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.grammars import MEMCACHED, NATS, Lines, Values
from kit.reference import Ended, Fixed, Prefixed, Variable, pieces_of, shown
from kit.splits import CUTS, RULES, agree, all_codecs, arbitrary, both_modes, quick, well_formed, zeroing_modes

import poolio

# --- any split --------------------------------------------------------------------------------------------

@all_codecs
@zeroing_modes
def test_well_formed_stream_in_any_split_is_what_the_rules_say(kind, zeroing):
    @quick
    @given(st.data())
    def holds(data):
        rules = data.draw(RULES[kind])
        agree(rules, data.draw(well_formed(kind, rules)), data.draw(CUTS), zeroing)

    holds()


@all_codecs
@zeroing_modes
def test_arbitrary_bytes_in_any_split_are_what_the_rules_say(kind, zeroing):
    @quick
    @given(RULES[kind], arbitrary(kind), CUTS)
    def holds(rules, stream, cuts):
        agree(rules, stream, cuts, zeroing)

    holds()


STREAMS = {
    "prefix": (Prefixed(2, max_frame=5), b"\0\1a\0\0\0\5abcde\0\6abcdef\0\1b"),
    "prefix discarding": (Prefixed(2, max_frame=5, too_large="discard"), b"\0\1a\0\0\0\5abcde\0\6abcdef\0\1b"),
    "prefix, header kept": (Prefixed(1, offset=2, header="keep", counts="frame"), b"xy\3xy\5abxy\4axy\7abcdxy\2xy"),
    "varint": (Variable(max_frame=3), b"\0\1a\x80\0\x82\x80\0ab\x83\0abc\x84\0abcd\1b"),
    "varint discarding": (Variable(3, "discard"), b"\0\1a\x80\0\x82\x80\0ab\x83\0abc\x84\0abcd\1b"),
    "varint too long": (Variable(), b"\1a" + b"\x80" * 9 + b"\2" + b"\1b"),
    "mqtt": (Variable(max_frame=3, offset=1, header="keep", width=2), b"a\0b\1cd\x83\0abce\x80\x80"),
    "fixed": (Fixed(3), b"abcdefgh"),
    "values": (Values(max_frame=40), b"*3\r\n$1\r\na\r\n*1\r\n+b\r\n:-5\r\n$-1\r\n-E\r\n*0\r\n$0\r\n\r\n"
                                     b"*1\r\n+" + b"x" * 40),
    "commands": (Values("commands", "split", bytes_up_to=1),
                 b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n\r\nPING a\n*0\r\n*1\r\n$1\r\nx\r\n*1\r\n:1\r\n"),
    "no number": (Values(), b":1\r\n:1x\r\n"),
    "memcached": (Lines(MEMCACHED, max_line=20), b"set k 0 0 2\r\nab\r\nget  k\r\n\r\nset k 0 0 1 noreply\r\na\r\n"
                                                    b"get" + b"k" * 20),
    "nats": (Lines(NATS, "any case"), b"Pub s 2\r\nab\r\nINFO { 1,  2 }\r\nPING\r\npub s\tr 1\r\na\r\nPUB\r\n"),
    "chunks": (Lines(0, separator=b";", base=16, zero="lines", bytes_up_to=1),
               b"A ; x=1\r\n0123456789\r\n0\r\n\r\n1\r\na\r\n0;x\r\nA: b\r\nC: d\r\n\r\n2\r\nabc"),
    "netstrings": (Lines(0, line_end=b":", body_end=b",", max_frame=8), b"0:,3:abc,1:,,5:abcde,6:"),
    "lines": (Ended((b"\r\n", b"\n"), max_frame=4), b"a\r\n\n\r\n\rb\r\r\nabcd\nabc\r\nabcde\nc\n"),
    "lines discarding": (Ended((b"\r\n", b"\n"), max_frame=4, too_large="discard"),
                         b"abcde\nab\nabcdefgh\r\n\nabcd\rx\nc\n"),
    "shared parts": (Ended((b"ab", b"abcd", b"bc"), max_frame=6), b"abcdabxbcabcabcxxxxxxababcabbc"),
}


@pytest.mark.parametrize("rules, stream", STREAMS.values(), ids=STREAMS)
def test_every_split_into_three_reads_is_what_the_rules_say(rules, stream):
    for first in range(len(stream)):
        for second in range(first, len(stream)):
            agree(rules, stream, [first, second], "never")


@pytest.mark.parametrize("rules, stream", STREAMS.values(), ids=STREAMS)
def test_byte_at_a_time_is_what_the_rules_say(rules, stream):
    agree(rules, stream, range(len(stream)), "never")


def test_bytes_of_several_kinds_are_fed_alike():
    stream = b"\0\0\0\3abc\0\0\0\2de\0"
    for kind in (bytes, bytearray, memoryview, poolio.from_bytes):
        codec = poolio.LengthPrefixed()
        assert codec.feed(kind(stream)) == [b"abc", b"de"]
        assert len(codec.chain) == 1


LIMITED = {
    "width 1": Prefixed(1), "width 2 little": Prefixed(2, "little"), "width 3": Prefixed(3), "width 8": Prefixed(8),
    "frame counted": Prefixed(2, counts="frame", header="keep"), "offset": Prefixed(2, offset=3, adjustment=-2),
    "varint": Variable(), "line": Ended(), "lines": Ended((b"\r\n", b"\n")),
    "kept": Ended((b"\r\n", b"\n"), ends="keep"),
}


# --- limits -----------------------------------------------------------------------------------------------

@both_modes
@pytest.mark.parametrize("limit", [1, 2, 9, 128])
@pytest.mark.parametrize("kind", LIMITED)
def test_frame_at_the_limit_comes_and_beyond_it_does_not(kind, limit, too_large):
    rules = type(LIMITED[kind])(**LIMITED[kind].__dict__ | {"max_frame": limit, "too_large": too_large})
    bodies = [b"x" * limit, b"y" * (limit + 1), b"z" * limit]
    stream = b"".join(map(rules.wire, bodies))
    expected = rules.parse(stream)
    assert (len(expected.frames), expected.discarded) == ((1, 0) if too_large == "raise" else (2, 1))
    for cut in range(len(stream) + 1):
        agree(rules, stream, [cut], "never")
    agree(rules, stream, range(len(stream)), "never")


def test_frame_too_large_is_a_frame_error_with_size_and_limit():
    with pytest.raises(poolio.FrameTooLarge, match=r"101 bytes.*limit of 100") as raised:
        poolio.LengthPrefixed(max_frame=100).feed(b"\0\0\0\x65")
    assert (raised.value.size, raised.value.limit) == (101, 100)
    assert issubclass(poolio.FrameTooLarge, poolio.FrameError)
    assert issubclass(poolio.FrameError, (poolio.PoolError, ValueError))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_frame_too_large_pickled_is_the_same(protocol):
    error = pickle.loads(pickle.dumps(poolio.FrameTooLarge(2**64 - 1, 100), protocol))
    assert (type(error), error.size, error.limit) == (poolio.FrameTooLarge, 2**64 - 1, 100)
    assert str(error) == str(poolio.FrameTooLarge(2**64 - 1, 100))


# --- errors -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("codec, good, bad, error", [
    (poolio.LengthPrefixed(max_frame=9), b"\0\0\0\1a", b"\0\0\0\x0a", poolio.FrameTooLarge),
    (poolio.LengthPrefixed(1, counts="frame"), b"\2a", b"\0", poolio.FrameError),
    (poolio.Varint(), b"\1a", b"\xff" * 10, poolio.FrameError),
    (poolio.Varint(max_frame=1), b"\1a", b"\2", poolio.FrameTooLarge),
    (poolio.Delimited(b"\n", max_frame=1), b"a\n", b"ab\n", poolio.FrameTooLarge),
    (poolio.Delimited(b"\n", max_frame=1), b"a\n", b"ab", poolio.FrameTooLarge),
    (poolio.Marked(), b"$1\r\na\r\n", b"$1x\r\n", poolio.FrameError),
    (poolio.Marked(max_frame=7), b"$1\r\na\r\n", b"$2\r\n", poolio.FrameTooLarge),
])
def test_error_behind_good_frames_comes_at_the_next_feed_and_loses_nothing(codec, good, bad, error):
    assert codec.feed(good * 3 + bad + b"more") == [b"a"] * 3
    for data in (b"", b"x", b"yz"):
        with pytest.raises(error):
            codec.feed(data)
    assert bytes(codec.chain.peek(len(codec.chain))) == bad + b"morexyz"


def test_released_buffer_fed_raises_and_loses_nothing(pool):
    codec, read = poolio.Delimited(b"\n"), pool.from_bytes(b"abc")
    assert codec.feed(b"12") == []
    read.release()
    with pytest.raises(poolio.BufferReleased):
        codec.feed(read)
    assert codec.feed(b"3\n") == [b"123"]


# --- the end of the stream --------------------------------------------------------------------------------

@pytest.mark.parametrize("codec, rest", [
    (poolio.LengthPrefixed(), b"\0\0\0\4abc"), (poolio.LengthPrefixed(), b"\0"), (poolio.Varint(), b"\x80"),
    (poolio.FixedSize(4), b"abc"), (poolio.Marked(), b"*2\r\n:1\r\n"), (poolio.LineAndBody(0), b"3\r\nabc"),
])
def test_decode_last_in_mid_frame_raises_with_what_is_there(codec, rest):
    assert codec.feed(rest) == []
    with pytest.raises(asyncio.IncompleteReadError) as raised:
        codec.decode_last(codec.chain)
    assert (raised.value.partial, raised.value.expected, len(codec.chain)) == (rest, None, 0)


# --- the frames of a list, and one at a time --------------------------------------------------------------

def in_a_list(codec, piece):
    frames = []
    try:
        frames += codec.feed(piece)
        codec.feed(b"")                     # says what the first call has kept back
    except poolio.FrameError as exc:
        return [shown(frame) for frame in frames], type(exc)
    return [shown(frame) for frame in frames], None


def one_at_a_time(codec, piece):
    frames, chain = [], codec.chain
    chain.append(piece)
    try:
        while len(chain) > 0 and (frame := codec.decode(chain)) is not None:
            frames.append(shown(frame))
    except poolio.FrameError as exc:
        return frames, type(exc)
    return frames, None


@all_codecs
def test_frames_in_a_list_are_those_of_one_at_a_time(kind):
    @quick
    @given(st.data())
    def holds(data):
        rules = data.draw(RULES[kind])
        together, single = rules.codec(), rules.codec()
        for piece in pieces_of(data.draw(st.one_of(well_formed(kind, rules), arbitrary(kind))), data.draw(CUTS)):
            expected = one_at_a_time(single, piece)
            assert in_a_list(together, piece) == expected
            if expected[1] is not None:
                break
            assert (together.chain.peek(len(together.chain)), together.discarded) == (
                single.chain.peek(len(single.chain)), single.discarded)

    holds()


OWN_WIRES = {
    poolio.LengthPrefixed: ((), b"\0\0\0\2ab"), poolio.Varint: ((), b"\2ab"), poolio.FixedSize: ((2,), b"ab"),
    poolio.Delimited: ((b"\n",), b"ab\n"),
}


@pytest.mark.parametrize("kind", OWN_WIRES)
def test_decode_overridden_is_called_for_each_frame(kind):
    class Noting(kind):
        calls = 0

        def decode(self, chain):
            Noting.calls += 1
            return super().decode(chain)

    arguments, frame = OWN_WIRES[kind]
    assert Noting(*arguments).feed(frame * 5) == [b"ab"] * 5
    assert Noting.calls == 5
