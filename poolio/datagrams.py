"""Owns what users of datagrams write with: the protocol that gets batches, and the function that opens an endpoint.

Refuses to know how datagrams move (datagram, inbox), and which loop it is.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar, cast

from poolio.buffer import Buffer
from poolio.datagram import DatagramTransport
from poolio.net import wires_of_running_loop
from poolio.pool import Pool, default_pool

__all__ = ["DatagramProtocol", "create_datagram_endpoint"]

P = TypeVar("P", bound=asyncio.BaseProtocol)


class DatagramProtocol(asyncio.DatagramProtocol):
    """A datagram protocol whose `datagrams_received(batch)` gets all that one pass has read, as pooled Buffers.

    Use it as asyncio.DatagramProtocol; `transport` is set by connection_made(), call it when you override it. `pool`
    (on the class, or on the instance before datagrams arrive) chooses the pool; None is `poolio.default_pool()`. On a
    loop's own transports each datagram is copied into a Buffer, and is a batch of its own.

    What a callback raises goes to the loop's exception handler, and the endpoint goes on.
    """

    pool: Pool | None = None
    transport: DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called once when the endpoint is open; keeps the transport."""
        self.transport = cast(DatagramTransport, transport)

    def datagrams_received(self, batch: list[tuple[Buffer, Any]]) -> None:
        """Called with a list of (Buffer, address), up to 159 datagrams, more in trains. Yours: keep, slice, send them.

        Each Buffer has exactly the datagram's bytes, 0 to 65,535 (from unix sockets up to 512 KiB), in an allocation of
        its own; the datagrams of a train that the kernel has coalesced are slices of one allocation. Addresses are
        written as the socket module does.
        """

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """For loops' own transports: the datagram is a batch."""
        pool = default_pool() if self.pool is None else self.pool
        self.datagrams_received([(pool.from_bytes(data), addr)])


async def create_datagram_endpoint(
    protocol_factory: Callable[[], P], local_addr: Any = None, remote_addr: Any = None, **options: Any,
) -> tuple[DatagramTransport, P]:
    """Open a UDP or unix datagram socket: as `loop.create_datagram_endpoint()`, with its options, on any loop."""
    return await wires_of_running_loop().create_datagram_endpoint(  # type: ignore[return-value]
        protocol_factory, local_addr, remote_addr, **options)
