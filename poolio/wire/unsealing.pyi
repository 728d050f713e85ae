from typing import Final

BOUNDS: Final[dict[str, int]]
