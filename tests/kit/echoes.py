"""Owns the protocols that write back what they get, one of each kind. They know nothing of loops, wires and peers.

Called wherever a test needs the other end to answer: loops, protocols, wire and faults. Programs that run as a process
of their own (smoke.py, the code in strings) have an Echo of their own, as they run without the folder of the tests.
"""

import asyncio

import poolio
from kit.endpoints import Batches
from kit.endpoints import Recorder as DatagramRecorder
from kit.pairs import PooledRecorder


class Echo(poolio.Protocol):
    """Writes back the Buffers that it gets, without a copy."""

    def data_received(self, buf):
        self.write(buf)


class RecordingEcho(PooledRecorder):
    """An Echo with the `calls` and the `ended` of a Recorder."""

    def data_received(self, buf):
        self.write(buf)


class CopyingEcho(RecordingEcho):
    """Writes bytearrays, which may change: poolio copies what it cannot send at once."""

    def data_received(self, buf):
        self.write(bytearray(buf))


class PiecesEcho(RecordingEcho):
    """Writes three pieces in one call: slices of the Buffer, and bytes between them."""

    def data_received(self, buf):
        third = len(buf) // 3
        self.writelines([buf[:third], bytes(buf[third:2 * third]), buf[2 * third:]])


class _NotedEnds:
    """Keeps `calls` of connection_made() and connection_lost(); `ended` is done at the latter."""

    def __init__(self):
        super().__init__()
        self.ended = asyncio.get_running_loop().create_future()
        self.calls = []

    def connection_made(self, transport):
        super().connection_made(transport)
        self.transport = transport
        self.calls.append("made")

    def connection_lost(self, exc):
        super().connection_lost(exc)
        self.calls.append("lost")
        self.ended.set_result(exc)


class PlainEcho(_NotedEnds, asyncio.Protocol):
    """Writes back the bytes that it gets."""

    def data_received(self, data):
        self.transport.write(data)


class FramedEcho(_NotedEnds, poolio.FramedProtocol):
    """Writes back the frames that it gets; their length is 4 bytes."""

    codec = poolio.LengthPrefixed(4)

    def frames_received(self, frames):
        for frame in frames:
            self.write_frame(frame)


class DatagramEcho(DatagramRecorder):
    """Sends each datagram back to its sender, one by one."""

    def datagram_received(self, data, address):
        self.transport.sendto(data, address)


class BatchEcho(Batches):
    """Sends each batch back to its senders, in one call."""

    def datagrams_received(self, batch):
        self.transport.sendmany(batch)
