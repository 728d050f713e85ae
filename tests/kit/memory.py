"""Owns looks at memory from outside a pool: by address, whoever it belongs to now; and the sizes of slabs that
tests use. Called by conftest and by the tests of memory, framing, protocols and wire.
"""

import ctypes
import gc

SLAB = 262_144              # a pool's default
LARGEST_CLASS = 16 * SLAB
SMALL_SLAB = 4096           # the least that a pool takes


def assert_empty(*pools):
    """Nothing of these pools is held any more, and their accounting adds up."""
    gc.collect()
    for pool in pools:
        pool.check()
        figures = pool.statistics()
        assert (figures.live_bytes, figures.live_buffers) == (0, 0)


def dirty(pool, size):
    buf = pool.alloc_unsafe(size)
    buf[:] = b"\xa5" * size


def address_of(buf):
    return ctypes.addressof(ctypes.c_char.from_buffer(buf))


def look(address, size):
    """The bytes in memory that belongs to nobody. An address sanitizer is told first that this is allowed."""
    unpoison = getattr(ctypes.CDLL(None), "__asan_unpoison_memory_region", None)
    if unpoison is not None:
        unpoison(ctypes.c_void_p(address), ctypes.c_size_t(size))
    return ctypes.string_at(address, size)


def places_of(pid, needle):
    """How often the bytes stand in the memory of a process, its whole address space."""
    count = 0
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            span, access = line.split()[:2]
            if access.startswith("r") and "[v" not in line:      # not [vvar], [vdso], [vsyscall]
                start, end = (int(address, 16) for address in span.split("-"))
                memory.seek(start)
                count += memory.read(end - start).count(needle)
    return count
