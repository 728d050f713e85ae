"""Chain in a parser's hands: indices, beginnings, find() from a position, take_until() and take_int()."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.chains import chain_of, content_of, exhaust
from kit.memory import SMALL_SLAB

import poolio


def splits(data):
    """Every way to cut the data into pieces."""
    for cuts in itertools.product((False, True), repeat=len(data) - 1):
        places = [0, *(place for place, cut in enumerate(cuts, 1) if cut), len(data)]
        yield [data[start:stop] for start, stop in itertools.pairwise(places)]


# --- indices --------------------------------------------------------------------------------------------

def test_index_in_every_split_is_that_of_bytes(pool):
    data = b"\x00a\xffbcd"
    for pieces in splits(data):
        chain = chain_of(pool, b"?", *pieces)
        chain.advance(1)
        assert [chain[at] for at in range(-6, 6)] == [data[at] for at in range(-6, 6)]


@pytest.mark.parametrize("index", [5, -6, 2**31, 2**70, -(2**70)])
def test_index_outside_raises(pool, index):
    with pytest.raises(IndexError, match=rf"index {index} .*5 bytes"):
        chain_of(pool, b"ab", b"cde")[index]
    with pytest.raises(IndexError, match="0 bytes"):
        poolio.Chain()[index]


@pytest.mark.parametrize("index", [slice(0, 1), "0", None, 1.0])
def test_index_of_other_type_raises(pool, index):
    with pytest.raises(TypeError, match=type(index).__name__):
        chain_of(pool, b"ab")[index]


def test_iteration_raises_and_names_peek(pool):
    with pytest.raises(TypeError, match="peek"):
        list(chain_of(pool, b"ab"))


def test_index_that_clears_the_chain_meanwhile_raises(pool):
    class Clears:
        def __index__(self):
            chain.clear()
            return 0

    chain = chain_of(pool, b"ab")
    with pytest.raises(IndexError, match="0 bytes"):
        chain[Clears()]


# --- beginnings -------------------------------------------------------------------------------------------

def test_startswith_in_every_split_is_that_of_bytes(pool):
    data = b"aabaa"
    for pieces in splits(data):
        chain = chain_of(pool, *pieces)
        for prefix in (b"", b"a", b"aab", b"aabaa", b"aabaaa", b"b", b"aaa", b"aabab", (b"x", b"aa"), (), (b"x", b"b")):
            assert chain.startswith(prefix) == data.startswith(prefix)


@pytest.mark.parametrize("prefix", [bytearray(b"ab"), memoryview(b"ab"), poolio.from_bytes(b"ab")])
def test_startswith_takes_any_bytes_like(pool, prefix):
    assert chain_of(pool, b"a", b"bc").startswith((b"x", prefix))


@pytest.mark.parametrize("prefix", ["ab", 97, None, [b"ab"], (b"x", 97)])
def test_startswith_of_no_bytes_like_raises(pool, prefix):
    with pytest.raises(TypeError, match="prefix is a bytes-like"):
        chain_of(pool, b"ab").startswith(prefix)


# --- find from a position ---------------------------------------------------------------------------------

@settings(max_examples=300, deadline=None)
@given(st.data())
def test_find_from_any_positions_is_that_of_bytes(data):
    pool, model, chain = poolio.default_pool(), bytearray(), poolio.Chain()
    separators = st.sampled_from([b"a", b"ab", b"aab", b"bb"])
    for _ in range(data.draw(st.integers(1, 12))):
        more = data.draw(st.text("abc", max_size=6)).encode()
        chain.append(pool.from_bytes(more))
        model += more
        dropped = data.draw(st.integers(0, len(model) // 3))
        chain.advance(dropped)
        del model[:dropped]
        separator, start = data.draw(separators), data.draw(st.integers(0, len(model) + 2))
        assert chain.find(separator, start) == model.find(separator, start)
        assert chain.find(separator) == model.find(separator)
        chain.check()


def test_find_from_a_position_does_not_search_twice(pool):
    buf = pool.from_bytes(b"a b....")
    chain = poolio.Chain()
    chain.append(buf)
    for start in (2, 4):
        assert chain.find(b"x", start) == -1
    buf[5] = ord("x")               # behind its back, where it has been
    assert chain.find(b"x", 2) == -1
    assert chain.find(b"x") == 5    # it has not been in front of 2: all of it is searched again


@pytest.mark.parametrize("start", [-1, -100])
def test_find_from_below_zero_raises(pool, start):
    with pytest.raises(ValueError, match=f"start .*{start}"):
        chain_of(pool, b"ab").find(b"b", start)


# --- take_until ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("separator", [b"\n", b"\r\n"])
def test_take_until_in_every_split_is_the_lines(pool, separator):
    data = separator.join([b"ab", b"", b"c", b"d"])
    for pieces in splits(data):
        chain, lines = poolio.Chain(), []
        for piece in pieces:
            chain.append(pool.from_bytes(piece))
            while (line := chain.take_until(separator)) is not None:
                lines.append(bytes(line))
        assert (lines, content_of(chain)) == ([b"ab", b"", b"c"], b"d")


def test_take_until_contiguous_is_a_slice(pool):
    buf = pool.from_bytes(b"ab\r\ncd")
    chain = poolio.Chain()
    chain.append(buf)
    line = chain.take_until(b"\r\n")
    assert (line, line.slab, line.offset) == (b"ab", buf.slab, buf.offset)


@pytest.mark.parametrize("text, limit, result", [
    (b"abc\r\n", 3, b"abc"), (b"\r\nabc", 0, b""), (b"abc\r", 3, None), (b"abc\rx", 3, 3), (b"abcd\r\n", 3, 3),
    (b"abcde", 3, 3), (b"abc", 3, None), (b"", 0, None), (b"a\r", 0, 0),
])
def test_take_until_limit_counts_what_is_before(pool, text, limit, result):
    for pieces in splits(text) if text else [[]]:
        chain = chain_of(pool, *pieces)
        if not isinstance(result, int):
            assert chain.take_until(b"\r\n", limit) == result
            continue
        for _ in range(2):          # nothing is taken, so it is raised each time
            with pytest.raises(poolio.FrameTooLarge, match=f"limit of {limit}") as caught:
                chain.take_until(b"\r\n", limit)
            assert (caught.value.size, caught.value.limit, content_of(chain)) == (limit + 1, limit, text)
            chain.check()


def test_take_until_default_limit_is_64_kib(pool):
    chain = chain_of(pool, b"x" * 65_536)
    assert chain.take_until(b"\n") is None
    chain.append(b"\n")
    assert len(chain.take_until(b"\n")) == 65_536
    chain.append(b"x" * 65_537)
    with pytest.raises(poolio.FrameTooLarge, match="65536"):
        chain.take_until(b"\n")


def test_take_until_after_other_limits_and_positions_is_right(pool):
    chain = chain_of(pool, b"abc\ndefg\n", b"h")
    assert chain.find(b"\n", 5) == 8
    with pytest.raises(poolio.FrameTooLarge):
        chain.take_until(b"\n", 2)
    assert (chain.find(b"\n"), chain.take_until(b"\n", 3), chain.take_until(b"\n", 4)) == (3, b"abc", b"defg")


def test_take_until_does_not_search_twice(pool):
    buf = pool.from_bytes(b"....")
    chain = poolio.Chain()
    chain.append(buf)
    assert chain.take_until(bytearray(b"x")) is None
    buf[1] = ord("x")               # behind its back, where it has been
    chain.append(b".")
    assert chain.take_until(b"x", 100) is None
    with pytest.raises(poolio.FrameTooLarge):
        chain.take_until(b"x", 3)


@pytest.mark.parametrize("limit", [-1, -(2**40)])
def test_take_until_limit_below_zero_raises(pool, limit):
    with pytest.raises(ValueError, match=f"limit .*{limit}"):
        chain_of(pool, b"a\n").take_until(b"\n", limit)


@pytest.mark.parametrize("method", ["find", "take_until", "take_int"])
@pytest.mark.parametrize("separator, error", [("x", TypeError), (10, TypeError), (None, TypeError), (b"", ValueError)])
def test_separator_of_other_type_or_empty_raises(pool, method, separator, error):
    chain = chain_of(pool, b"1x")
    with pytest.raises(error, match="separator"):
        getattr(chain, method)(separator)
    assert content_of(chain) == b"1x"


def test_take_until_straddling_at_the_limit_of_memory_loses_nothing(make_pool):
    pool = make_pool(slab_size=SMALL_SLAB, max_bytes=2 * SMALL_SLAB)
    chain = chain_of(pool, b"0123", b"4567\r", b"\nab")
    held = exhaust(pool)
    for _ in range(2):
        with pytest.raises(poolio.PoolExhausted):
            chain.take_until(b"\r\n")
        chain.check()
    held.clear()
    assert (chain.take_until(b"\r\n"), content_of(chain)) == (b"01234567", b"ab")


# --- take_int -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("text, options, number", [
    (b"0", {}, 0), (b"-1", {}, -1), (b"+7", {}, 7), (b"007", {}, 7), (b"-0", {}, 0), (b"9" * 20, {}, 10**20 - 1),
    (b"12", {"least": 12, "most": 12}, 12), (b"-3", {"least": -3}, -3), (b"fF", {"base": 16}, 255),
    (b"-7fffffffffffffff", {"base": 16}, -(2**63 - 1)), (b"1" * 4300, {"digits": 4300}, int("1" * 4300)),
])
def test_take_int_of_integers_is_that_of_python(pool, text, options, number):
    wire = text + b"\r\nrest"
    for pieces in ([wire], [wire[:1], wire[1:]], [wire[at:at + 1] for at in range(len(wire))]):
        chain = chain_of(pool, *pieces)
        assert (chain.take_int(b"\r\n", **options), content_of(chain)) == (number, b"rest")


WRONG = [
    (b"", {}, "0 bytes has no digits"), (b"-", {}, "no digits"), (b"+-1", {}, "0x2d at index 1"),
    (b" 1", {}, "base 10 has the byte 0x20 at index 0"), (b"1 ", {}, "0x20 at index 1"), (b"1_0", {}, "0x5f"),
    (b"0x1f", {"base": 16}, "base 16 has the byte 0x78 at index 1"), (b"1f", {}, "0x66 at index 1"),
    (b"\xb2", {}, "0xb2"), (b"1\x00", {}, "0x00"), (b"1.0", {}, "0x2e"),
    (b"-1", {"least": 0}, "0x2d at index 0"), (b"+1", {"least": 0}, "0x2b at index 0"),
    (b"9" * 21, {}, "more than 20 digits"), (b"000", {"digits": 2}, "more than 2 digits"),
    (b"9" * 22, {}, "more than 20 digits"), (b"-" + b"9" * 21, {}, "more than 20 digits"),
    (b"x" * 1000, {}, "0x78 at index 0"),
    (b"5", {"most": 4}, "at most 4, not 5"), (b"5", {"least": 6}, "at least 6, not 5"),
    (b"-2", {"least": -1, "most": 9}, r"in -1\.\.9, not -2"),
    (b"9" * 21, {"digits": 21, "most": 4}, "one of 21 digits"),
]


@pytest.mark.parametrize("text, options, said", WRONG)
def test_take_int_of_anything_else_raises_and_takes_nothing(pool, text, options, said):
    wire = text + b"\r\nrest"
    for pieces in ([wire], [wire[:1], wire[1:]], [wire[at:at + 1] for at in range(len(wire))]):
        chain = chain_of(pool, *pieces)
        for _ in range(2):
            with pytest.raises(poolio.FrameError, match=said) as caught:
                chain.take_int(b"\r\n", **options)
            assert len(str(caught.value)) < 100
            assert content_of(chain) == wire


def test_take_int_not_complete_is_none_until_no_integer_is_so_long(pool):
    chain = poolio.Chain(pool)
    for digit in b"-12":
        chain.append(bytes([digit]))
        assert chain.take_int(b"\r\n", digits=2) is None
    chain.append(b"\r")
    assert chain.take_int(b"\r\n", digits=2) is None
    chain.append(b"3")
    with pytest.raises(poolio.FrameError, match="0x0d at index 3"):
        chain.take_int(b"\r\n", digits=2)


@pytest.mark.parametrize("options, said", [
    ({"base": 8}, "base must be 10 or 16, not 8"), ({"base": 0}, "not 0"), ({"digits": 0}, r"1\.\.4300, not 0"),
    ({"digits": 4301}, "4301"), ({"digits": 2**70}, str(2**70)), ({"digits": -1}, "-1"),
])
def test_take_int_of_bad_options_raises(pool, options, said):
    chain = chain_of(pool, b"1\n")
    with pytest.raises(ValueError, match=said):
        chain.take_int(b"\n", **options)
    with pytest.raises(TypeError):
        chain.take_int(b"\n", most="9")
    assert content_of(chain) == b"1\n"


def test_take_int_bound_that_clears_the_chain_meanwhile_is_none(pool):
    class Clears:
        def __index__(self):
            chain.clear()
            return 5

    chain = chain_of(pool, b"1\n")
    assert chain.take_int(b"\n", most=Clears()) is None


@settings(max_examples=500, deadline=None)
@given(st.text("0123456789abcdefABCDEF+-_ x", max_size=24), st.sampled_from([10, 16]), st.lists(st.integers(0, 26)))
def test_take_int_takes_nothing_that_python_reads_otherwise(text, base, cuts):
    wire = text.encode() + b"\n"
    places = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    chain = chain_of(poolio.default_pool(), *(wire[start:stop] for start, stop in itertools.pairwise(places)))
    digits = text[1:] if text[:1] in ("+", "-") else text
    allowed = "0123456789" if base == 10 else "0123456789abcdefABCDEF"
    if 1 <= len(digits) <= 20 and set(digits) <= set(allowed):
        assert (chain.take_int(b"\n", base), len(chain)) == (int(text, base), 0)
    else:
        with pytest.raises(poolio.FrameError):
            chain.take_int(b"\n", base)
        assert content_of(chain) == wire


def test_take_until_of_a_line_that_comes_byte_by_byte_is_linear_work(pool):
    """A search from the start for each byte would walk over 1.8 billion links."""
    chain, taken = poolio.Chain(pool), 0
    buf = pool.from_bytes(b"x" * 60_000 + b"\n")
    for at in range(len(buf)):
        chain.append(buf[at:at + 1])
        taken += chain.take_until(b"\n") is not None
    assert (taken, len(chain)) == (1, 0)
