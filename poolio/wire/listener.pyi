import asyncio
import contextvars
import socket
from collections.abc import Callable
from typing import Final

from poolio.wire.limits import Limits
from poolio.wire.reactor import Reactor, Source

BOUNDS: Final[dict[str, int]]

class Listener(Source):
    def __init__(
        self, reactor: Reactor, sock: socket.socket, factory: Callable[[], asyncio.BaseProtocol],
        server: asyncio.AbstractServer | None, context: contextvars.Context | None = None,
        limits: Limits | None = None,
    ) -> None: ...
    def stop(self) -> None: ...
