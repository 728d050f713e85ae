from collections.abc import Iterable
from typing import Any, Final

from _typeshed import ReadableBuffer

from poolio.wire.endpoint import Endpoint

BOUNDS: Final[dict[str, int]]

class Outbox(Endpoint):
    def sendto(self, data: ReadableBuffer, addr: Any = None) -> None: ...
    def send_segmented(self, data: ReadableBuffer, size: int, addr: Any = None) -> None: ...
    def sendmany(self, batch: Iterable[tuple[ReadableBuffer, Any]]) -> None: ...
