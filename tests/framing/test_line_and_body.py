"""LineAndBody: memcached, NATS, chunks and netstrings, how frames are written, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit import drawn
from kit.splits import quick

import poolio

MEMCACHED = {b"set": 4, b"cas": 4}
CHUNKS = {"separator": b";", "base": 16, "zero": "lines"}


@quick
@given(st.data())
def test_frames_read_are_written_and_read_again(data):
    rules = data.draw(drawn.lines)
    codec = rules.codec()
    for frame in rules.parse(data.draw(drawn.streams_of_lines(rules))).frames:
        written = codec.encode(*frame)
        assert rules.parse(bytes(written)).frames == [frame]
        assert b"".join(map(bytes, codec.gather(list(frame)))) == bytes(written)


def test_memcached_verbs_announce_bodies_and_others_none():
    codec = poolio.LineAndBody(MEMCACHED)
    frames = codec.feed(b"set k 0 0 2 noreply\r\nab\r\nget  a b\r\ncas k 0 0 0 7\r\n\r\n\r\n")
    assert frames == [((b"set", b"k", b"0", b"0", b"2", b"noreply"), b"ab"), ((b"get", b"a", b"b"), None),
                      ((b"cas", b"k", b"0", b"0", b"0", b"7"), b""), ((b"",), None)]
    assert bytes(codec.encode((b"set", b"k", 0, 0, None), b"abc")) == b"set k 0 0 3\r\nabc\r\n"


def test_text_of_a_line_keeps_its_spaces():
    codec = poolio.LineAndBody({b"CONNECT": None, b"PUB": -1}, verbs="any case")
    assert codec.feed(b'connect  {"a":  "b  c"} \r\nCONNECT\r\npub s 1\r\nx\r\n') == [
        ((b"connect", b'{"a":  "b  c"}'), None), ((b"CONNECT",), None), ((b"pub", b"s", b"1"), b"x")]
    assert bytes(codec.encode((b"CONNECT", b"a  b"))) == b"CONNECT a  b\r\n"


def test_chunks_end_with_trailers_or_without():
    codec = poolio.LineAndBody(0, **CHUNKS)
    frames = codec.feed(b"a;x=1 ; y\r\n0123456789\r\n0\r\n\r\n0\r\nA: b\r\nC: d\r\n\r\n")
    assert frames == [((b"a", b"x=1", b"y"), b"0123456789"), ((b"0",), b""), ((b"0",), b"A: b\r\nC: d\r\n")]
    assert bytes(codec.encode((None,), b"x" * 20)) == b"14\r\n" + b"x" * 20 + b"\r\n"
    assert bytes(codec.encode((0,), b"A: b\r\n")) == b"0\r\nA: b\r\n\r\n"


def test_bodies_above_the_limit_are_slices_and_others_bytes(make_pool):
    read = make_pool().from_bytes(b"3\r\nabc\r\n4\r\nabcd\r\n")
    (_, small), (_, large) = poolio.LineAndBody(0, bytes_up_to=3).feed(read)
    assert (type(small), small, type(large), large) == (bytes, b"abc", poolio.Buffer, b"abcd")
    assert large.slab is read.slab


def test_large_body_is_sent_as_it_is(pool):
    body = pool.from_bytes(b"x" * 5000)
    line, same, end = poolio.LineAndBody(0).gather([(None,), body], pool)
    assert (bytes(line), same is body, bytes(end)) == (b"5000\r\n", True, b"\r\n")


@pytest.mark.parametrize("stream, message", [
    (b"set k 0 0\r\n", "4 fields lacks"), (b"set k 0 0 x\r\n", "byte 0x78 at index 0"), (b"set k 0 0 -1\r\n", "0x2d"),
    (b"set k 0 0 2\r\nabc\r\n", "a body of 2 bytes does not end"), (b"set k 0 0 1_0\r\n", "0x5f"),
    (b"set k 0 0 " + b"0" * 21 + b"\r\n", "more than 20 digits"),
])
def test_what_is_no_frame_raises(stream, message):
    with pytest.raises(poolio.FrameError, match=message):
        poolio.LineAndBody(MEMCACHED).feed(stream)


@pytest.mark.parametrize("stream, size, limit", [
    (b"set k 0 0 1048560\r\n", 1048581, 1 << 20), (b"x" * 8194, 8193, 8192), (b"x" * 8193 + b"\r\n", 8193, 8192),
    (b"set k 0 0 99999999999999999999\r\n", 10**20 + 33, 1 << 20),
])
def test_frame_beyond_a_limit_raises_before_it_comes(stream, size, limit):
    with pytest.raises(poolio.FrameTooLarge) as raised:
        poolio.LineAndBody(MEMCACHED).feed(stream)
    assert (raised.value.size, raised.value.limit) == (size, limit)


def test_trailers_beyond_the_limit_raise():
    codec = poolio.LineAndBody(0, max_frame=100, **CHUNKS)
    assert codec.feed(b"0\r\n" + b"x" * 97) == []
    with pytest.raises(poolio.FrameTooLarge):
        codec.feed(b"x")


@pytest.mark.parametrize("size, frame, error", [
    (MEMCACHED, ((b"set", b"k"), b""), "2 fields lacks"), (MEMCACHED, ((b"a b",),), "1 fields would be read as 2"),
    (MEMCACHED, ((b"a\r\nb",),), "end of a line"), (MEMCACHED, ((),), "0 fields"),
    (MEMCACHED, ((b"get",), b"x"), "any other"), (0, ((5,),), "announces a body needs one"),
    (MEMCACHED, ((b"set", b"k", 0, 0, 5), b"abc"), "announces 5 bytes.*has 3"),
    (0, ((b"x",), b""), "0x78"), (0, ((None, b""), b"x"), "2 fields would be read as 1"),
])
def test_frame_that_would_be_read_as_another_is_refused(size, frame, error):
    with pytest.raises(poolio.FrameError, match=error):
        poolio.LineAndBody(size).encode(*frame)


@pytest.mark.parametrize("body", [b"a", b"\r\n", b"a\r\n\r\n", b"a\r\n\r\nb\r\n"])
def test_trailers_that_are_no_lines_are_refused(body):
    with pytest.raises(poolio.FrameError, match="whole lines"):
        poolio.LineAndBody(0, **CHUNKS).encode((0,), body)


def test_frame_written_beyond_a_limit_raises():
    codec = poolio.LineAndBody(0, max_line=10, max_frame=20)
    for frame, limit in (((None, b"x" * 9), b""), 10), (((None,), b"x" * 15), 20):
        with pytest.raises(poolio.FrameTooLarge) as raised:
            codec.encode(*frame)
        assert raised.value.limit == limit
    assert len(codec.encode((None,), b"x" * 14)) == 20


@pytest.mark.parametrize("pieces", [[], [(1,), b"x", b"y"]])
def test_pieces_that_are_not_fields_and_body_raise(pieces):
    with pytest.raises(TypeError, match="fields and a body"):
        poolio.LineAndBody(0).gather(pieces)


@pytest.mark.parametrize("fields", [("text",), (1.5,), (object(),)])
def test_field_of_another_type_raises(fields):
    with pytest.raises(TypeError, match="a field is a bytes-like object"):
        poolio.LineAndBody(MEMCACHED).encode(fields)
