"""Owns poolio.DatagramProtocol: the base class of protocols that get datagrams in batches.

Refuses to know how datagrams move (wire.datagram, wire.inbox) and which loop it runs on. Called by poolio's datagram
transport with batches, and by loops' own transports with one datagram at a time.
"""

import asyncio
from typing import Any, cast

from poolio.memory.buffer import Buffer
from poolio.memory.pool import Pool, default_pool
from poolio.wire.datagram import DatagramTransport

__all__ = ["DatagramProtocol"]


class DatagramProtocol(asyncio.DatagramProtocol):
    """A datagram protocol whose `datagrams_received(batch)` gets all that one pass has read, as pooled Buffers.

    Use it as asyncio.DatagramProtocol. connection_made() sets `transport`, so an override must call super's. `pool` (on
    the class, or on the instance before datagrams arrive) chooses the pool; None means `poolio.default_pool()`. On a
    loop's own transports each datagram is copied into a Buffer, and is a batch of its own.

    What a callback raises goes to the loop's exception handler, and the endpoint goes on.
    """

    pool: Pool | None = None
    transport: DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called once when the endpoint is open; keeps the transport."""
        self.transport = cast(DatagramTransport, transport)

    def datagrams_received(self, batch: list[tuple[Buffer, Any]]) -> None:
        """Called with a list of (Buffer, address), up to 159 datagrams, or more if they come in trains.

        The Buffers are yours: keep, slice or send them.

        Each Buffer has exactly the datagram's bytes, 0 to 65,535 (from unix sockets up to 512 KiB), in an allocation of
        its own; the datagrams of a train that the kernel has coalesced are slices of one allocation. Addresses are
        written as the socket module writes them.
        """

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Called by loops' own transports; delivers the datagram as a batch of one."""
        pool = default_pool() if self.pool is None else self.pool
        self.datagrams_received([(pool.from_bytes(data), addr)])
