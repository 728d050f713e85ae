"""What a peer does wrong: frames that are none, an end within a frame. Answered, closed, one line in the log."""

import asyncio
import logging

import pytest
from kit.pairs import collect_errors, linked, listed_in, net, on, received_by
from kit.wires import LOOPS, eventually

import poolio

every_loop = on(*LOOPS)


class Kept(poolio.FramedProtocol):
    codec = poolio.LengthPrefixed(1, max_frame=9)

    def __init__(self):
        super().__init__()
        self.frames, self.errors = [], []
        self.ended = asyncio.get_running_loop().create_future()

    def frames_received(self, frames):
        self.frames += [frame.tobytes() for frame in frames]

    def connection_lost(self, exc):
        super().connection_lost(exc)
        self.ended.set_result(exc)


class Single(Kept):
    frames_received = poolio.FramedProtocol.frames_received

    def frame_received(self, frame):
        self.frames.append(frame.tobytes())


class Answering(Kept):
    def frame_error(self, exc):
        self.errors.append(exc)
        self.write(f"-ERR {exc}\r\n".encode())


both = pytest.mark.parametrize("kind", (Kept, Single))


@both
@every_loop
async def test_frame_beyond_the_limit_closes_with_one_line_that_names_the_peer(kind, caplog):
    caplog.set_level(logging.INFO, "poolio")
    handled = collect_errors()
    protocol, peer = await linked(kind)
    with peer:
        address = peer.getsockname()
        peer.sendall(b"\x02ab\xc8" + bytes(5) + b"\x01c")
        assert await protocol.ended is None
    assert (protocol.frames, handled) == ([b"ab"], [])
    assert [(record.levelname, record.exc_info, record.getMessage()) for record in caplog.records] == [
        ("INFO", None, f"closing the connection of {address}: a frame of 200 bytes is beyond the limit of 9")]


@both
@every_loop
async def test_end_within_a_frame_is_one_line_too(kind, caplog):
    caplog.set_level(logging.INFO, "poolio")
    handled = collect_errors()
    protocol, peer = await linked(kind)
    with peer:
        peer.sendall(b"\x02ab\x05cde")
    assert await protocol.ended is None
    assert (protocol.frames, handled, len(caplog.records)) == ([b"ab"], [], 1)
    assert caplog.records[0].getMessage().endswith(": it ended 4 bytes into a frame")


@every_loop
async def test_answer_to_what_is_no_frame_arrives_before_the_end(caplog):
    caplog.set_level(logging.INFO, "poolio")
    protocol, peer = await linked(Answering)
    with peer:
        peer.sendall(b"\x01a\xc8" + bytes(500))
        assert await received_by(peer) == b"-ERR a frame of 200 bytes is beyond the limit of 9\r\n"
        assert await protocol.ended is None
    assert [type(exc) for exc in protocol.errors] == [poolio.FrameTooLarge]
    assert (protocol.frames, caplog.records) == ([b"a"], [])


@every_loop
async def test_frame_error_that_raises_is_a_bug_and_still_closes():
    class Broken(Kept):
        def frame_error(self, exc):
            raise ZeroDivisionError

    handled = collect_errors()
    protocol, peer = await linked(Broken)
    with peer:
        peer.sendall(b"\xc8")
        await protocol.ended
    assert [type(context["exception"]) for context in handled] == [ZeroDivisionError]


@every_loop
async def test_codec_that_fails_otherwise_is_a_bug():
    class Broken(Kept):
        codec = type("Codec", (poolio.Codec,), {"decode": lambda self, chain: 1 // 0})

    handled = collect_errors()
    protocol, peer = await linked(Broken)
    with peer:
        peer.sendall(b"x")
        assert isinstance(await protocol.ended, ZeroDivisionError)
    assert [type(context["exception"]) for context in handled] == [ZeroDivisionError]


async def test_fed_by_hand_the_error_is_the_callers():
    with pytest.raises(poolio.FrameTooLarge, match="200 bytes"):
        Kept().data_received(b"\xc8")


@pytest.mark.parametrize("sent, reason", (
    (b"\xc8", "a frame of 200 bytes is beyond the limit of 9"), (b"\x05ab", "it ended 3 bytes into a frame")))
@every_loop
async def test_handler_of_a_stream_that_meets_them_is_one_line_as_well(sent, reason, caplog):
    caplog.set_level(logging.INFO, "poolio")
    handled, frames = collect_errors(), []

    async def handle(reader, writer):
        async for frame in reader.frames(Kept.codec):
            frames.append(frame.tobytes())

    made = []
    server = await net().create_server(
        listed_in(made, lambda: poolio.StreamProtocol(handle)), "127.0.0.1", 0)
    protocol, writer = await poolio.open_connection(*server.sockets[0].getsockname()[:2])
    writer.write(b"\x01a" + sent)
    writer.write_eof()
    assert await protocol.read(-1) == b""
    writer.close()
    await eventually(lambda: caplog.records)
    server.close()
    await server.wait_closed()
    assert (frames, handled, len(caplog.records)) == ([b"a"], [], 1)
    assert caplog.records[0].getMessage().endswith(f": {reason}")


@every_loop
async def test_handler_of_a_stream_that_has_a_bug_is_reported():
    handled = collect_errors()

    async def handle(reader, writer):
        raise poolio.FrameError("of its own making")

    server = await net().create_server(lambda: poolio.StreamProtocol(handle), "127.0.0.1", 0)
    reader, writer = await poolio.open_connection(*server.sockets[0].getsockname()[:2])
    assert await reader.read(-1) == b""
    writer.close()
    server.close()
    await server.wait_closed()
    assert [str(context["exception"]) for context in handled] == ["of its own making"]


WRONG = (b"\xc8" + bytes(9), b"\x05ab", b"\x01a\xff", b"\x09")


@pytest.mark.parametrize("way", ("frames_received", "frame_received", "stream"))
@every_loop
async def test_thousand_malformed_connections_are_thousand_lines_and_no_traceback(way, caplog):
    async def handle(reader, writer):
        async for _ in reader.frames(Kept.codec):
            pass

    async def misbehave(number):
        reader, writer = await poolio.open_connection(*server.sockets[0].getsockname()[:2])
        writer.write(WRONG[number % len(WRONG)])
        writer.write_eof()
        assert await reader.read(-1) == b""
        writer.close()

    caplog.set_level(logging.DEBUG)
    handled = collect_errors()
    factory = {"frames_received": Kept, "frame_received": Single, "stream": lambda: poolio.StreamProtocol(handle)}[way]
    server = await net().create_server(factory, "127.0.0.1", 0)
    for start in range(0, 1000, 50):
        await asyncio.gather(*map(misbehave, range(start, start + 50)))
    await eventually(lambda: len(caplog.records) >= 1000)
    server.close()
    await server.wait_closed()
    assert handled == []
    assert {(record.levelname, record.name, record.exc_info) for record in caplog.records} == {("INFO", "poolio", None)}
    assert len(caplog.records) == 1000
