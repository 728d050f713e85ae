"""Owns relay(): forwarding one stream into another."""

from poolio.streams.connection import StreamWriter
from poolio.streams.reader import StreamReader

__all__ = ["relay"]

RELAY_BYTES = 262144  # of one read: a slab


async def relay(reader: StreamReader, writer: StreamWriter) -> int:
    """Forward all that is received to another connection, without copying, until the end; then write that end.

    Returns how many bytes that were. Receives no faster than the other side takes. For both ways run two of them; what
    raises is the error of one of the connections: close both then.
    """
    count = 0
    while data := await reader.read(RELAY_BYTES):
        count += len(data)
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof() and not writer.is_closing():
        writer.write_eof()
    return count
