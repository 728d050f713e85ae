from typing import Any

from poolio.framing.codec import Codec
from poolio.memory.chain import Chain
from poolio.protocols.protocol import Protocol, ProtocolCore

class FramedCore(ProtocolCore):
    def __init__(self, codec: Codec | None = None) -> None: ...
    @property
    def chain(self) -> Chain: ...
    def frames_received(self, frames: list[Any]) -> None: ...
    def write_frame(self, *pieces: Any) -> None: ...

class FramedProtocol(FramedCore, Protocol):
    codec: Codec | None
