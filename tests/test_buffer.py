"""Buffer: slices, the buffer protocol, comparison, freezing, release and detach, and hostile objects."""

import array
import copy
import gc
import pickle
import struct
import subprocess
import sys
import textwrap

import pytest

import poolio

OPERATIONS = {
    "len": len,
    "nbytes": lambda buf: buf.nbytes,
    "offset": lambda buf: buf.offset,
    "slab": lambda buf: buf.slab,
    "readonly": lambda buf: buf.readonly,
    "index": lambda buf: buf[0],
    "slice": lambda buf: buf[0:1],
    "empty slice": lambda buf: buf[0:0],
    "iteration": list,
    "contains": lambda buf: 1 in buf,
    "contains bytes": lambda buf: b"a" in buf,
    "byte assignment": lambda buf: buf.__setitem__(0, 1),
    "slice assignment": lambda buf: buf.__setitem__(slice(0, 1), b"x"),
    "eq": lambda buf: buf == b"abc",
    "ne": lambda buf: buf != b"abc",
    "lt": lambda buf: buf < b"abc",
    "ge": lambda buf: buf >= b"abc",
    "hash": hash,
    "tobytes": lambda buf: buf.tobytes(),
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "with": lambda buf: buf.__enter__(),
    "freeze": lambda buf: buf.freeze(),
    "detach": lambda buf: buf.detach(),
    "from_bytes": poolio.from_bytes,
}


class Calls:
    """An index that runs code of its own before it answers."""

    def __init__(self, action, answer=0):
        self.action, self.answer = action, answer

    def __index__(self):
        self.action()
        return self.answer


def survives(code):
    """Run code in a process of its own: what could crash must not take the other tests along."""
    code = "import poolio\n" + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-X", "faulthandler", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


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


# --- the buffer protocol --------------------------------------------------------------------------------


def test_memoryview_is_flat_bytes_and_writes_through(pool):
    buf = pool.from_bytes(b"abcd")
    view = memoryview(buf)
    assert (view.format, view.itemsize, view.ndim, view.shape, view.strides) == ("B", 1, 1, (4,), (1,))
    assert (view.nbytes, view.readonly, view.c_contiguous, view.obj) == (4, False, True, buf)
    view[1:3] = b"XY"
    assert buf == b"aXYd"


def test_memoryview_of_slice_shows_its_range_alone(pool):
    parent = pool.from_bytes(b"0123456789")
    view = memoryview(parent[3:6])
    assert (bytes(view), bytes(view.obj)) == (b"345", b"345")


def test_memoryview_outlives_buffer(pool):
    view = memoryview(pool.from_bytes(b"abcd"))
    other = pool.from_bytes(b"xxxx")
    assert (bytes(view), other) == (b"abcd", b"xxxx")
    view.release()
    assert pool.statistics().live_bytes == 4


def test_memoryview_cast_and_subview_count_as_views(pool):
    buf = pool.from_bytes(b"abcdefgh")
    part = memoryview(buf).cast("I")[1:]
    with pytest.raises(BufferError):
        buf.release()
    part.release()
    del part
    buf.release()


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


def test_numpy_array_shares_memory_and_counts_as_view(pool):
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    buf = pool.alloc(8)
    numbers = numpy.frombuffer(buf, dtype="<u2")
    numbers[1] = 0x0102
    assert buf[2:4] == b"\x02\x01"
    with pytest.raises(BufferError):
        buf.release()
    buf[0:2] = numpy.array([0x0304], dtype="<u2")
    assert numbers[0] == 0x0304


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


def test_hash_of_writable_raises(pool):
    with pytest.raises(TypeError, match="freeze"):
        hash(pool.from_bytes(b"key"))


# --- freezing -------------------------------------------------------------------------------------------


def test_freeze_returns_itself_and_refuses_assignment(pool):
    buf = pool.from_bytes(b"abc")
    assert buf.freeze() is buf
    assert buf.readonly
    with pytest.raises(TypeError, match="frozen"):
        buf[0] = 1
    with pytest.raises(TypeError, match="frozen"):
        buf[0:1] = b"x"
    assert buf.freeze() == b"abc"


@pytest.mark.parametrize("through", ["root", "slice"])
def test_freeze_holds_for_whole_allocation(pool, through):
    root = pool.from_bytes(b"0123456789")
    early = root[0:2]
    (root if through == "root" else early).freeze()
    late = root[4:6]
    assert root.readonly and early.readonly and late.readonly
    for buf in (root, early, late):
        with pytest.raises(TypeError):
            buf[0] = 1


def test_freeze_leaves_neighbour_writable(pool):
    first, second = pool.from_bytes(b"a"), pool.from_bytes(b"b")
    first.freeze()
    second[0] = ord("c")
    assert second == b"c"


@pytest.mark.parametrize("viewed, frozen", [
    ("root", "root"), ("root", "piece"), ("piece", "root"), ("piece", "other"),
])
def test_freeze_under_writable_view_raises_until_it_ends(pool, viewed, frozen):
    root = pool.from_bytes(b"0123456789")
    buffers = {"root": root, "piece": root[2:4], "other": root[6:8]}
    view = memoryview(buffers[viewed])
    with pytest.raises(BufferError, match="view"):
        buffers[frozen].freeze()
    assert not root.readonly
    view.release()
    assert buffers[frozen].freeze().readonly


def test_freeze_under_view_of_dropped_slice_raises(pool):
    root = pool.from_bytes(b"0123456789")
    view = memoryview(root[2:4])
    with pytest.raises(BufferError):
        root.freeze()
    del view
    root.freeze()


def test_frozen_views_are_readonly(pool):
    buf = pool.from_bytes(b"abc").freeze()
    view = memoryview(buf)
    assert view.readonly
    with pytest.raises(TypeError):
        view[0] = 1
    with pytest.raises((BufferError, TypeError)):
        struct.pack_into("B", buf, 0, 1)
    assert hash(view) == hash(b"abc")


def test_frozen_with_view_alive_freezes_again(pool):
    buf = pool.from_bytes(b"abc").freeze()
    view = memoryview(buf)
    assert buf[1:].freeze() == b"bc"
    assert bytes(view) == b"abc"


def test_freeze_ends_with_its_allocation(pool):
    pool.from_bytes(b"abc").freeze().release()
    again = pool.alloc(3)
    assert (again.readonly, again.offset) == (False, 0)


# --- release and detach ---------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_use_after_release_raises(pool, operation):
    buf = pool.from_bytes(b"abc")
    buf.release()
    with pytest.raises(poolio.BufferReleased):
        operation(buf)


def test_use_after_release_of_frozen_slice_raises(pool):
    root = pool.from_bytes(b"abc").freeze()
    piece = root[1:]
    piece.release()
    with pytest.raises(ValueError):
        hash(piece)
    assert root == b"abc"


def test_released_still_tells_what_it_is(pool):
    buf = pool.from_bytes(b"abc")
    assert not buf.released
    buf.release()
    assert (buf.released, buf.pool, repr(buf)) == (True, pool, "<poolio.Buffer released>")


def test_release_twice_does_nothing(pool):
    buf, other = pool.from_bytes(b"abc"), pool.from_bytes(b"xyz")
    buf.release()
    buf.release()
    pool.check()
    assert pool.statistics().live_buffers == 1
    assert other == b"xyz"


def test_release_under_view_raises_and_loses_nothing(pool):
    buf = pool.from_bytes(b"abc")
    view = memoryview(buf)
    with pytest.raises(BufferError, match=r"1 view"):
        buf.release()
    assert (buf.released, buf, bytes(view)) == (False, b"abc", b"abc")
    view.release()
    buf.release()
    assert pool.statistics().live_bytes == 0


def test_release_under_view_of_its_slice_is_allowed(pool):
    root = pool.from_bytes(b"0123456789")
    view = memoryview(root[2:4])
    root.release()
    assert bytes(view) == b"23"


def test_release_of_slice_leaves_parent(pool):
    root = pool.from_bytes(b"0123456789")
    piece = root[2:4]
    piece.release()
    assert root == b"0123456789"
    assert pool.statistics().live_buffers == 1


def test_release_of_last_slice_gives_memory_back(pool):
    piece = pool.from_bytes(b"0123456789")[2:4]
    piece.release()
    assert pool.statistics().live_bytes == 0
    assert piece.released


def test_with_releases_at_its_end(pool):
    with pool.from_bytes(b"abc") as buf:
        assert buf == b"abc"
    assert buf.released
    assert pool.statistics().live_bytes == 0


def test_with_left_by_exception_releases_and_passes_it_on(pool):
    with pytest.raises(KeyError), pool.from_bytes(b"abc") as buf:
        raise KeyError
    assert buf.released


def test_with_left_under_view_raises(pool):
    with pytest.raises(BufferError), pool.from_bytes(b"abc") as buf:
        view = memoryview(buf)
    assert (buf.released, bytes(view)) == (False, b"abc")


def test_detach_is_frozen_copy_of_own_size_and_releases(pool):
    root = pool.from_bytes(b"x" * 1000)
    piece = root[10:13]
    kept = piece.detach()
    assert (kept, kept.readonly, kept.slab, kept.pool) == (b"xxx", True, None, pool)
    assert (piece.released, root.released, root.readonly) == (True, False, False)
    figures = pool.statistics()
    assert (figures.unpooled_bytes, figures.copied_bytes) == (3, 3)


def test_detach_unpins_slab(pool):
    kept = pool.from_bytes(b"x" * 1000)[10:13].detach()
    assert pool.statistics().live_bytes == 3
    assert pool.trim() > 0
    assert kept == b"xxx"


def test_detach_under_view_raises_and_loses_nothing(pool):
    buf = pool.from_bytes(b"abc")
    view = memoryview(buf)
    with pytest.raises(BufferError, match="view"):
        buf.detach()
    assert (buf, bytes(view)) == (b"abc", b"abc")
    assert pool.statistics().copied_bytes == 0


def test_detach_of_empty_and_of_detached(pool):
    assert pool.alloc(0).detach() == b""
    assert pool.from_bytes(b"abc").detach().detach() == b"abc"


# --- objects that misbehave -----------------------------------------------------------------------------


def test_buffer_made_by_user_raises():
    with pytest.raises(TypeError, match="made by a pool"):
        poolio.Buffer()


def test_buffer_subclassed_raises():
    with pytest.raises(TypeError):
        type("Mine", (poolio.Buffer,), {})


@pytest.mark.parametrize("operation", [
    "len(buf)", "buf[0:0]", "buf[0:1][0:0]", "buf[0]", "bytes(buf)", "memoryview(buf)", "buf == b''",
    "buf < b'a'", "repr(buf)", "hash(buf.freeze())", "buf.detach()", "buf.release()", "buf.offset",
    "buf.slab", "list(buf)", "buf.__setitem__(slice(0, 0), b'')", "buf.__setitem__(0, 1)",
    "poolio.from_bytes(buf)", "0 in buf",
])
def test_buffer_by_new_alone_is_harmless(operation):
    survives(f"""
        import contextlib, ctypes, gc
        def surroundings():
            return ctypes.string_at(id(None) + 32, 1024)
        with contextlib.suppress(TypeError, ValueError, IndexError):
            buf = poolio.Buffer.__new__(poolio.Buffer)
            before = surroundings()
            with contextlib.suppress(TypeError, ValueError, IndexError):
                {operation}
            assert surroundings() == before, "something was written through None"
            del buf
        gc.collect()
        poolio.default_pool().check()
    """)


def test_buffer_copied_or_pickled_raises(pool):
    buf = pool.from_bytes(b"abc")
    with pytest.raises(TypeError):
        copy.copy(buf)
    with pytest.raises(TypeError):
        pickle.dumps(buf)


def test_index_releasing_buffer_raises(pool):
    buf = pool.from_bytes(b"abc")
    with pytest.raises(poolio.BufferReleased):
        buf[Calls(buf.release)]


@pytest.mark.parametrize("zeroing", ["never", "on_release"])
@pytest.mark.parametrize("key", ["slice(evil, None)", "slice(None, evil)", "slice(0, 1, evil)"])
def test_slice_bound_releasing_buffer_raises(zeroing, key):
    survives(f"""
        class Evil:
            def __index__(self):
                buf.release()
                return 1
        evil = Evil()
        pool = poolio.Pool(zeroing={zeroing!r})
        buf = pool.from_bytes(b"abc")
        try:
            buf[{key}]
        except poolio.BufferReleased:
            pass
        else:
            raise AssertionError("a slice of released memory")
        pool.check()
        assert pool.statistics().live_buffers == 0
    """)


def test_assigned_byte_releasing_buffer_raises(pool):
    buf, other = pool.from_bytes(b"abc"), pool.from_bytes(b"xyz")
    with pytest.raises(poolio.BufferReleased):
        buf[0] = Calls(buf.release, 65)
    assert other == b"xyz"


def test_assigned_byte_freezing_buffer_raises(pool):
    buf = pool.from_bytes(b"abc")
    with pytest.raises(TypeError, match="frozen"):
        buf[0] = Calls(buf.freeze, 65)
    assert buf == b"abc"


@pytest.mark.parametrize("index", ["start", "stop"])
def test_assigned_slice_bound_releasing_buffer_raises(pool, index):
    buf = pool.from_bytes(b"abc")
    evil = Calls(buf.release, 1)
    key = slice(evil, 3) if index == "start" else slice(0, evil)
    with pytest.raises(poolio.BufferReleased):
        buf[key] = b"xy" if index == "start" else b"x"


def test_contained_value_releasing_buffer_raises(pool):
    buf = pool.from_bytes(b"abc")
    with pytest.raises(poolio.BufferReleased):
        Calls(buf.release, 97) in buf  # noqa: B015


@pytest.mark.skipif(sys.version_info < (3, 12), reason="__buffer__ in Python classes came with 3.12")
@pytest.mark.parametrize("action, error", [("release", poolio.BufferReleased), ("freeze", TypeError)])
def test_assigned_source_changing_buffer_raises(pool, action, error):
    class Source:
        def __buffer__(self, flags):
            getattr(buf, action)()
            return memoryview(b"xyz")
    buf = pool.from_bytes(b"abc")
    with pytest.raises(error):
        buf[:] = Source()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="__buffer__ in Python classes came with 3.12")
def test_compared_object_releasing_buffer_raises(pool):
    class Other:
        def __buffer__(self, flags):
            buf.release()
            return memoryview(b"abc")
    buf = pool.from_bytes(b"abc")
    with pytest.raises(poolio.BufferReleased):
        buf == Other()  # noqa: B015
