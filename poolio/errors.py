"""Owns the exceptions that poolio raises. Knows nothing else; every floor may import it."""

__all__ = ["BufferReleased", "ErrorReply", "FrameError", "FrameTooLarge", "PoolError", "PoolExhausted"]


__all__ = ["BufferReleased", "FrameError", "FrameTooLarge", "PeerTimeout", "PoolError", "PoolExhausted"]


class PoolError(Exception):
    """Base of poolio's own errors."""


class PoolExhausted(PoolError, MemoryError):
    """A pool would exceed its `max_bytes`; the message names the limit, what is reserved and what was needed."""


class BufferReleased(PoolError, ValueError):
    """A Buffer was used after its `release()`."""


class FrameError(PoolError, ValueError):
    """Bytes are no frame of this codec, and what follows them can't be cut into frames any more; or a frame can't be
    written with this codec.
    """


class FrameTooLarge(FrameError):
    """A frame is beyond its limit. `size` is how many bytes it has, or has at least; `limit` is the most allowed."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"a frame of {size} bytes is beyond the limit of {limit}")
        self.size = size
        self.limit = limit

    def __reduce__(self) -> tuple[type, tuple[int, int]]:
        return type(self), (self.size, self.limit)


class ErrorReply(Exception):
    """An error that a peer has answered, as a value: a codec returns it, and does not raise it."""


class PeerTimeout(PoolError, TimeoutError):
    """A limit of its server has closed a connection: the peer was silent too long, or its first frame did not come.

    `limit` is "idle_timeout" or "first_frame_timeout", `seconds` is its value.
    """

    def __init__(self, limit: str, seconds: float) -> None:
        super().__init__(f"the peer has used up the {limit} of {seconds:g} seconds")
        self.limit = limit
        self.seconds = seconds

    def __reduce__(self) -> tuple[type, tuple[str, float]]:
        return type(self), (self.limit, self.seconds)
