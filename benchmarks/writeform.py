"""Up to which size does a copy to bytes cost less than a slice and a memoryview over it?

Protocol.write() must hand the loops' own transports one of the two (COPY_UP_TO in poolio/protocol.pyx). The copy
pins no slab; the view copies nothing.
"""

import timeit

import poolio

SIZES = (64, 256, 1024, 2048, 4096, 8192, 16384)
LOOPS, REPEATS = 20_000, 9


def lowest_ns(statement: str, buf: poolio.Buffer) -> float:
    return min(timeit.repeat(statement, globals={"buf": buf}, number=LOOPS, repeat=REPEATS)) / LOOPS * 1e9


def main() -> None:
    print("   bytes   copy ns   view ns")
    for size in SIZES:
        buf = poolio.alloc(size).freeze()
        print(f"{size:8} {lowest_ns('buf.tobytes()', buf):9.0f} {lowest_ns('memoryview(buf[:])', buf):9.0f}")


if __name__ == "__main__":
    main()
