"""Marked: what values become and how they are written, limits, commands, and that nothing announced is reserved."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit import drawn, grammars
from kit.memory import SMALL_SLAB
from kit.reference import shown
from kit.splits import quick

import poolio


def decoded(stream, **options):
    return [shown(frame) for frame in poolio.Marked(**options).feed(stream)]


@quick
@given(st.lists(drawn.values, max_size=5))
def test_values_written_are_what_resp2_says_and_are_read_again(values):
    codec = poolio.Marked(max_depth=32)
    frame = codec.encode(*values)
    assert bytes(frame) == b"".join(map(grammars.wire, values))
    assert b"".join(map(bytes, codec.gather(values))) == bytes(frame)
    assert bytes(codec.encode(*codec.feed(frame))) == bytes(frame)


def test_each_kind_of_value_becomes_its_own_type():
    values = poolio.Marked().feed(b"+OK\r\n-ERR no\r\n:-7\r\n$2\r\nab\r\n$-1\r\n*-1\r\n*2\r\n*0\r\n:007\r\n")
    text, error, *others = values
    assert (text, type(error), str(error)) == ("OK", poolio.ErrorReply, "ERR no")
    assert others == [-7, b"ab", poolio.NIL, poolio.NIL, ((), 7)]
    assert not poolio.NIL


@pytest.mark.parametrize("limit", [0, 1, 10, 4096])
def test_strings_above_the_limit_are_slices_and_others_bytes(make_pool, limit):
    read = make_pool().from_bytes(b"*4\r\n" + b"".join(b"$%d\r\n%b\r\n" % (n, b"x" * n) for n in (0, 1, 10, 5000)))
    for frames in ("values", "commands"):
        frame, = poolio.Marked(frames=frames, bytes_up_to=limit).feed(read)
        assert [type(piece) for piece in frame] == [bytes if n <= limit else poolio.Buffer for n in (0, 1, 10, 5000)]
        assert all(piece.slab is read.slab for piece in frame if type(piece) is poolio.Buffer)


def test_large_strings_are_sent_as_they_are(pool):
    large, small = pool.from_bytes(b"x" * 5000), b"y" * 4096
    pieces = poolio.Marked().gather([[large, small], bytes(large)], pool)
    assert [piece for piece in pieces if piece is large] == [large]
    assert b"".join(map(bytes, pieces)) == bytes(poolio.Marked().encode([large, small], bytes(large)))
    assert len(pieces) == 5


@pytest.mark.parametrize("value, error, message", [
    (1.5, TypeError, "not 'float'"), ({}, TypeError, "not 'dict'"), ("a\nb", ValueError, "end of a line"),
    ("a\r", ValueError, "end of a line"), ("\udc80\n", ValueError, "end of a line"), (2**63, poolio.FrameError,
    "64 bits"),
    ([[2.5]], TypeError, "not 'float'"),
    ("\ud800", UnicodeEncodeError, "surrogates"),
])
def test_value_that_can_not_be_written_raises(value, error, message):
    with pytest.raises(error, match=message):
        poolio.Marked().encode(b"before", value)


def test_list_in_itself_raises():
    endless = []
    endless.append(endless)
    with pytest.raises(poolio.FrameError, match="deeper than 32"):
        poolio.Marked().encode(endless)


def test_values_that_change_while_they_are_written_raise():
    class Changing(list):
        def __iter__(self):
            yield from [b"x"] * len(self)
            self.append(b"y")

    class Speaking(Exception):
        said = 0

        def __str__(self):
            self.said += 1
            return "x" * self.said

    with pytest.raises(ValueError, match="changed"):
        poolio.Marked().encode(Changing([b"a"]))
    assert bytes(poolio.Marked().encode(Speaking(), Speaking())) == b"-x\r\n-x\r\n"


def test_released_buffer_written_raises(pool):
    buf = pool.from_bytes(b"abc")
    buf.release()
    with pytest.raises(poolio.BufferReleased):
        poolio.Marked().encode([b"x", buf])


def test_text_of_an_error_stays_on_its_line():
    assert bytes(poolio.Marked().encode(ValueError("a\r\nb\nc"))) == b"-a  b c\r\n"


@pytest.mark.parametrize("stream", [
    b":1\r\n", b"$1\r\na\r\n", b"*1\r\n:1\r\n", b"*1\r\n$-1\r\n", b"*1\r\n*1\r\n$1\r\na\r\n", b"PING\r\n",
    b"*1\r\n$+1\r\na\r\n",
    b"*-2\r\n", b"\r\n", b"*1\r\n$01x\r\n", b"*1\r\n$1\r\nab\r\n", b"*1 \r\n", b"* 1\r\n", b"*\r\n", b"*1_0\r\n",
    b"*1\rx", b"*184467440737095516160\r\n", b"*1\r\n$9223372036854775808\r\n",
])
def test_what_is_no_command_raises(stream):
    with pytest.raises(poolio.FrameError):
        poolio.Marked(frames="commands").feed(stream)


@pytest.mark.parametrize("stream", (b"9999999999999999999\r\n", b"912\r\n*", b"x5\r\nabcde\r\n", b"\0001\r\n"))
@pytest.mark.parametrize("before", (b"", b"*2\r\n$1\r\na\r\n"))
@pytest.mark.parametrize("frames", ("values", "commands"))
def test_number_behind_a_byte_that_is_no_mark_raises(stream, before, frames):
    with pytest.raises(poolio.FrameError, match=f"begins with the byte 0x{stream[0]:02x}, and not with"):
        poolio.Marked(frames=frames).feed(before + stream)


def test_inline_commands_are_split_and_empty_ones_skipped():
    stream = b"PING\r\n SET  k v \n\r\n*0\r\n*-1\r\n\n*1\r\n$1\r\nA\r\n"
    assert decoded(stream, frames="commands", inline="split") == [(b"PING",), (b"SET", b"k", b"v"), (b"A",)]
    with pytest.raises(poolio.FrameTooLarge) as raised:
        poolio.Marked(frames="commands", inline="split").feed(b"x" * 65537)
    assert raised.value.limit == 65536


def test_arrays_beyond_their_limits_raise():
    with pytest.raises(poolio.FrameError, match=r"arrays of 65537 values.*65536"):
        poolio.Marked().feed(b"*65537\r\n")
    with pytest.raises(poolio.FrameError, match=r"arrays of 4 values.*3"):
        poolio.Marked(max_items=3).feed(b"*2\r\n:1\r\n*2\r\n")
    assert decoded(b"*1\r\n" * 32 + b"*0\r\n", max_depth=32)
    with pytest.raises(poolio.FrameError, match="deeper than 32"):
        poolio.Marked(max_depth=32).feed(b"*1\r\n" * 33)
    with pytest.raises(poolio.FrameError, match=r"in -1\.\."):
        poolio.Marked().feed(b"$-2\r\n")


@pytest.mark.parametrize("announced", [b"$1048566\r\n", b"*2\r\n$5\r\nhello\r\n$1048550\r\n",
b"$9223372036854775807\r\n"])
def test_string_beyond_the_limit_raises_before_it_comes(announced):
    with pytest.raises(poolio.FrameTooLarge) as raised:
        poolio.Marked().feed(announced)
    assert raised.value.limit == 1 << 20 < raised.value.size


def test_announced_string_and_array_reserve_nothing(make_pool):
    pool = make_pool(slab_size=SMALL_SLAB)
    codec = poolio.Marked(max_frame=1 << 40, max_items=1 << 30)
    assert codec.feed(pool.from_bytes(b"*1000000000\r\n$1000000000000\r\nabc")) == []
    figures = pool.statistics()
    assert (figures.live_bytes, figures.reserved_bytes) == (32, SMALL_SLAB)
    assert codec.chain.wanted == 13 + 16 + 10**12 + 2


def test_codec_serves_two_streams_whose_frames_interleave():
    codec, chains = poolio.Marked(), [poolio.Chain(), poolio.Chain()]
    stream = b"*3\r\n$3\r\nabc\r\n*1\r\n:5\r\n+x\r\n"
    frames = [[], []]
    for at in range(len(stream)):
        for chain, got in zip(chains, frames, strict=True):
            chain.append(stream[at:at + 1])
            got += [codec.decode(chain)]
            chain.check()
    assert [[frame for frame in got if frame] for got in frames] == [[(b"abc", (5,), "x")]] * 2


def test_what_is_known_of_a_frame_is_forgotten_when_bytes_are_taken_or_other_rules_look():
    chain, codec = poolio.Chain(), poolio.Marked()
    chain.append(b"*2\r\n$1\r\na\r\n$3\r\nab")
    assert codec.decode(chain) is None
    chain.advance(4)
    assert codec.decode(chain) == b"a"
    chain.append(b"c\r\n*2\r\n:1\r\n:")
    assert codec.decode(chain) == b"abc"
    assert codec.decode(chain) is None
    with pytest.raises(poolio.FrameError):
        poolio.Marked(frames="commands").decode(chain)
    assert chain.find(b"1") == 5
    chain.append(b"2\r\n")
    assert codec.decode(chain) == (1, 2)


def test_other_marks_are_those_of_other_protocols():
    codec = poolio.Marked(marks={b">": "array", b"*": "array", b"!": "string", b"(": "integer", b",": "text"})
    assert [shown(frame) for frame in codec.feed(b">2\r\n!1\r\na\r\n(5\r\n,1.5\r\n*0\r\n")] == [(b"a", 5), "1.5", ()]
    assert bytes(codec.encode([1, "x", b"y"])) == b">3\r\n(1\r\n,x\r\n!1\r\ny\r\n"
    with pytest.raises(poolio.FrameError, match="no"):
        codec.encode(ValueError("no mark"))
    with pytest.raises(poolio.FrameError):
        codec.feed(b"-x\r\n")


def test_stream_that_ends_in_mid_frame_raises_with_all_of_it():
    codec = poolio.Marked()
    assert codec.feed(b":1\r\n*2\r\n:2\r\n") == [1]
    with pytest.raises(asyncio.IncompleteReadError) as raised:
        codec.decode_last(codec.chain)
    assert raised.value.partial == b"*2\r\n:2\r\n"
