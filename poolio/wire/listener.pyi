import asyncio
import socket
from collections.abc import Callable

from poolio.wire.reactor import Reactor, Source

class Listener(Source):
    def __init__(
        self, reactor: Reactor, sock: socket.socket, factory: Callable[[], asyncio.BaseProtocol],
        server: asyncio.AbstractServer | None,
    ) -> None: ...
    def stop(self) -> None: ...
