"""Runs a program in a terminal of so many columns. Called by project/test_main.py, test_bench_*.py."""

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import termios


def in_terminal(*command, columns=80, **environment):
    """(status, text) of the program. The terminal knows colours. A variable that is None is not set."""
    unset = dict.fromkeys(("NO_COLOR", "COLUMNS", "FORCE_COLOR"))
    known = os.environ | unset | {"TERM": "xterm-256color"} | environment
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with open(ours, "rb", buffering=0) as screen:
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs,
                                   env={name: value for name, value in known.items() if value is not None})
        os.close(theirs)
        written = b""
        with contextlib.suppress(OSError):     # EIO: nobody has the other side open any more
            while data := screen.read(65536):
                written += data
        return process.wait(), written.decode().replace("\r\n", "\n")
