"""Builds the compiled modules: one table of directives, build variants by environment variable.

POOLIO_BUILD=debug      checks on, freed memory is overwritten, -O1 with asserts; allocations fail on request
POOLIO_BUILD=sanitize   debug under AddressSanitizer and UndefinedBehaviorSanitizer
POOLIO_BUILD=portable   as on a system without epoll, where poolio's own transports can't be made
POOLIO_BUILD=coverage   line tracing for coverage.py's Cython plugin; allocations fail on request, too
POOLIO_BUILD=fuzz       debug under AddressSanitizer, and the codecs report their coverage to libFuzzer; needs CC=clang
unset                   the release build

Modules and headers are found, not listed: every .pyx below poolio/, every .h in poolio/c/. A wheel also carries the
benchmarks, which stand outside the package: CARRIED goes to poolio/bench/, where poolio/commands/bench.py finds it.
"""

import os
import pathlib
import re
import sys

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_py import build_py
from setuptools.command.egg_info import egg_info

VARIANT = os.environ.get("POOLIO_BUILD", "release")
VARIANTS = ("release", "portable", "debug", "sanitize", "coverage", "fuzz")
if VARIANT not in VARIANTS:
    raise SystemExit(f"POOLIO_BUILD must be one of {', '.join(VARIANTS)}, not {VARIANT!r}")

PACKAGE = pathlib.Path("poolio")
SOURCES = sorted(PACKAGE.rglob("*.pyx"))
HEADERS = sorted(map(str, PACKAGE.glob("c/*.h")))
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
SEEN = ["-fsanitize=fuzzer-no-link"] if VARIANT == "fuzz" else []
LINK = ["-fsanitize=address,undefined"] if VARIANT == "sanitize" else []
MACROS = [("POOLIO_VARIANT", f'"{VARIANT}"')]
if CHECKED:
    MACROS.append(("POOLIO_CHECKED", "1"))              # ensure() of poolio/c/guard.pxd
if VARIANT == "coverage":
    MACROS += [("CYTHON_TRACE", "1"), ("CYTHON_TRACE_NOGIL", "1")]
if VARIANT in ("debug", "sanitize", "coverage"):
    MACROS.append(("POOLIO_WITH_FAULTS", "1"))
if VARIANT == "portable":
    MACROS.append(("POOLIO_WITHOUT_EPOLL", "1"))


# What `python -m poolio bench` reads: its own folder, the server that it measures, and this file's flags.
CARRIED = [path for suffix in ("py", "c", "h", "jinja")
           for path in sorted(pathlib.Path("benchmarks").glob(f"*.{suffix}"))]
CARRIED += [pathlib.Path("examples", "redis_server.py"), pathlib.Path("setup.py")]


class BuildPython(build_py):
    """Also copies what is CARRIED, as it lies here; not for an editable installation, which has the clone."""

    def run(self):
        super().run()
        if not self.editable_mode:
            for source, target in self.carried().items():
                self.mkpath(os.path.dirname(target))
                self.copy_file(source, target, preserve_mode=False)

    def carried(self):
        return {str(path): os.path.join(self.build_lib, "poolio", "bench", str(path)) for path in CARRIED}

    def get_outputs(self, include_bytecode=True):
        return super().get_outputs(include_bytecode) + list(self.carried().values())


class Metadata(egg_info):
    """README links files beside it, which its page on PyPI has not: there the links lead into the repository.

    That is [project.urls] Source. While it is not known, they stay as they are. The paths are those of GitHub.
    """

    def run(self):
        about = self.distribution.metadata
        source = (about.project_urls or {}).get("Source")
        if source:
            text = re.sub(r"(?<=\]\()(?!https?:|#)", f"{source}/blob/v{about.version}/", about.long_description)
            about.long_description = re.sub(
                r'(?<=src="|set=")(?!https?:)', f"{source}/raw/v{about.version}/", text)
        super().run()


def is_fuzzed(source):
    return source.parent.name == "framing" or source.stem == "chain"


setup(
    cmdclass={"build_py": BuildPython, "egg_info": Metadata},
    ext_modules=cythonize(
        [
            Extension(
                ".".join(source.with_suffix("").parts),
                [str(source)],
                depends=HEADERS,
                include_dirs=["."],                     # headers are named from here: "poolio/c/memory.h"
                define_macros=MACROS,
                extra_compile_args=COMPILE + (SEEN if is_fuzzed(source) else []),
                extra_link_args=LINK,
            )
            for source in SOURCES
        ],
        compiler_directives=DIRECTIVES,
        # no variant picks up what another one has left; coverage needs the .c beside the .pyx
        build_dir=None if VARIANT == "coverage" else f"build/{VARIANT}/c",
    ),
    options={"build": {"build_base": f"build/{VARIANT}"}},
)
