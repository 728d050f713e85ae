"""Buffer: slices, assignment, comparison, searching, splitting, converting, copying and filling."""

import array
import copy
import ctypes
import gc
import itertools
import pickle
import re
import struct

import numpy
import pytest
from kit.memory import address_of

import poolio

# --- slices ---------------------------------------------------------------------------------------------


def test_slice_written_through_is_seen_in_parent(pool):
    parent = pool.from_bytes(b"0123456789")
    piece = parent[3:6]
    piece[:] = b"abc"
    parent[5] = ord("C")
    assert (parent, piece) == (b"012abC6789", b"abC")


def test_slice_shares_slab_and_pool(pool):
    pool_before, parent = pool.alloc(1), pool.from_bytes(b"0123456789")
    piece = parent[3:6]
    assert (piece.slab, piece.pool, piece.offset) == (parent.slab, pool, parent.offset + 3)
    assert pool.statistics().live_allocations == 2
    assert pool_before.offset == 0


def test_slice_of_slice_of_slice_shows_same_memory(pool):
    parent = pool.from_bytes(bytes(range(100)))
    piece = parent[10:90][10:70][10:50]
    assert piece == bytes(range(30, 70))
    piece[0] = 255
    assert parent[30] == 255


def test_slice_outlives_dropped_parents(pool):
    piece = pool.from_bytes(b"0123456789")[2:8][1:3]
    gc.collect()
    other = pool.from_bytes(b"x" * 10)
    assert (piece, other) == (b"34", b"x" * 10)


def test_slice_outlives_released_parent(pool):
    parent = pool.from_bytes(b"0123456789")
    piece = parent[2:4]
    parent.release()
    other = pool.from_bytes(b"x" * 10)
    assert (piece, piece[1:], other) == (b"23", b"3", b"x" * 10)


@pytest.mark.parametrize("start, stop", [
    (None, None), (2, 5), (-3, None), (None, -3), (-100, 100), (5, 2), (10, 20), (-2, -5),
    (2**70, None), (None, -(2**70)),
])
def test_slice_bounds_are_those_of_bytes(pool, start, stop):
    data = b"0123456789"
    assert pool.from_bytes(data)[start:stop].tobytes() == data[start:stop]


@pytest.mark.parametrize("step", [2, -1])
def test_slice_with_step_raises(pool, step):
    buf = pool.from_bytes(b"0123456789")
    with pytest.raises(ValueError, match=f"step.*{step}"):
        buf[::step]
    with pytest.raises(ValueError, match=f"step.*{step}"):
        buf[::step] = b"01234"


@pytest.mark.parametrize("index", [0, 2, -1, -3])
def test_index_inside_is_that_of_bytes(pool, index):
    assert pool.from_bytes(b"\x00\x7f\xff")[index] == b"\x00\x7f\xff"[index]


@pytest.mark.parametrize("index", [3, -4, 2**31, 2**70, -(2**70)])
def test_index_outside_raises(pool, index):
    buf = pool.from_bytes(b"abc")
    with pytest.raises(IndexError):
        buf[index]
    with pytest.raises(IndexError):
        buf[index] = 0


@pytest.mark.parametrize("index", ["0", 0.0, None, b"a", (0, 1)])
def test_index_of_other_type_raises(pool, index):
    buf = pool.from_bytes(b"abc")
    with pytest.raises(TypeError):
        buf[index]
    with pytest.raises(TypeError):
        buf[index] = 0


def test_iteration_gives_integers(pool):
    buf = pool.from_bytes(b"\x00\xff\x80")
    assert (list(buf), list(reversed(buf))) == ([0, 255, 128], [128, 255, 0])


def test_contains_byte_or_bytes(pool):
    buf = pool.from_bytes(b"hello")
    assert ord("h") in buf and b"ell" in buf and buf[1:3] in buf
    assert 0 not in buf and b"elf" not in buf
    with pytest.raises(ValueError, match="256"):
        256 in buf  # noqa: B015


# --- assignment -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [
    b"abcd", bytearray(b"abcd"), memoryview(b"abcd"), array.array("B", b"abcd"), array.array("H", b"abcd"),
])
def test_slice_assignment_takes_any_bytes_like(pool, source):
    buf = pool.from_bytes(b"012345")
    buf[1:5] = source
    assert buf == b"0abcd5"


def test_slice_assignment_takes_buffer_of_other_pool(pool, make_pool):
    buf = pool.from_bytes(b"012345")
    buf[-2:] = make_pool().from_bytes(b"xy")
    assert buf == b"0123xy"


@pytest.mark.parametrize("source, target", [
    (slice(0, 6), slice(2, 8)), (slice(2, 8), slice(0, 6)), (slice(0, 8), slice(0, 8)),
])
def test_slice_assignment_overlapping_moves(pool, source, target):
    buf, model = pool.from_bytes(b"01234567"), bytearray(b"01234567")
    buf[target] = buf[source]
    model[target] = bytes(model[source])
    assert buf == model


@pytest.mark.parametrize("source", [b"", b"abc", b"abcde"])
def test_slice_assignment_of_other_size_raises_and_changes_nothing(pool, source):
    buf = pool.from_bytes(b"012345")
    with pytest.raises(ValueError, match=f"{len(source)} bytes.*4"):
        buf[1:5] = source
    assert buf == b"012345"


@pytest.mark.parametrize("source", ["abcd", 5, None, [1, 2, 3, 4]])
def test_slice_assignment_of_no_bytes_like_raises(pool, source):
    buf = pool.from_bytes(b"012345")
    with pytest.raises(TypeError):
        buf[1:5] = source
    assert buf == b"012345"


@pytest.mark.parametrize("value, error", [
    (256, ValueError), (-1, ValueError), (2**70, ValueError),
    (1.0, TypeError), (b"a", TypeError), (None, TypeError),
])
def test_byte_assignment_of_bad_value_raises_and_changes_nothing(pool, value, error):
    buf = pool.from_bytes(b"abc")
    with pytest.raises(error):
        buf[1] = value
    assert buf == b"abc"


def test_deletion_of_bytes_raises(pool):
    buf = pool.from_bytes(b"abc")
    with pytest.raises(TypeError):
        del buf[0]
    with pytest.raises(TypeError):
        del buf[0:1]


# --- comparison and hash --------------------------------------------------------------------------------


@pytest.mark.parametrize("other", [b"", b"abc", b"abd", b"ab", b"abcd", b"\xff", b"ABC"])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, poolio.from_bytes])
def test_comparison_orders_as_bytes(pool, other, kind):
    data, wrapped = b"abc", kind(other)
    buf = pool.from_bytes(data)
    assert (buf == wrapped, buf != wrapped) == (data == other, data != other)
    assert (buf < wrapped, buf <= wrapped) == (data < other, data <= other)
    assert (buf > wrapped, buf >= wrapped) == (data > other, data >= other)
    assert (wrapped == buf) == (other == data)


@pytest.mark.parametrize("other", ["abc", 5, None, [97, 98, 99]])
def test_comparison_with_no_bytes_like_is_unequal_and_unordered(pool, other):
    buf = pool.from_bytes(b"abc")
    assert (buf == other, buf != other) == (False, True)
    with pytest.raises(TypeError):
        buf < other  # noqa: B015


def test_comparison_with_scattered_view_does_not_raise(pool):
    scattered = memoryview(b"a-b-c")[::2]
    assert (bytearray(b"xyz") == scattered) is False
    assert (pool.from_bytes(b"xyz") == scattered) is False


def test_hash_of_frozen_equals_that_of_bytes(pool):
    buf = pool.from_bytes(b"key").freeze()
    assert hash(buf) == hash(b"key") == hash(buf[:])
    assert {b"key": 1}[buf] == 1
    assert hash(pool.alloc(0).freeze()) == hash(b"")


def test_hash_of_whole_frozen_buffer_is_computed_once(pool):
    buf = pool.alloc_unpooled(64)
    address = address_of(buf)
    first = hash(buf.freeze())
    ctypes.memset(address, 1, 64)                       # behind its back: a hash made now would be another one
    assert hash(buf) == hash(buf[:]) == first
    assert hash(buf[1:]) == hash(b"\1" * 63)            # a slice's is made each time


def test_buffer_object_is_no_larger_than_48_bytes():
    assert poolio.Buffer.__basicsize__ <= 6 * struct.calcsize("P")


@pytest.mark.parametrize("one, other, same", [
    (b"Content-Length", b"content-length", True), (b"", b"", True), (b"abc", b"abd", False), (b"abc", b"ab", False),
    (b"@[`{", b"`{@[", False), (b"\xc4", b"\xe4", False), (b"aZ", b"Az", True), (b"k", b"\xe2\x84\xaa", False),
])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, poolio.from_bytes])
def test_eq_ignore_ascii_case_is_that_of_lowered_bytes(pool, one, other, same, kind):
    assert pool.from_bytes(one).eq_ignore_ascii_case(kind(other)) is same
    assert (one.lower() == other.lower()) is same


def test_eq_ignore_ascii_case_of_every_two_bytes(pool):
    for one, other in itertools.product(range(256), repeat=2):
        pair = bytes([one]), bytes([other])
        assert pool.from_bytes(pair[0]).eq_ignore_ascii_case(pair[1]) == (pair[0].lower() == pair[1].lower())


@pytest.mark.parametrize("other", ["abc", 5, None])
def test_eq_ignore_ascii_case_of_no_bytes_like_raises(pool, other):
    with pytest.raises(TypeError):
        pool.from_bytes(b"abc").eq_ignore_ascii_case(other)


def test_hash_of_writable_raises(pool):
    with pytest.raises(TypeError, match="freeze"):
        hash(pool.from_bytes(b"key"))


# --- conversion ---------------------------------------------------------------------------------------------


def test_conversions_copy_all_bytes(pool):
    data = bytes(range(256))
    buf = pool.from_bytes(data)
    assert data == bytes(buf) == buf.tobytes() == bytearray(buf) == b"".join([buf])
    assert int.from_bytes(buf[:2], "big") == 1


def test_struct_packs_and_unpacks_in_place(pool):
    buf = pool.alloc(16)
    struct.pack_into(">IH", buf, 2, 0x01020304, 0x0506)
    assert buf[2:8] == bytes(range(1, 7))
    assert struct.unpack_from(">IH", buf, 2) == (0x01020304, 0x0506)


def test_re_searches_and_groups(pool):
    match = re.search(rb"(\w+): (\w+)\r\n", pool.from_bytes(b"GET\r\nHost: here\r\n"))
    assert match.groups() == (b"Host", b"here")


@pytest.mark.parametrize("data, arguments", [
    (b"text", ()), ("größe".encode(), ()), ("größe".encode("latin-1"), ("latin-1",)), (b"a\xffb", ("utf-8", "replace")),
    ("wide".encode("utf-16"), ("utf-16",)), (b"", ()), (b"a\xffb", ("ascii", "ignore")),
])
def test_decode_is_that_of_bytes(pool, data, arguments):
    assert pool.from_bytes(data).decode(*arguments) == data.decode(*arguments)


def test_decode_takes_keywords_and_raises_as_bytes_does(pool):
    buf = pool.from_bytes(b"a\xff")
    assert buf.decode(encoding="ascii", errors="ignore") == "a"
    with pytest.raises(UnicodeDecodeError, match="position 1"):
        buf.decode()
    with pytest.raises(LookupError):
        buf.decode("no such codec")


@pytest.mark.parametrize("arguments", [(), (":",), ("-", 2), (b"_", -3)])
def test_hex_is_that_of_bytes(pool, arguments):
    data = bytes(range(0, 256, 17))
    assert pool.from_bytes(data).hex(*arguments) == data.hex(*arguments)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("frozen", [False, True])
def test_pickle_keeps_bytes_and_frozenness(pool, protocol, frozen):
    buf = pool.from_bytes(b"abc")
    if frozen:
        buf.freeze()
    again = pickle.loads(pickle.dumps(buf, protocol))
    assert (again, again.readonly, type(again)) == (b"abc", frozen, poolio.Buffer)
    assert again.pool is poolio.default_pool()


def test_pickle_out_of_band_holds_no_bytes(pool):
    buf, taken = pool.from_bytes(b"abc" * 1000), []
    data = pickle.dumps(buf, 5, buffer_callback=taken.append)
    assert (len(data) < 200, bytes(taken[0].raw())) == (True, b"abc" * 1000)
    again = pickle.loads(data, buffers=[bytearray(b"xyz")])
    assert (again, again.readonly) == (b"xyz", False)


def test_pickle_out_of_band_buffer_is_shared(pool):
    data = pickle.dumps(pool.from_bytes(b"abc"), 5, buffer_callback=lambda _: None)
    given = pool.from_bytes(b"xyz")
    again = pickle.loads(data, buffers=[given])
    again[0] = ord("w")
    assert (given, again.slab) == (b"wyz", given.slab)


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy])
def test_copy_is_writable_and_from_the_same_pool(pool, make):
    buf = pool.from_bytes(b"abc").freeze()
    other = make(buf)
    other[0] = ord("x")
    assert (other, buf, other.pool) == (b"xbc", b"abc", pool)


# --- searching ------------------------------------------------------------------------------------------------

TEXTS = (b"", b"a", b"abcabcab", b"aaaaaaaaaa", b"\r\n\r\n", b"GET / HTTP/1.1\r\nA: x\r\n\r\n", bytes(range(256)) * 3)
NEEDLES = (b"", b"a", b"ab", b"abc", b"aa", b"\n", b"\r\n", b"\r\n\r\n", b"ca", b"\xff\x00", b"x" * 300)
BOUNDS = ((), (0,), (1,), (None, -1), (2, 5), (-4,), (-100, 100), (5, 2), (10, 20), (300,), (2**70,), (-(2**70), 2**70))
METHODS = ("find", "rfind", "count", "startswith", "endswith")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text[:12]))
def test_search_is_that_of_bytes(pool, method, text):
    buf = pool.from_bytes(text)
    for needle in NEEDLES:
        for bounds in BOUNDS:
            expected = getattr(text, method)(needle, *bounds)
            assert getattr(buf, method)(needle, *bounds) == expected, (needle, bounds)


@pytest.mark.parametrize("method, same", [("index", "find"), ("rindex", "rfind")])
def test_index_is_find_that_raises(pool, method, same):
    buf = pool.from_bytes(b"abcabc")
    assert getattr(buf, method)(b"bc") == getattr(buf, same)(b"bc")
    with pytest.raises(ValueError, match="not in"):
        getattr(buf, method)(b"x")


@pytest.mark.parametrize("kind", [bytearray, memoryview, poolio.from_bytes, lambda data: array.array("B", data)])
def test_search_for_any_bytes_like(pool, kind):
    buf = pool.from_bytes(b"hello world")
    assert (buf.find(kind(b"wor")), buf.count(kind(b"l")), kind(b"lo w") in buf) == (6, 3, True)
    assert buf.startswith(kind(b"hell")) and buf.endswith(kind(b"rld"))


def test_search_for_byte_as_integer(pool):
    buf = pool.from_bytes(b"abca\xff")
    assert (buf.find(97), buf.rfind(97), buf.count(97), buf.find(255), buf.find(0)) == (0, 3, 2, 4, -1)


@pytest.mark.parametrize("method", ["find", "rfind", "index", "rindex", "count"])
@pytest.mark.parametrize("wrong, error", [(256, ValueError), (-1, ValueError), ("a", TypeError), (None, TypeError),
                                          (1.0, TypeError)])
def test_search_for_something_else_raises(pool, method, wrong, error):
    with pytest.raises(error):
        getattr(pool.from_bytes(b"abc"), method)(wrong)


def test_search_for_an_array_of_numpy_is_for_its_bytes(pool):
    buf, array = pool.from_bytes(b"hello world"), numpy.frombuffer(b"lo", numpy.uint8)
    assert (buf.find(array), buf.count(array), array in buf, buf.split(array)) == (3, 1, True, [b"hel", b" world"])
    assert buf[3:].startswith(array) and buf[:5].endswith((b"x", array))
    assert numpy.uint8(104) in buf
    assert buf.fill(array) == (b"lo" * 6)[:11]


@pytest.mark.parametrize("method", ["startswith", "endswith"])
def test_ends_in_tuples_of_tuples_raise_as_for_bytes(pool, method):
    nested = (b"x",)
    for _ in range(100_000):
        nested = (nested,)
    with pytest.raises(TypeError, match="tuple"):
        getattr(pool.from_bytes(b"abc"), method)(nested)
    while nested != (b"x",):       # one level at a time: dropping all at once is deep, too
        nested = nested[0]


@pytest.mark.parametrize("method", ["startswith", "endswith"])
def test_ends_take_a_tuple_and_refuse_integers(pool, method):
    buf = pool.from_bytes(b"abcab")
    assert getattr(buf, method)((b"x", b"ab"))
    assert not getattr(buf, method)(())
    for wrong in (97, "ab", [b"ab"], (b"x", 97)):
        with pytest.raises(TypeError):
            getattr(buf, method)(wrong)


@pytest.mark.parametrize("repeated", [b"\r", b"\n", b"\r\r\n"])
def test_find_in_text_full_of_false_starts(pool, repeated):
    text = repeated * 20_000
    for needle in (b"\r\n", b"\n\r", b"\r" * 50 + b"\n", b"\r\r\n\n"):
        assert pool.from_bytes(text).find(needle) == text.find(needle)
        assert pool.from_bytes(text + needle).find(needle) == (text + needle).find(needle)


def test_find_never_looks_beyond_its_range(pool):
    whole = pool.from_bytes(b"abcXYZdef")
    part = whole[0:5]
    assert (part.find(b"XYZ"), part.find(b"Z"), part.endswith(b"XY"), part.rfind(b"Yd")) == (-1, -1, True, -1)


# --- splitting --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sep", [b",", b"\r\n", b"aa", b"x" * 300])
@pytest.mark.parametrize("text", [b"", b",", b"a,b,,c", b"\r\na\r\n\r\n", b"aaaaa", b"none"])
@pytest.mark.parametrize("maxsplit", [-1, 0, 1, 2, 2**70])
def test_split_is_that_of_bytes(pool, text, sep, maxsplit):
    assert pool.from_bytes(text).split(sep, maxsplit) == text.split(sep, min(maxsplit, 2**62))


@pytest.mark.parametrize("text", [b"", b"  ", b"a", b" a\tb\n\x0b\x0c\r c  ", b"a  b\x1cc\x00"])
@pytest.mark.parametrize("maxsplit", [-1, 0, 1, 2])
def test_split_at_whitespace_is_that_of_bytes(pool, text, maxsplit):
    assert pool.from_bytes(text).split(maxsplit=maxsplit) == text.split(maxsplit=maxsplit)


def test_split_pieces_share_the_memory(pool):
    buf = pool.from_bytes(b"key=value")
    key, value = buf.split(b"=")
    value[:] = b"VALUE"
    assert (buf, key.slab, pool.statistics().live_allocations) == (b"key=VALUE", buf.slab, 1)


@pytest.mark.parametrize("sep, error", [(b"", ValueError), (44, TypeError), (",", TypeError)])
def test_split_at_something_else_raises(pool, sep, error):
    with pytest.raises(error):
        pool.from_bytes(b"a,b").split(sep)


# --- copying and filling ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset, copied, result", [(0, 4, b"abcd......"), (6, 4, b"......abcd"), (8, 2, b"........ab"),
                                                    (10, 0, b"..........")])
def test_copy_into_copies_what_fits(pool, offset, copied, result):
    target = bytearray(b"." * 10)
    assert pool.from_bytes(b"abcd").copy_into(target, offset) == copied
    assert target == result


@pytest.mark.parametrize("start, offset", [(0, 2), (2, 0), (0, 0)])
def test_copy_into_itself_moves(pool, start, offset):
    buf, model = pool.from_bytes(b"01234567"), bytearray(b"01234567")
    buf[start:start + 6].copy_into(buf, offset)
    model[offset:offset + 6] = model[start:start + 6]
    assert buf == model


@pytest.mark.parametrize("target, offset, error", [
    (bytearray(3), 4, IndexError), (bytearray(3), -1, IndexError), (b"abc", 0, BufferError), ("abc", 0, TypeError),
])
def test_copy_into_what_cannot_hold_it_raises(pool, target, offset, error):
    with pytest.raises(error):
        pool.from_bytes(b"abc").copy_into(target, offset)


def test_copy_into_frozen_raises(pool):
    target = pool.from_bytes(b"abc").freeze()
    with pytest.raises(BufferError, match="frozen"):
        pool.from_bytes(b"xyz").copy_into(target)
    assert target == b"abc"


@pytest.mark.parametrize("value, pattern", [(0, b"\0"), (255, b"\xff"), (b"a", b"a"), (b"abc", b"abc"),
                                            (memoryview(b"xy"), b"xy"), (b"longer than it all", b"longer than it all")])
@pytest.mark.parametrize("bounds", [(), (3,), (2, 7), (-3, None), (5, 2), (None, 100)])
def test_fill_repeats_pattern(pool, value, pattern, bounds):
    buf, model = pool.from_bytes(b"0123456789"), bytearray(b"0123456789")
    assert buf.fill(value, *bounds) is buf
    place = range(10)[slice(*bounds)] if len(bounds) == 2 else range(10)[bounds[0] if bounds else 0:]
    for count, index in enumerate(place):
        model[index] = pattern[count % len(pattern)]
    assert buf == model


def test_fill_with_part_of_itself(pool):
    buf = pool.from_bytes(b"0123456789")
    buf.fill(buf[7:10])
    assert buf == b"7897897897"


@pytest.mark.parametrize("value, error", [(b"", ValueError), (256, ValueError), (-1, ValueError), ("a", TypeError),
                                          (None, TypeError), (0.5, TypeError)])
def test_fill_with_something_else_raises_and_changes_nothing(pool, value, error):
    buf = pool.from_bytes(b"abc")
    with pytest.raises(error):
        buf.fill(value)
    assert buf == b"abc"


def test_fill_frozen_raises(pool):
    with pytest.raises(TypeError, match="frozen"):
        pool.from_bytes(b"abc").freeze().fill(0)
