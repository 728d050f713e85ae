"""What a peer can make poolio compute: work counted, not timed. Four times the bytes are about four times the work.

The search is compiled once more with counting functions in place of the C library's; everything else counts calls,
system calls or the lines of Python that run.
"""

import ctypes
import pathlib
import shutil
import subprocess

import pytest

HEADERS = pathlib.Path(__file__).resolve().parent.parent.parent / "poolio" / "c"
COUNTED = r"""
#define _GNU_SOURCE
#include <string.h>
static size_t looked_at;
static int counted_memcmp(const void *one, const void *other, size_t size)
{
    const char *a = one, *b = other;
    for (size_t i = 0; i < size; i++, looked_at++)
        if (a[i] != b[i])
            return 1;
    return 0;
}
static void *counted_memchr(const void *text, int byte, size_t size)
{
    char *found = memchr(text, byte, size);
    looked_at += found == NULL ? size : (size_t)(found - (const char *)text) + 1;
    return found;
}
static void *counted_memmem(const void *text, size_t size, const void *needle, size_t length)
{
    looked_at += size + length;         /* it is linear */
    return memmem(text, size, needle, length);
}
#define memcmp counted_memcmp
#define memchr counted_memchr
#define memmem counted_memmem
#include "search.h"
size_t work_of_find(const char *text, ptrdiff_t size, const char *needle, ptrdiff_t length)
{
    looked_at = 0;
    poolio_find(text, size, needle, length);
    return looked_at;
}
size_t work_of_count(const char *text, ptrdiff_t size, const char *needle, ptrdiff_t length)
{
    looked_at = 0;
    poolio_count(text, size, needle, length);
    return looked_at;
}
"""


@pytest.fixture(scope="module")
def counting(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not (HEADERS / "search.h").exists():
        pytest.skip("no C compiler, or no sources: the search can't be compiled with counters")
    folder = tmp_path_factory.mktemp("counting")
    (folder / "counted.c").write_text(COUNTED)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", f"-iquote{HEADERS}", "-o", folder / "counted.so",
                    folder / "counted.c"], check=True)
    library = ctypes.CDLL(str(folder / "counted.so"))
    for function in (library.work_of_find, library.work_of_count):
        function.restype = ctypes.c_size_t
        function.argtypes = [ctypes.c_char_p, ctypes.c_ssize_t, ctypes.c_char_p, ctypes.c_ssize_t]
    return library


SIZE = 1 << 18
PATTERNS = {
    "one byte over and over": (b"a" * SIZE, b"a" * 1000 + b"b"),
    "false start at each 32 bytes": ((b"a" + b"b" * 31) * (SIZE // 32), (b"a" + b"b" * 31) * (SIZE // 128) + b"c"),
    "false start at each 64 bytes": ((b"a" + b"b" * 63) * (SIZE // 64), (b"a" + b"b" * 63) * (SIZE // 256) + b"c"),
    "needle found over and over": (b"ab" * (SIZE // 2), b"ab"),
    "needle found but for its last byte": ((b"a" * 99 + b"b") * (SIZE // 100), b"a" * 99 + b"c"),
    "short needle": (b"ab" * (SIZE // 2), b"aa"),
}


@pytest.mark.parametrize("text, needle", PATTERNS.values(), ids=PATTERNS)
@pytest.mark.parametrize("function", ("find", "count"))
def test_search_work_is_linear_whatever_the_peer_sends(counting, function, text, needle):
    work = getattr(counting, f"work_of_{function}")(text, len(text), needle, len(needle))
    # memchr up to the change, 8 free false starts and one long one, memmem for the rest
    assert work <= 4 * len(text) + 10 * len(needle)
