from typing import final

from poolio.streams.waiter import Awaitable

@final
class Frames(Awaitable):
    def __aiter__(self) -> Frames: ...
    def __anext__(self) -> Frames: ...
