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


def trim_heap():
    """What glibc keeps for later is not growth."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
