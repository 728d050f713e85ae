"""frame_received(): one frame at a time, and what may change between two of them."""

import asyncio

import pytest
from kit.pairs import PooledRecorder, Recorder, RoomRecorder, linked, on, turns
from kit.wires import LOOPS, eventually

import poolio

every_loop = on(*LOOPS)


class Single(poolio.FramedProtocol):
    codec = poolio.Delimited(b"\n")

    def __init__(self):
        super().__init__()
        self.frames = []

    def frame_received(self, frame):
        self.frames.append(frame.tobytes())
        self.react(frame)

    def react(self, frame):
        pass


class Upgrading(Single):
    """A line `binary` makes the rest frames with a length; a frame `lines` makes it lines again."""

    def react(self, frame):
        if frame == b"binary":
            self.set_codec(poolio.LengthPrefixed(1))
        elif frame == b"lines":
            self.set_codec(poolio.Delimited(b"\n"))


STREAM = b"one\nbinary\n\x03a\nb\x00\x05lines\x0aand\ntwo\n"
FRAMES = [b"one", b"binary", b"a\nb", b"", b"lines", b"", b"and", b"two"]


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
async def test_codec_is_changed_in_between_no_byte_is_lost_in_any_split(cut):
    protocol = Upgrading()
    protocol.data_received(STREAM[:cut])
    protocol.data_received(STREAM[cut:])
    assert protocol.frames == FRAMES
    assert len(protocol.chain) == 0


async def test_codec_is_changed_byte_by_byte():
    protocol = Upgrading()
    for byte in STREAM:
        protocol.data_received(bytes([byte]))
    assert protocol.frames == FRAMES


async def test_codec_is_changed_in_a_list_of_frames_it_begins_behind_them():
    class Listed(poolio.FramedProtocol):
        codec = poolio.Delimited(b"\n")
        frames = ()

        def frames_received(self, frames):
            self.frames += tuple(frame.tobytes() for frame in frames)
            if frames[-1] == b"binary":
                self.set_codec(poolio.FixedSize(2))

    protocol = Listed()
    protocol.data_received(b"one\nbinary\n")
    protocol.data_received(b"\n\na")
    protocol.data_received(b"b")
    assert protocol.frames == (b"one", b"binary", b"\n\n", b"ab")


async def test_codec_is_changed_outside_of_a_callback_what_waits_is_looked_at():
    protocol = Single()
    protocol.data_received(b"\x02ab\x01")
    protocol.set_codec(poolio.LengthPrefixed(1))
    assert protocol.frames == [b"ab"]
    protocol.data_received(b"c")
    assert protocol.frames == [b"ab", b"c"]
    assert protocol.codec.width == 1


async def test_codec_that_is_changed_writes_as_well():
    protocol, sent = Single(), []
    protocol.write = sent.append
    protocol.write_frame(b"x")
    protocol.set_codec(poolio.LengthPrefixed(1))
    protocol.write_frame(b"x")
    assert sent == [b"x\n", b"\x01x"]


@every_loop
async def test_closed_in_a_frame_the_next_is_not_delivered():
    class Closing(Single):
        def react(self, frame):
            if frame == b"quit":
                self.transport.close()

        def connection_lost(self, exc):
            super().connection_lost(exc)
            self.ended.set_result(exc)

    protocol, peer = await linked(Closing)
    protocol.ended = asyncio.get_running_loop().create_future()
    with peer:
        peer.sendall(b"one\nquit\nthree\n")
        assert await protocol.ended is None
    assert protocol.frames == [b"one", b"quit"]


@pytest.mark.parametrize("kind", (Recorder, PooledRecorder, RoomRecorder))
@every_loop
async def test_handed_over_the_rest_is_the_other_protocols_in_any_split(kind):
    stream = b"one\nCONNECT\nnot\na line: \x00\xff"

    class Proxy(Single):
        def react(self, frame):
            if frame == b"CONNECT":
                self.other = kind()
                self.hand_over(self.other)

    for cut in range(len(stream)):
        protocol, peer = await linked(Proxy)
        with peer:
            peer.sendall(stream[:cut])
            await turns(6)
            peer.sendall(stream[cut:])
            await eventually(lambda protocol=protocol: len(protocol.frames) == 2)
            other = protocol.other
            await eventually(lambda other=other: len(other.received) == 14)
            peer.sendall(b" and more")
            await eventually(lambda other=other: len(other.received) == 23)
            assert bytes(other.received) == b"not\na line: \x00\xff and more"
            assert (protocol.frames, other.calls) == ([b"one", b"CONNECT"], ["made"])
            peer.close()
            assert await other.ended is None
            assert other.calls == ["made", "eof", "lost"]


async def test_hand_over_without_a_connection_says_so():
    with pytest.raises(ConnectionResetError, match="Connection lost"):
        Single().hand_over(asyncio.Protocol())


@every_loop
async def test_frame_received_that_raises_is_a_bug_and_ends_the_connection():
    class Broken(Single):
        def react(self, frame):
            raise ZeroDivisionError

        def connection_lost(self, exc):
            super().connection_lost(exc)
            self.ended.set_result(exc)

    handled = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: handled.append(type(context["exception"])))
    protocol, peer = await linked(Broken)
    protocol.ended = loop.create_future()
    with peer:
        peer.sendall(b"one\ntwo\n")
        assert isinstance(await protocol.ended, ZeroDivisionError)
    assert (protocol.frames, handled) == ([b"one"], [ZeroDivisionError])
