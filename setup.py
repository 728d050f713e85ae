"""Builds the compiled modules: one table of directives, build variants by environment variable.

POOLIO_BUILD=debug      checks on, freed memory is overwritten, -O1 with asserts; allocations fail on request
POOLIO_BUILD=sanitize   debug under AddressSanitizer and UndefinedBehaviorSanitizer (see `make sanitize`)
POOLIO_BUILD=portable   as on a system without epoll: poolio's own transports refuse (see `make test-portable`)
POOLIO_BUILD=coverage   line tracing for coverage.py's Cython plugin; allocations fail on request, too
POOLIO_BUILD=fuzz       debug under AddressSanitizer, and the codecs tell libFuzzer where they were; needs CC=clang
                        (see `make fuzz`)
unset                   the release build
"""

import os
import sys

from Cython.Build import cythonize
from setuptools import Extension, setup

VARIANT = os.environ.get("POOLIO_BUILD", "release")
VARIANTS = ("release", "portable", "debug", "sanitize", "coverage", "fuzz")
if VARIANT not in VARIANTS:
    raise SystemExit(f"POOLIO_BUILD must be one of {', '.join(VARIANTS)}, not {VARIANT!r}")

MODULES = (
    "slab", "allocation", "numbers", "search", "buffer", "pool", "chain", "readslab", "framing",
    "receiver", "writequeue", "reactor", "address", "endpoint", "transport", "listener", "inbox", "datagram",
    "selector", "protocol", "framed", "waiter", "reader", "writer",
)
HEADERS = [f"poolio/_{name}.h" for name in ("memory", "faults", "numbers", "search", "objects", "net", "datagram")]
CHECKED = VARIANT not in ("release", "portable")

DIRECTIVES = {
    "language_level": 3,
    "binding": False,                       # plain method descriptors: 4 ns less a call on CPython 3.11
    "embedsignature": True,
    "embedsignature.format": "clinic",      # what inspect.signature() reads
    "auto_pickle": False,
    "boundscheck": CHECKED,
    "wraparound": False,
    "cdivision": not CHECKED,
    "initializedcheck": CHECKED,
    "linetrace": VARIANT == "coverage",
}

MSVC = sys.platform == "win32"
COMPILE = {
    "release": ["/O2"] if MSVC else ["-O3", "-fno-plt", "-fvisibility=hidden", "-Wall", "-Wno-unused-function"],
    "debug": ["/Od"] if MSVC else ["-O1", "-g", "-UNDEBUG"],
    "sanitize": ["-O1", "-g", "-UNDEBUG", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined",
                 "-fno-omit-frame-pointer"],
    "coverage": ["-O0"],
    "fuzz": ["-O1", "-g", "-UNDEBUG", "-fsanitize=address", "-fno-omit-frame-pointer"],
}["release" if VARIANT == "portable" else VARIANT]
FUZZED = ("chain", "framing")
SEEN = ["-fsanitize=fuzzer-no-link"] if VARIANT == "fuzz" else []
LINK = ["-fsanitize=address,undefined"] if VARIANT == "sanitize" else []
MACROS = [("POOLIO_VARIANT", f'"{VARIANT}"')]
if VARIANT == "coverage":
    MACROS += [("CYTHON_TRACE", "1"), ("CYTHON_TRACE_NOGIL", "1")]
if VARIANT in ("debug", "sanitize", "coverage"):
    MACROS.append(("POOLIO_WITH_FAULTS", "1"))
if VARIANT == "portable":
    MACROS.append(("POOLIO_WITHOUT_EPOLL", "1"))

setup(
    ext_modules=cythonize(
        [
            Extension(
                f"poolio.{name}",
                [f"poolio/{name}.pyx"],
                depends=HEADERS,
                include_dirs=["poolio"],
                define_macros=MACROS,
                extra_compile_args=COMPILE + (SEEN if name in FUZZED else []),
                extra_link_args=LINK,
            )
            for name in MODULES
        ],
        compiler_directives=DIRECTIVES,
        # a variant never picks up what another one left; coverage wants the .c beside the .pyx
        build_dir=None if VARIANT == "coverage" else f"build/{VARIANT}/c",
    ),
    options={"build": {"build_base": f"build/{VARIANT}"}},
)
