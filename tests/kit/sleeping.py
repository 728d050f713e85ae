"""When does a loop sleep, and for how long? Read from the kernel, by another thread."""

import ctypes
import time

EPOLL_WAITS = ("232", "281", "22")      # epoll_wait, epoll_pwait; epoll_pwait of arm64


def until_asleep(thread_id: int) -> int:
    """Come back when this thread of the process waits in epoll_wait. Returns its timeout in milliseconds; -1: none."""
    with open(f"/proc/self/task/{thread_id}/syscall") as file:
        while True:
            file.seek(0)
            number, *arguments = file.read().split()
            if number in EPOLL_WAITS:
                return ctypes.c_int(int(arguments[3], 16)).value
            time.sleep(0)
