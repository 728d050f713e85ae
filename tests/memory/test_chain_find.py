"""Chain.find(): the first place of a separator, across Buffers, without searching anything twice."""

import itertools

import pytest
from kit.chains import chain_of, content_of

import poolio

TEXTS = [(b"aabaabaaab", b"aaab"), (b"ababababac", b"abac"), (b"--\r\n-\r\r\n-", b"\r\r\n"), (b"xxxxxxxx", b"y"),
         (b"abcdefgh", b"abcdefgh"), (b"abcdefgh", b"h"), (b"abc", b"abcd")]


@pytest.mark.parametrize("text, separator", TEXTS)
def test_find_in_every_split_is_that_of_bytes(pool, text, separator):
    whole = pool.from_bytes(text)
    for cuts in itertools.product((False, True), repeat=len(text) - 1):
        places = [0, *(place for place, cut in enumerate(cuts, 1) if cut), len(text)]
        chain = poolio.Chain()
        for start, stop in itertools.pairwise(places):
            chain.append(whole[start:stop])
        assert chain.find(separator) == text.find(separator)


@pytest.mark.parametrize("text, separator", TEXTS)
def test_find_after_every_append_is_that_of_bytes(pool, text, separator):
    chain = poolio.Chain(pool)
    for end in range(1, len(text) + 1):
        chain.append(text[end - 1:end])
        assert chain.find(separator) == text[:end].find(separator)
        chain.check()


def test_find_does_not_search_twice(pool):
    buf = pool.from_bytes(b"....")
    chain = poolio.Chain()
    chain.append(buf)
    assert chain.find(b"x") == -1
    buf[1] = ord("x")               # behind its back, where it has been
    assert chain.find(b"x") == -1
    chain.append(pool.from_bytes(b".x"))
    assert chain.find(b"x") == 5


def test_find_other_separator_searches_from_the_start(pool):
    chain = chain_of(pool, b"a;b,", b"c;d")
    assert (chain.find(b"!"), chain.find(b";"), chain.find(b","), chain.find(b";")) == (-1, 1, 3, 1)


@pytest.mark.parametrize("separator", [bytearray(b"x"), memoryview(b"x")])
def test_find_of_equal_separator_does_not_search_twice(pool, separator):
    buf = pool.from_bytes(b"....")
    chain = poolio.Chain()
    chain.append(buf)
    assert chain.find(separator) == -1
    buf[1] = ord("x")
    assert chain.find(b"x") == -1


def test_find_changed_separator_finds_the_changed_one(pool):
    chain, separator = chain_of(pool, b"a;b,", b"c"), bytearray(b"!")
    assert chain.find(separator) == -1
    separator[0] = ord(";")
    assert chain.find(separator) == 1
    assert chain.find(pool.from_bytes(b",c")) == 3


def test_find_after_take_counts_from_the_new_front(pool):
    chain = chain_of(pool, b"ab\r", b"\ncd\r\n", b"ef")
    found = []
    while (at := chain.find(b"\r\n")) >= 0:
        assert chain.find(b"\r\n") == at            # found again where it was
        found.append(bytes(chain.take(at)))
        chain.advance(2)
    assert (found, content_of(chain)) == ([b"ab", b"cd"], b"ef")


def test_find_of_separator_half_taken_is_the_next_one(pool):
    chain = chain_of(pool, b"ab--", b"-cd--")
    assert chain.find(b"--") == 2
    chain.advance(3)
    assert chain.find(b"--") == 0
    chain.advance(1)
    assert chain.find(b"--") == 3


def test_find_begun_at_the_end_and_finished_later_is_found(pool):
    chain = poolio.Chain(pool)
    found = []
    for end in (b"ab\r", b"\r", b"\r", b"\n", b"\r"):
        chain.append(end)
        found.append(chain.find(b"\r\r\n"))
    assert found == [-1, -1, -1, 3, 3]


def test_find_empty_separator_raises(pool):
    with pytest.raises(ValueError, match="empty"):
        chain_of(pool, b"abc").find(b"")


def test_find_in_empty_chain_is_nowhere(pool):
    assert poolio.Chain(pool).find(b"x") == -1


def test_find_in_text_full_of_beginnings_stays_linear(pool):
    chain = poolio.Chain(pool)
    for _ in range(64):
        chain.append(b"a" * 32_000)
        assert chain.find(b"a" * 2_000 + b"b") == -1      # 2 MB * 2,000 comparisons would take minutes
    chain.append(b"b")
    assert chain.find(b"a" * 2_000 + b"b") == 64 * 32_000 - 2_000
