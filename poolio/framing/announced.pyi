from collections.abc import Iterable, Mapping
from typing import Literal

from _typeshed import ReadableBuffer

from poolio.framing.codec import Codec
from poolio.memory.buffer import Buffer
from poolio.memory.chain import Chain
from poolio.memory.pool import Pool

MAX_LINE: int

class LineAndBody(Codec):
    def __init__(
        self, size: int | Mapping[bytes, int | None], *, verbs: Literal["exact", "any case"] = "exact",
        separator: ReadableBuffer | None = None, base: Literal[10, 16] = 10, line_end: ReadableBuffer = b"\r\n",
        body_end: ReadableBuffer = b"\r\n", zero: Literal["body", "lines"] = "body", bytes_up_to: int = 4096,
        max_line: int = ..., max_frame: int = ...,
    ) -> None: ...
    @property
    def bytes_up_to(self) -> int: ...
    @property
    def max_line(self) -> int: ...
    def decode(self, chain: Chain) -> tuple[tuple[bytes, ...], bytes | Buffer | None] | None: ...
    def encode(
        self, fields: Iterable[ReadableBuffer | int | None], body: ReadableBuffer | None = None, *,
        pool: Pool | None = None,
    ) -> Buffer: ...
    def feed(self, data: ReadableBuffer) -> list[tuple[tuple[bytes, ...], bytes | Buffer | None]]: ...
