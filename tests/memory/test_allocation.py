"""Holder: views, freezing, release and detach, in every order, across threads, forks and dropped pools."""

import collections.abc
import copy
import ctypes
import gc
import itertools
import os
import pathlib
import pickle
import socket
import struct
import subprocess
import sys
import threading
import time
import warnings

import numpy
import pytest
from kit.memory import address_of, look

import poolio
from poolio.memory.slab import BUILD_VARIANT

OPERATIONS = {
    "len": len,
    "nbytes": lambda buf: buf.nbytes,
    "offset": lambda buf: buf.offset,
    "slab": lambda buf: buf.slab,
    "pool": lambda buf: buf.pool,
    "allocated_at": lambda buf: buf.allocated_at,
    "find": lambda buf: buf.find(b"a"),
    "count": lambda buf: buf.count(b"a"),
    "startswith": lambda buf: buf.startswith(()),
    "endswith": lambda buf: buf.endswith(b""),
    "split": lambda buf: buf.split(b"a"),
    "split whitespace": lambda buf: buf.split(),
    "decode": lambda buf: buf.decode(),
    "decode latin-1": lambda buf: buf.decode("latin-1"),
    "hex": lambda buf: buf.hex(),
    "pickle": pickle.dumps,
    "pickle 5": lambda buf: pickle.dumps(buf, 5),
    "copy": copy.copy,
    "copy_into": lambda buf: buf.copy_into(bytearray(3)),
    "fill": lambda buf: buf.fill(0),
    "concat": lambda buf: poolio.concat([buf]),
    "swap16": lambda buf: buf.swap16(),
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


def test_numpy_array_shares_memory_and_counts_as_view(pool):
    buf = pool.alloc(8)
    numbers = numpy.frombuffer(buf, dtype="<u2")
    numbers[1] = 0x0102
    assert buf[2:4] == b"\x02\x01"
    with pytest.raises(BufferError):
        buf.release()
    buf[0:2] = numpy.array([0x0304], dtype="<u2")
    assert numbers[0] == 0x0304


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


def test_buffer_made_by_user_raises():
    with pytest.raises(TypeError, match="made by a pool"):
        poolio.Buffer()


def test_buffer_subclassed_raises():
    with pytest.raises(TypeError):
        type("Mine", (poolio.Buffer,), {})


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_buffer_by_new_alone_is_as_if_released(operation):
    buf = poolio.Buffer.__new__(poolio.Buffer)
    with pytest.raises(poolio.BufferReleased):
        operation(buf)
    buf.release()
    assert (buf.released, repr(buf)) == (True, "<poolio.Buffer released>")


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
    assert (buf.released, repr(buf)) == (True, "<poolio.Buffer released>")


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


@pytest.mark.parametrize("make", [
    lambda pool: pool.alloc_unpooled(5), lambda pool: pool.from_bytes(b"x" * 500)[:5].detach(),
    lambda pool: pool.alloc_unpooled(5).freeze()[:], lambda pool: pool.alloc_unpooled(0),
])
def test_detach_of_memory_of_its_own_copies_nothing(pool, make):
    buf = make(pool)
    content, before = bytes(buf), pool.statistics()
    kept = buf.detach()
    assert (kept, kept.readonly, buf.released) == (content, True, True)
    assert pool.statistics() == before


def test_detach_of_memory_that_others_may_write_to_is_a_copy(pool):
    buf = pool.alloc_unpooled(3)
    other = buf[:]
    kept = buf.detach()
    other[:] = b"abc"
    assert (kept, other.readonly, pool.statistics().copied_bytes) == (b"\0\0\0", False, 3)


def test_detach_of_part_of_unpooled_memory_is_a_copy(pool):
    kept = pool.alloc_unpooled(1000)[:3].detach()
    assert (kept, pool.statistics().unpooled_bytes) == (b"\0\0\0", 3)


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


# --- every order of dropping ----------------------------------------------------------------------------------

SECRET = bytes(range(1, 101))
HOLDERS = {
    "root": lambda root: root,
    "slice": lambda root: root[10:50],
    "slice of slice": lambda root: root[10:50][5:20],
    "view of slice": lambda root: memoryview(root[60:70]),
}
ORDERS = list(itertools.permutations(HOLDERS))


def assert_ended(pool, address, debugging):
    """What the allocation was is nobody's: not counted, and wiped or overwritten if the pool does so."""
    left = look(address, len(SECRET))
    if pool.zeroing == "on_release":
        assert left == bytes(len(SECRET))
    elif debugging:
        assert left == b"\xdd" * len(SECRET)


@pytest.mark.parametrize("how", ["dropped", "released"])
@pytest.mark.parametrize("state", ["writable", "frozen"])
@pytest.mark.parametrize("debugging", [False, True], ids=["plain", "debugging"])
def test_allocation_ends_with_its_last_holder_in_every_order(make_pool, monkeypatch, how, state, debugging):
    if debugging:
        monkeypatch.setenv("POOLIO_DEBUG", "1")
    for order, zeroing in itertools.product(ORDERS, ("never", "on_alloc", "on_release")):
        pool = make_pool(zeroing=zeroing)
        neighbour, root = pool.from_bytes(b"neighbour"), pool.from_bytes(SECRET)
        address = address_of(root)
        if state == "frozen":
            root.freeze()
        copied = root[:8].detach()
        holders = {name: make(root) for name, make in HOLDERS.items()}
        del root
        for name in order:
            assert look(address, len(SECRET)) == SECRET, (order, name)
            assert pool.statistics().live_allocations == 3
            holder = holders.pop(name)
            if how == "released":
                holder.release()
            del holder
        assert pool.statistics().live_allocations == 2
        assert_ended(pool, address, debugging)
        pool.check()
        assert (neighbour, copied) == (b"neighbour", SECRET[:8])


@pytest.mark.parametrize("order", list(itertools.permutations(["root", "slice", "view of slice"])))
def test_poison_comes_with_the_last_holder(pool, order):
    is_poisoned = getattr(ctypes.CDLL(None), "__asan_address_is_poisoned", None)
    if is_poisoned is None:
        pytest.skip("not a sanitized build: there is no poison to look at (make check VARIANT=sanitize)")
    neighbour, root = pool.from_bytes(b"neighbour"), pool.from_bytes(SECRET)
    address = address_of(root)
    holders = {name: HOLDERS[name](root) for name in order}
    del root
    for name in order:
        assert not is_poisoned(ctypes.c_void_p(address))
        del holders[name]
    assert is_poisoned(ctypes.c_void_p(address))
    assert neighbour == b"neighbour"


USE_AFTER_RELEASE = """
import ctypes, poolio
pool = poolio.Pool()
neighbour, buf = pool.from_bytes(b"neighbour"), pool.{make}(100)
address = ctypes.addressof(ctypes.c_char.from_buffer(buf))
assert ctypes.string_at(address, 100) == bytes(100)
buf.release()
ctypes.string_at(address, 100)
print("nobody noticed")
"""


@pytest.mark.skipif(BUILD_VARIANT != "sanitize", reason="needs a sanitized build: make check VARIANT=sanitize")
@pytest.mark.parametrize("make, caught", [("alloc", "use-after-poison"), ("alloc_unpooled", "heap-use-after-free")])
def test_use_after_release_is_caught_by_the_sanitizer(make, caught):
    done = subprocess.run([sys.executable, "-c", USE_AFTER_RELEASE.format(make=make)], capture_output=True, text=True)
    assert done.returncode != 0
    assert "nobody noticed" not in done.stdout
    assert f"AddressSanitizer: {caught}" in done.stderr


# --- threads, forks, pools ------------------------------------------------------------------------------------


def in_child(action):
    """Run action in a forked child; its result must be true. The child leaves without cleaning up after pytest."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)     # 3.12+: fork with threads
        child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if action() else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_fork_child_writes_are_its_own(pool):
    buf, piece = pool.from_bytes(b"parent"), pool.from_bytes(b"0123456789")[2:8]

    def child():
        buf[:] = b"child!"
        piece.release()
        more = [pool.from_bytes(b"x" * 70_000) for _ in range(10)]
        pool.check()
        return buf == b"child!" and len(more) == 10

    in_child(child)
    pool.check()
    assert (buf, piece) == (b"parent", b"234567")


def test_fork_in_child_everything_can_be_dropped_and_trimmed(pool):
    held = [pool.from_bytes(b"y" * size) for size in (1, 1000, 70_000, 5 << 20)] + [pool.alloc_unpooled(9)]
    view = memoryview(held[1])

    def child():
        view.release()
        held.clear()
        pool.check()
        return pool.statistics().live_bytes == 0 and pool.trim() > 0

    in_child(child)
    assert [len(buf) for buf in held] == [1, 1000, 70_000, 5 << 20, 9]
    assert bytes(view) == b"y" * 1000
    view.release()


def test_fork_while_a_thread_allocates_keeps_both_accounts(pool):
    stop, failures = threading.Event(), []

    def work():
        while not stop.is_set():
            held = [pool.from_bytes(b"t" * size) for size in (10, 5000, 70_000)]
            if [bytes(buf[:1]) for buf in held] != [b"t"] * 3:
                failures.append(held)

    def child():
        pool.check()
        return pool.from_bytes(b"child") == b"child"

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(20):
            in_child(child)
    finally:
        stop.set()
        thread.join()
    assert failures == []


def test_fork_during_recv_into_of_another_thread(pool):
    """The child has the room that a thread of the parent is receiving into, and goes on without that thread."""
    ours, theirs = socket.socketpair()
    buf = pool.alloc(100)
    thread = threading.Thread(target=ours.recv_into, args=(buf,))
    thread.start()
    wait_until_blocked(thread)

    def child():
        pool.check()
        return pool.from_bytes(b"child") == b"child" and bytes(buf) == bytes(100)

    in_child(child)
    theirs.send(b"late")
    thread.join()
    assert buf[:4] == b"late"
    ours.close()
    theirs.close()


def wait_until_blocked(thread):
    """Until the kernel says that the thread sleeps, ten times in a row: not on its way to the system call."""
    in_a_row = 0
    while in_a_row < 10:
        state = pathlib.Path(f"/proc/self/task/{thread.native_id}/stat").read_text().rpartition(")")[2].split()[0]
        in_a_row = in_a_row + 1 if state == "S" else 0
        time.sleep(0.001)


def test_release_under_a_view_of_another_thread_raises(pool):
    buf, views = pool.from_bytes(b"abc"), []
    thread = threading.Thread(target=lambda: views.append(memoryview(buf)))
    thread.start()
    thread.join()
    with pytest.raises(BufferError):
        buf.release()
    views.clear()
    buf.release()


def test_sizeof_buffers_share_the_allocation(pool):
    empty, buf = pool.alloc(0), pool.alloc(1000)
    assert sys.getsizeof(buf) - sys.getsizeof(empty) == 1000
    piece = buf[:3]
    assert sys.getsizeof(piece) == sys.getsizeof(buf)
    assert sys.getsizeof(buf) - sys.getsizeof(empty[:]) >= 500
    buf.release()
    assert sys.getsizeof(piece) - sys.getsizeof(pool.alloc(0)) == 1000
    assert sys.getsizeof(buf) == poolio.Buffer.__basicsize__


def test_buffer_has_no_garbage_collector_header(pool):
    assert not gc.is_tracked(pool.alloc(1))
    assert [kind for kind in poolio.Buffer.__mro__ if kind.__flags__ & 1 << 14] == []


@pytest.mark.skipif(sys.version_info < (3, 12), reason="collections.abc.Buffer came with 3.12")
def test_buffer_is_a_collections_abc_buffer(pool):
    assert isinstance(pool.alloc(1), collections.abc.Buffer)
