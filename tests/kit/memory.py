"""Owns looks at memory from outside a pool: by address, whoever it belongs to now; what C code has of the heap; and the
sizes of slabs that tests use. Called by conftest, by the tests of memory, framing, protocols, wire and security, and by
the soak.
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


class Mallinfo(ctypes.Structure):
    """What glibc's mallinfo2() returns."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]


def heap_bytes():
    """In use of malloc's heap: what C code has asked for, and Python's larger objects. 0: this libc does not say."""
    try:
        ask = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        return 0
    ask.restype = Mallinfo
    figures = ask()
    return figures.uordblks + figures.hblkhd
