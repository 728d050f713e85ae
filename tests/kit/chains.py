"""Owns chains of chosen pieces, and pools that have nothing left. Called by the tests of Chain in memory/."""

import pytest

import poolio


def chain_of(pool, *pieces):
    """A chain in which each piece is a Buffer of its own."""
    chain = poolio.Chain()
    for piece in pieces:
        chain.append(pool.from_bytes(piece))
    return chain


def content_of(chain):
    """All bytes in the chain, which keeps them."""
    return bytes(chain.peek(len(chain)))


def exhaust(pool):
    """Allocate all that the pool may still reserve, and return it."""
    held = []
    for size in (pool.slab_size // 4, 8):
        with pytest.raises(poolio.PoolExhausted):
            while True:
                held.append(pool.alloc(size))
    return held


class Waiting(poolio.Codec):
    """Never has a frame: what is fed stays in the chain, which is asked to keep little."""

    def decode(self, chain):
        return None
