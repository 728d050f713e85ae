"""Looking at memory from outside a pool: by address, whoever it belongs to now."""

import ctypes


def dirty(pool, size):
    buf = pool.alloc_unsafe(size)
    buf[:] = b"\xa5" * size


def address_of(buf):
    return ctypes.addressof(ctypes.c_char.from_buffer(buf))


def look(address, size):
    """The bytes in memory that is nobody's; an address sanitizer is told first."""
    unpoison = getattr(ctypes.CDLL(None), "__asan_unpoison_memory_region", None)
    if unpoison is not None:
        unpoison(ctypes.c_void_p(address), ctypes.c_size_t(size))
    return ctypes.string_at(address, size)
