from collections.abc import Iterable
from typing import Literal

from _typeshed import ReadableBuffer

from poolio.framing.codec import Codec
from poolio.memory.buffer import Buffer
from poolio.memory.chain import Chain
from poolio.memory.pool import Pool

class Delimited(Codec):
    def __init__(
        self, delimiter: ReadableBuffer | Iterable[ReadableBuffer], *, ends: Literal["strip", "keep"] = "strip",
        last: Literal["refuse", "deliver"] = "refuse", max_frame: int = ...,
        too_large: Literal["raise", "discard"] = "raise",
    ) -> None: ...
    @property
    def delimiters(self) -> tuple[bytes, ...]: ...
    def decode(self, chain: Chain) -> Buffer | None: ...
    def decode_last(self, chain: Chain) -> Buffer | None: ...
    def encode(self, *pieces: ReadableBuffer, pool: Pool | None = None) -> Buffer: ...
    def feed(self, data: ReadableBuffer) -> list[Buffer]: ...
