from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, SupportsIndex

from _typeshed import ReadableBuffer

from poolio.memory.buffer import Buffer
from poolio.memory.slab import SlabStore

DEFAULT_SLAB_SIZE: Final[int]

class Statistics(NamedTuple):
    live_bytes: int
    live_allocations: int
    live_buffers: int
    pinned_bytes: int
    reserved_bytes: int
    oversize_bytes: int
    unpooled_bytes: int
    slabs: int
    slabs_used: int
    slabs_free: int
    free_bytes: int
    reuses: int
    copied_bytes: int

class Pool(SlabStore):
    def __init__(
        self,
        slab_size: SupportsIndex = 262144,
        zeroing: Literal["never", "on_alloc", "on_release"] = "never",
        max_bytes: SupportsIndex | None = None,
    ) -> None: ...
    @property
    def zeroing(self) -> Literal["never", "on_alloc", "on_release"]: ...
    @property
    def max_bytes(self) -> int | None: ...
    def alloc(self, size: SupportsIndex) -> Buffer: ...
    def alloc_unsafe(self, size: SupportsIndex) -> Buffer: ...
    def alloc_unpooled(self, size: SupportsIndex) -> Buffer: ...
    def from_bytes(self, data: ReadableBuffer) -> Buffer: ...
    def concat(self, buffers: Iterable[ReadableBuffer]) -> Buffer: ...
    @staticmethod
    def from_pickle(data: ReadableBuffer, frozen: bool) -> Buffer: ...
    def trim(self) -> int: ...
    def statistics(self) -> Statistics: ...
    def report(self) -> str: ...
    def __sizeof__(self) -> int: ...

def default_pool() -> Pool: ...
