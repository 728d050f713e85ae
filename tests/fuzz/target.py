"""One input of the fuzzer: its bytes choose a codec, its options and a split; the rest is the stream. See __main__.py.

    kind | options ... | limit | six places where the stream is cut, or 0xFF first: after every byte | stream

No Python code is instrumented: the coverage that guides the fuzzer is that of compiled code alone.
"""

import pathlib
import sys

import atheris

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from kit.grammars import MEMCACHED, NATS, Lines, Values
from kit.reference import Ended, Fixed, Prefixed, Variable, buffers_in, compare, pieces_of

import poolio

HEADER = 12
WIDTHS = (1, 2, 3, 4, 8)
ADJUSTMENTS = (0, 0, 0, 1, -1, 5, -5, 1 << 30, -(1 << 30))
DELIMITERS = (
    (b"\n",), (b"\r\n",), (b"\r\n", b"\n"), (b"ab", b"abcd", b"bc"), (b"abcd", b"b"), (b"aab", b"ab", b"b"),
    (b"aaa", b"aa"), (b"abab", b"ba", b"bb"), (b"\0" * 9, b"\0\1"), (b"a" * 40, b"b"),
)
LINE_ENDS = (b"\r\n", b"\n", b":", b"aab")
MODES = ("raise", "discard")
POOLS = [poolio.Pool(slab_size=4096, zeroing=zeroing) for zeroing in ("never", "on_alloc", "on_release")]


def rules_of(kind, options, more, limit):
    flags = [options >> bit & 1 for bit in range(8)]
    limit = 1 + limit if limit < 255 else 1 << 20
    if kind % 6 == 4:
        return Values(
            ("values", "commands")[flags[0]], ("refuse", "split")[flags[0] & flags[1]], (0, 2, 4096, 9)[options >> 6],
            (1, 4, 40, 1 << 16)[more % 4], (1, 2, 8, 32)[more // 4 % 4], limit)
    if kind % 6 == 5:
        return Lines(
            (MEMCACHED, NATS, 0, -1)[more % 4], ("exact", "any case")[flags[0]], (None, b";", b",")[more // 4 % 3],
            (10, 16)[flags[1]], LINE_ENDS[more // 12 % 4], (b"", b"\r\n", b",")[more // 48 % 3],
            ("body", "lines")[flags[2]],
            (0, 2, 4096, 9)[options >> 6], (3, 9, 40, 8192)[options >> 4 & 3], limit)
    if kind % 6 == 0:
        return Prefixed(
            WIDTHS[more % 5], ("big", "little")[flags[0]], (0, 0, 1, 32)[options >> 6], ("body", "frame")[flags[1]],
            ADJUSTMENTS[more // 5 % 9], ("strip", "keep")[flags[2]], limit, MODES[flags[3]])
    if kind % 6 == 1:
        return Variable(
            limit, MODES[flags[3]], (0, 0, 1, 32)[options >> 6], ("strip", "keep")[flags[2]], 1 + more % 10)
    if kind % 6 == 2:
        return Fixed(limit)
    return Ended(DELIMITERS[more % len(DELIMITERS)], ("strip", "keep")[flags[0]], ("refuse", "deliver")[flags[1]],
                 limit, MODES[flags[3]])


def overwrite(frames):
    """What comes later must not lie in what was handed out."""
    for buf in buffers_in(frames):
        if not buf.readonly:
            buf.fill(0xEE)


def one_input(data):
    if len(data) < HEADER:
        return
    rules = rules_of(*data[:4])
    pool = POOLS[data[4] % 3]
    stream = bytes(data[HEADER:]) * (1 + data[4] // 3 % 4 * 10)       # long ones too: frames straddle slabs
    cuts = range(len(stream)) if data[5] == 0xFF else [cut * (1 + data[4] // 12) for cut in data[6:HEADER]]
    for places in (cuts, []):
        compare(rules, stream, [pool.from_bytes(piece) for piece in pieces_of(stream, places)], overwrite)
    pool.check()
    assert pool.statistics().live_buffers == 0


atheris.Setup(sys.argv, one_input)
atheris.Fuzz()
