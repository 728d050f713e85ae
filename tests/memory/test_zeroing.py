"""Zeroing: what alloc and the zeroing modes promise, on memory dirtied first, and wiped memory looked at by address."""

import copy
import os
import pickle
import subprocess
import sys

import numpy
import pytest
from kit.memory import LARGEST_CLASS, SLAB, SMALL_SLAB, address_of, dirty, look, places_of

from poolio.memory.slab import BUILD_VARIANT

BOUNDARIES = (0, 1, 7, 8, 9, 4096, 16384, 65535, 65536, 65537, LARGEST_CLASS, LARGEST_CLASS + 1)
zeroing_modes = pytest.mark.parametrize("zeroing", ["on_alloc", "on_release"])


@pytest.mark.parametrize("size", BOUNDARIES)
def test_alloc_on_dirty_memory_is_zero(pool, size):
    dirty(pool, size)
    buf = pool.alloc(size)
    assert bytes(buf) == bytes(size)


def test_alloc_at_every_class_boundary_is_zero(make_pool, class_capacities):
    pool = make_pool(slab_size=SMALL_SLAB)
    for capacity in class_capacities(SMALL_SLAB):
        for size in (capacity - 1, capacity, capacity + 1):
            dirty(pool, size)
            assert bytes(pool.alloc(size)) == bytes(size)


def test_alloc_larger_than_what_was_dirtied_is_zero(pool):
    dirty(pool, 66_000)
    assert bytes(pool.alloc(80_000)) == bytes(80_000)
    dirty(pool, 10)
    assert bytes(pool.alloc(65536)) == bytes(65536)


def test_alloc_beside_a_dirty_neighbour_is_zero(pool):
    first = pool.from_bytes(b"\xff" * 9)
    second, third = pool.alloc(9), pool.alloc_unsafe(9)
    third[:] = b"\xff" * 9
    assert (bytes(second), bytes(first)) == (bytes(9), b"\xff" * 9)


@zeroing_modes
@pytest.mark.parametrize("size", BOUNDARIES)
def test_alloc_unsafe_zeroing_pool_on_dirty_memory_is_zero(make_pool, zeroing, size):
    pool = make_pool(zeroing=zeroing)
    dirty(pool, size)
    assert bytes(pool.alloc_unsafe(size)) == bytes(size)


@zeroing_modes
def test_alloc_unsafe_zeroing_pool_at_every_class_boundary_is_zero(make_pool, class_capacities, zeroing):
    pool = make_pool(slab_size=SMALL_SLAB, zeroing=zeroing)
    for capacity in class_capacities(SMALL_SLAB):
        for size in (capacity - 1, capacity, capacity + 1):
            dirty(pool, size)
            assert bytes(pool.alloc_unsafe(size)) == bytes(size)


@pytest.mark.skipif(os.environ.get("POOLIO_ZERO_FILL", "0") != "0", reason="POOLIO_ZERO_FILL is set: all is zeroed")
def test_alloc_unsafe_never_reuses_memory_without_zeroing(make_pool):
    pool = make_pool(zeroing="never")
    dirty(pool, 64)
    assert bytes(pool.alloc_unsafe(64)) in (b"\xa5" * 64, b"\xdd" * 64)    # 0xDD: a debug build overwrites


def test_wipe_of_size_class_memory(make_pool):
    pool = make_pool(zeroing="on_release")
    buf = pool.from_bytes(b"s" * 100_000)
    address = address_of(buf)
    del buf
    assert look(address, 100_000) == bytes(100_000)


def test_wipe_of_frozen_and_detached(make_pool):
    pool = make_pool(zeroing="on_release")
    neighbour, buf = pool.from_bytes(b"neighbour"), pool.from_bytes(b"secret")
    address = address_of(buf)
    kept = buf.freeze().detach()
    assert look(address, 6) == bytes(6)
    assert (kept, neighbour) == (b"secret", b"neighbour")


@pytest.mark.parametrize("value, before, after", [
    ("1", "never", "on_alloc"), ("yes", "never", "on_alloc"), ("1", "on_alloc", "on_alloc"),
    ("1", "on_release", "on_release"), ("0", "never", "never"), ("", "never", "never"),
])
def test_zero_fill_variable_raises_never_only(value, before, after):
    code = f"import poolio; print(poolio.Pool(zeroing={before!r}).zeroing, poolio.default_pool().zeroing)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env=os.environ | {"POOLIO_ZERO_FILL": value})
    assert done.stdout.split() == [after, "never" if value in ("", "0") else "on_alloc"]


def test_zero_fill_variable_set_memory_is_zero_and_no_code_turns_it_off():
    code = ("import os, poolio; del os.environ['POOLIO_ZERO_FILL']; pool = poolio.Pool(zeroing='never')\n"
            "pool.alloc_unsafe(4096)[:] = b'x' * 4096; print(bytes(pool.alloc_unsafe(4096)) == bytes(4096))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env=os.environ | {"POOLIO_ZERO_FILL": "1"})
    assert done.stdout == "True\n"


SHOWS_MEMORY = {
    "alloc": lambda pool: pool.alloc(5000),
    "alloc_unsafe": lambda pool: pool.alloc_unsafe(5000),
    "alloc_unpooled": lambda pool: pool.alloc_unpooled(5000),
    "slice": lambda pool: pool.alloc_unsafe(9000)[2000:7000],
    "slice of slice": lambda pool: pool.alloc_unsafe(9000)[1000:][1000:6000],
    "view": lambda pool: memoryview(pool.alloc_unsafe(5000)),
    "obj of view": lambda pool: memoryview(pool.alloc_unsafe(5000)).obj,
    "numpy base": lambda pool: numpy.frombuffer(pool.alloc_unsafe(5000), numpy.uint8).base,
    "detach": lambda pool: pool.alloc_unsafe(5000).detach(),
    "copy": lambda pool: copy.copy(pool.alloc_unsafe(5000)),
    "pickle": lambda pool: pickle.loads(pickle.dumps(pool.alloc_unsafe(5000), 5)),
    "split": lambda pool: pool.alloc_unsafe(5000).split(b"x")[0],
    "concat": lambda pool: pool.concat([pool.alloc_unsafe(2000), pool.alloc_unsafe(3000)]),
    "size class": lambda pool: pool.alloc_unsafe(SLAB)[-5000:],
    "oversize": lambda pool: pool.alloc_unsafe(LARGEST_CLASS + 1)[-5000:],
}


@zeroing_modes
@pytest.mark.parametrize("shown", SHOWS_MEMORY.values(), ids=SHOWS_MEMORY)
def test_zeroing_pool_shows_nobody_elses_bytes(make_pool, zeroing, shown):
    pool = make_pool(zeroing=zeroing)
    neighbours = [pool.from_bytes(b"\xa5" * 40_000) for _ in range(7)]
    del neighbours[1::2]                     # a slab with holes, and one that is carved again from its start
    for size in (SLAB, LARGEST_CLASS, LARGEST_CLASS + 1):
        dirty(pool, size)
    for _ in range(20):
        dirty(pool, 9000)
        seen = shown(pool)
        assert bytes(seen) == bytes(5000)
        del seen


# --- gone, looked at from outside -------------------------------------------------------------------------------

SECRET_KEEPER = """
import os, sys, poolio
pool = poolio.Pool(zeroing="on_release")
held = []
for size in map(int, sys.argv[1:]):
    buf = pool.alloc_unpooled(size) if size == 33 else pool.alloc(size)
    got = 0
    while got < size:                          # straight from the pipe into the pool: no other copy in this process
        got += os.readv(0, [memoryview(buf)[got:]])
    held.append(buf)
del buf
print("have it", flush=True)
os.readv(0, [bytearray(1)])
pieces = [buf[8:24] for buf in held] + [buf[20:] for buf in held]
views = [memoryview(piece) for piece in pieces]
held.clear()
del pieces
print("still have it", flush=True)
os.readv(0, [bytearray(1)])
views.clear()
print("gone", flush=True)
os.readv(0, [bytearray(1)])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into another process through /proc")
@pytest.mark.skipif(BUILD_VARIANT == "sanitize", reason="the sanitizer's shadow memory is too large to look through")
def test_on_release_secret_is_gone_from_the_process():
    sizes = (32, 33, 70_000, LARGEST_CLASS + 1)
    secret = os.urandom(32)
    child = subprocess.Popen([sys.executable, "-c", SECRET_KEEPER, *map(str, sizes)], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
    with child:
        child.stdin.write(b"".join(secret + bytes(size - 32) for size in sizes))
        child.stdin.flush()
        for said, expected in ((b"have it\n", len(sizes)), (b"still have it\n", len(sizes)), (b"gone\n", 0)):
            assert child.stdout.readline() == said
            assert places_of(child.pid, secret) == expected, said
            child.stdin.write(b".")
            child.stdin.flush()
    assert child.returncode == 0
