"""Owns the exceptions that poolio raises. Knows nothing else; every floor may import it."""

__all__ = ["BufferReleased", "FrameError", "FrameTooLarge", "PoolError", "PoolExhausted"]


class PoolError(Exception):
    """Base of poolio's own errors."""


class PoolExhausted(PoolError, MemoryError):
    """A pool would exceed its `max_bytes`; the message names the limit, what is reserved and what was needed."""


class BufferReleased(PoolError, ValueError):
    """A Buffer was used after its `release()`."""


class FrameError(PoolError, ValueError):
    """Bytes that are no frame of this codec. What follows them can't be told apart any more."""


class FrameTooLarge(FrameError):
    """A frame beyond its limit. `size`: its bytes, or the least that they can be; `limit`: the most allowed."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"a frame of {size} bytes is beyond the limit of {limit}")
        self.size = size
        self.limit = limit

    def __reduce__(self) -> tuple[type, tuple[int, int]]:
        return type(self), (self.size, self.limit)
