from typing import Final, NoReturn

MIN_SLAB_SIZE: Final[int]
MAX_SLAB_SIZE: Final[int]
ZEROING_NAMES: Final[tuple[str, str, str]]

class SlabIdentity:
    def __init__(self) -> NoReturn: ...
    @property
    def capacity(self) -> int: ...

class SlabStore:
    @property
    def slab_size(self) -> int: ...
    def check(self) -> None: ...
