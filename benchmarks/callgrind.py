"""What does a file of callgrind's say? How many instructions were executed, and how many of them for OpenSSL.

Refuses to know what ran. Called by instructions.py. OpenSSL's part is what its libraries execute themselves, and what
the C library executes when they call it (memcpy(), malloc()), but not what they call back.
"""

import pathlib
import re
from collections import Counter

from benchmarks.harness import BenchmarkFailed

# "???" is code without a name: the steps by which OpenSSL's libraries call others.
OPENSSL = re.compile(r"/lib(ssl|crypto)[.-][^/]*$|^\?\?\?$")
CALLED_FOR_IT = re.compile(r"/(libc|libm|libpthread|ld-linux[^/]*|ld)[.-][^/]*$")  # they call nothing back
NAME = re.compile(r"(c?ob)=(\(\d+\))(?: (.*))?")


def total(path: pathlib.Path) -> int:
    """Instructions of the process's whole life."""
    for line in path.read_text().splitlines():
        if line.startswith(("totals:", "summary:")):
            return int(line.split(":")[1])
    raise BenchmarkFailed(f"callgrind has written no total: {path}")


def by_caller(path: pathlib.Path) -> Counter[tuple[str, str]]:
    """Instructions by (object, ""): its own; and by (object, object that it calls): all that it calls there."""
    names: dict[str, str] = {}
    found: Counter[tuple[str, str]] = Counter()
    own = called = ""
    is_of_a_call = False
    for line in path.read_text().splitlines():
        name = NAME.match(line)
        if name:
            what, key, text = name.groups()
            if text is not None:
                names[key] = text
            if what == "ob":
                own = called = names[key]
            else:
                called = names[key]
        elif line.startswith("calls="):
            is_of_a_call = True
        elif line[:1] in "+-*0123456789" and " " in line:
            found[own, called if is_of_a_call else ""] += int(line.split()[-1])
            if is_of_a_call:
                called, is_of_a_call = own, False
    return found


def in_openssl(path: pathlib.Path) -> int:
    """Instructions of OpenSSL, and of the system's libraries while it calls them."""
    return sum(count for (caller, called), count in by_caller(path).items()
               if OPENSSL.search(caller) and (not called or CALLED_FOR_IT.search(called)))
