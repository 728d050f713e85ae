"""Owns the exceptions that poolio raises. Knows nothing else; every floor may import it."""

__all__ = ["BufferReleased", "PoolError", "PoolExhausted"]


class PoolError(Exception):
    """Base of poolio's own errors."""


class PoolExhausted(PoolError, MemoryError):
    """A pool would exceed its `max_bytes`; the message names the limit, what is reserved and what was needed."""


class BufferReleased(PoolError, ValueError):
    """A Buffer was used after its `release()`."""
