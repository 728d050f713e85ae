"""Pooled buffers for asyncio, compiled: receive into reused memory, pass slices on without copying.

Memory: `alloc(n)`, `alloc_unsafe(n)`, `from_bytes(data)`, or a `Pool` of your own.
Network: `class Echo(poolio.Protocol)`.
"""

from poolio.buffer import Buffer
from poolio.errors import BufferReleased, PoolError, PoolExhausted
from poolio.pool import Pool, Statistics, default_pool
from poolio.protocol import Protocol

__version__ = "0.1.0"
__all__ = [
    "Buffer",
    "BufferReleased",
    "Pool",
    "PoolError",
    "PoolExhausted",
    "Protocol",
    "Statistics",
    "alloc",
    "alloc_unpooled",
    "alloc_unsafe",
    "default_pool",
    "from_bytes",
]

# Bound methods of the default pool, so that the module's names cost no call of their own.
alloc = default_pool().alloc
alloc_unsafe = default_pool().alloc_unsafe
alloc_unpooled = default_pool().alloc_unpooled
from_bytes = default_pool().from_bytes
