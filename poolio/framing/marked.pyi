from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from _typeshed import ReadableBuffer

from poolio.framing.codec import Codec
from poolio.memory.buffer import Buffer
from poolio.memory.chain import Chain
from poolio.memory.pool import Pool

_Meaning: TypeAlias = Literal["array", "string", "integer", "text", "error"]

RESP2: dict[bytes, _Meaning]
MAX_ITEMS: int
MAX_DEPTH: int

class Marked(Codec):
    def __init__(
        self, *, frames: Literal["values", "commands"] = "values", inline: Literal["refuse", "split"] = "refuse",
        bytes_up_to: int = 4096, marks: Mapping[bytes, _Meaning] | None = None, max_items: int = ...,
        max_depth: int = ..., max_frame: int = ...,
    ) -> None: ...
    @property
    def bytes_up_to(self) -> int: ...
    @property
    def max_items(self) -> int: ...
    @property
    def max_depth(self) -> int: ...
    def decode(self, chain: Chain) -> Any: ...
    def encode(self, *values: Any, pool: Pool | None = None) -> Buffer: ...
    def feed(self, data: ReadableBuffer) -> list[Any]: ...
