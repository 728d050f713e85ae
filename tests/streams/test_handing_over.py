"""Handing a stream's connection over to another protocol: unread bytes come first, and then all the others."""

import asyncio
import gc

import pytest
from kit.pairs import Recording, RoomRecorder, closed, on, pair, turns
from kit.wires import (
    BLOCK,
    LOOPS,
    OURS,
    eventually,
    net,
)

import poolio

pytestmark = pytest.mark.usefixtures("default_pool_is_left_as_it_was")


class TypeRecording(Recording):
    """Its `calls` have the types of what was received, too."""

    def data_received(self, data):
        super().data_received(data)
        self.calls.append(type(data))


class TypeRecorder(TypeRecording, asyncio.Protocol):
    pass


class PooledTypeRecorder(TypeRecording, poolio.Protocol):
    pass


class RoomTypeRecorder(TypeRecording, RoomRecorder):
    room_bytes = 7


every_keeper = pytest.mark.parametrize("kind, form", (
    (TypeRecorder, bytes), (PooledTypeRecorder, poolio.Buffer), (RoomTypeRecorder, bytearray)),
    ids=("Protocol", "poolio", "Buffered"))


@every_keeper
@on(*LOOPS)
async def test_hand_over_unread_bytes_come_first_then_the_others(kind, form):
    async with pair(limit=1000, waits=False) as ((_, client_writer), (reader, writer)):
        client_writer.write(b"GET upgrade\n" + BLOCK[:5000])        # far above the limit: it was paused
        assert await reader.readline() == b"GET upgrade\n"
        await eventually(lambda: len(reader.chain) == 5000)
        keeper = kind()
        writer.hand_over(keeper)
        assert keeper.received == BLOCK[:5000]
        client_writer.write(BLOCK[5000:400_000])
        await eventually(lambda: len(keeper.received) == 400_000)
        assert keeper.received == BLOCK[:400_000]
        assert keeper.calls[:2] == ["made", form]
        assert set(keeper.calls[1:]) == {form}
        with pytest.raises(RuntimeError, match="handed over"):
            await reader.read(1)
        client_writer.close()
        assert await keeper.ended is None
        assert keeper.calls[-2:] == ["eof", "lost"]


@every_keeper
@pytest.mark.parametrize("unread", (0, 100))
@on(*LOOPS)
async def test_hand_over_after_the_end_it_is_told_of_it(kind, form, unread):
    async with pair(waits=False) as ((client, client_writer), (reader, writer)):
        client_writer.write(BLOCK[:unread])
        client_writer.write_eof()
        await eventually(lambda: len(reader.chain) == unread and "at its end" in repr(reader))
        keeper = kind()
        writer.hand_over(keeper)
        assert keeper.received == BLOCK[:unread]
        assert keeper.calls[-1] == "eof"
        assert await keeper.ended is None
        assert await client.read() == b""


@pytest.mark.parametrize("side", ("client", "server"))
@on(*LOOPS)
async def test_hand_over_reader_and_writer_are_dropped_the_connection_lives_on(side):
    keepers = []

    async def handler(reader, writer):
        keepers.append(PooledTypeRecorder())
        writer.hand_over(keepers[-1])

    server = await net().create_server(lambda: poolio.StreamProtocol(handler), "127.0.0.1", 0)
    _, protocol = await net().create_connection(poolio.StreamProtocol, *server.sockets[0].getsockname())
    reader, writer = protocol.reader, protocol.take_writer()
    await eventually(lambda: keepers)
    talker, listener = writer.transport, keepers[0]
    if side == "client":
        keepers.append(PooledTypeRecorder())
        writer.hand_over(keepers[1])
        talker, listener = keepers[0].transport, keepers[1]
        del reader, writer, protocol
    await turns()
    gc.collect()
    await turns()
    talker.write(b"still there")
    await eventually(lambda: listener.received == b"still there")
    talker.close()
    await asyncio.gather(*(keeper.ended for keeper in keepers))
    server.close()
    await server.wait_closed()
    if side == "server":
        await closed(writer)


@on(*OURS)
async def test_hand_over_while_a_task_waits_to_read_is_refused():
    async with pair(waits=False) as ((_, client_writer), (reader, writer)):
        task = asyncio.create_task(reader.read(5))
        await turns()
        with pytest.raises(RuntimeError, match="a task waits"):
            writer.hand_over(TypeRecorder())
        client_writer.write(b"abc")
        assert await task == b"abc"


@on(*OURS)
async def test_hand_over_after_the_connection_was_lost_raises():
    async with pair(waits=False) as (_, (_, writer)):
        await closed(writer)
        with pytest.raises(ConnectionResetError):
            writer.hand_over(TypeRecorder())


@on(*LOOPS)
async def test_hand_over_protocol_gives_no_room_it_raises_and_the_connection_is_aborted():
    class NoRoom(RoomTypeRecorder):
        room_bytes = 0

    async with pair(waits=False) as ((_, client_writer), (reader, writer)):
        client_writer.write(b"unread")
        await eventually(lambda: len(reader.chain) == 6)
        keeper = NoRoom()
        with pytest.raises(RuntimeError, match="empty buffer"):
            writer.hand_over(keeper)
        await keeper.ended


@on(*LOOPS)
async def test_hand_over_protocol_fails_the_connection_is_aborted():
    class Failing(TypeRecorder):
        def connection_made(self, transport):
            raise ZeroDivisionError

    async with pair(waits=False) as ((client, _), (_, writer)):
        keeper = Failing()
        with pytest.raises(ZeroDivisionError):
            writer.hand_over(keeper)
        await keeper.ended
        assert await client.read() == b""


@on(*LOOPS)
async def test_hand_over_who_waits_for_the_end_is_told_when_it_comes():
    async with pair(waits=False) as ((_, client_writer), (_, writer)):
        waiting = asyncio.create_task(writer.wait_closed())
        await turns()
        keeper = TypeRecorder()
        writer.hand_over(keeper)
        client_writer.close()
        await keeper.ended
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        waiting.cancel()
        assert done
