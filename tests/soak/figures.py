"""Figures: what this process holds of descriptors and memory, as the system and the C library tell it.

Refuses to know what is too much. The house asks, when it is at rest.
"""

import contextlib
import ctypes
import os
import resource


def count_descriptors():
    return len(os.listdir("/proc/self/fd")) - 1


def list_descriptors():
    names = []
    for fd in sorted(map(int, os.listdir("/proc/self/fd"))):
        with contextlib.suppress(OSError):
            names.append(f"{fd}={os.readlink(f'/proc/self/fd/{fd}')}")
    return " ".join(names[:40])


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


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


def trim_heap():
    """What glibc keeps for later is not growth."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
