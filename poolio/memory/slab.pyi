from typing import Final, NoReturn, final

BUILD_VARIANT: Final[str]
HAS_FAULTS: Final[bool]
MIN_SLAB_SIZE: Final[int]
MAX_SLAB_SIZE: Final[int]
KEEP_FREE_BYTES: Final[int]
IDLE_SECONDS: Final[int]
TRACEMALLOC_DOMAIN: Final[int]
ZEROING_NAMES: Final[tuple[str, str, str]]

def fail_allocations(first: int, count: int = 1) -> int: ...

@final
class SlabIdentity:
    def __init__(self) -> NoReturn: ...
    @property
    def capacity(self) -> int: ...

class SlabStore:
    @property
    def slab_size(self) -> int: ...
    def check(self) -> None: ...
