"""Owns relay(): forwarding one stream into another.

Refuses to know how streams read and write (reader, connection). Called by user code.
"""

from poolio.streams.connection import StreamWriter
from poolio.streams.reader import StreamReader

__all__ = ["relay"]

RELAY_BYTES = 262144  # the most of one read: the size of a slab


async def relay(reader: StreamReader, writer: StreamWriter) -> int:
    """Forward all that is read to another connection, without copying. At the end of the stream, write that end too.

    Returns how many bytes were forwarded. Reads no faster than the other side takes them. Run two of these for both
    directions. An exception is the error of one of the two connections: close both then.
    """
    count = 0
    while data := await reader.read(RELAY_BYTES):
        count += len(data)
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof() and not writer.is_closing():
        writer.write_eof()
    return count
