"""frames_received(): the frames of a read come in lists of a bounded number, and what a callback does holds at once."""

import asyncio
import itertools

import pytest
from kit.pairs import PooledRecorder, linked, on
from kit.wires import LOOPS, eventually

import poolio
from poolio.protocols.framed import BOUNDS

IN_A_LIST = BOUNDS["IN_A_LIST"]
every_loop = on(*LOOPS)


class Lists(poolio.FramedProtocol):
    codec = poolio.LengthPrefixed(1)

    def __init__(self):
        super().__init__()
        self.lists = []
        self.error = None

    def frames_received(self, frames):
        self.lists.append([frame.tobytes() for frame in frames])
        self.react()

    def react(self):
        pass

    def frame_error(self, exc):
        self.error = exc, len(self.lists)

    def connection_lost(self, exc):
        super().connection_lost(exc)
        self.lost = exc


def numbered(count, codec=Lists.codec):
    """That many frames, and what is sent for them."""
    frames = [b"%d" % number for number in range(count)]
    return frames, b"".join(bytes(codec.encode(frame)) for frame in frames)


@pytest.mark.parametrize("count", (1, IN_A_LIST - 1, IN_A_LIST, IN_A_LIST + 1, 3 * IN_A_LIST, 1000))
async def test_many_frames_of_a_read_come_in_full_lists_and_a_rest(count):
    frames, sent = numbered(count)
    protocol = Lists()
    protocol.data_received(sent)
    full, rest = divmod(count, IN_A_LIST)
    assert [len(each) for each in protocol.lists] == [IN_A_LIST] * full + [rest] * (rest > 0)
    assert list(itertools.chain(*protocol.lists)) == frames


@every_loop
async def test_frames_over_a_connection_come_in_order_in_bounded_lists():
    frames, sent = numbered(5000)
    protocol, peer = await linked(Lists)
    with peer:
        await asyncio.get_running_loop().run_in_executor(None, peer.sendall, sent)
        await eventually(lambda: sum(map(len, protocol.lists)) == 5000)
    assert list(itertools.chain(*protocol.lists)) == frames
    assert max(map(len, protocol.lists)) <= IN_A_LIST


@every_loop
async def test_closed_in_a_list_the_next_is_not_delivered():
    class Closing(Lists):
        def react(self):
            self.transport.close()

    protocol, peer = await linked(Closing)
    with peer:
        peer.sendall(numbered(1000)[1])
        await eventually(lambda: hasattr(protocol, "lost"))
    assert len(protocol.lists) == 1
    assert protocol.lost is None


@every_loop
async def test_list_whose_callback_raises_is_the_last():
    class Raising(Lists):
        def react(self):
            raise RuntimeError("in a list")

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    protocol, peer = await linked(Raising)
    with peer:
        peer.sendall(numbered(1000)[1])
        await eventually(lambda: hasattr(protocol, "lost"))
    assert len(protocol.lists) == 1


async def test_codec_changed_in_a_list_cuts_what_is_behind_it():
    class Changing(Lists):
        def react(self):
            if len(self.lists) == 1:
                self.set_codec(poolio.FixedSize(3))

    frames, sent = numbered(IN_A_LIST)
    protocol = Changing()
    protocol.data_received(sent + b"abcdef")
    assert protocol.lists == [frames, [b"abc", b"def"]]


@every_loop
async def test_handed_over_in_a_list_what_is_behind_it_is_the_other_protocols():
    class Proxy(Lists):
        def react(self):
            self.other = PooledRecorder()
            self.hand_over(self.other)

    frames, sent = numbered(IN_A_LIST)
    protocol, peer = await linked(Proxy)
    with peer:
        peer.sendall(sent + b"and more")
        await eventually(lambda: bytes(getattr(protocol, "other", b"") and protocol.other.received) == b"and more")
    assert protocol.lists == [frames]


async def test_error_behind_many_frames_comes_after_all_of_them():
    class Strict(Lists):
        codec = poolio.LengthPrefixed(1, max_frame=10)

    frames, sent = numbered(IN_A_LIST + 10)
    protocol = Strict()
    with pytest.raises(poolio.FrameTooLarge):
        protocol.data_received(sent + b"\xff")
    assert list(itertools.chain(*protocol.lists)) == frames


async def test_frames_that_nobody_keeps_are_given_back_before_the_next_list(make_pool):
    class Watching(Lists):
        pool = make_pool()

        def react(self):
            self.most = max(getattr(self, "most", 0), self.pool.statistics().live_buffers)

    protocol = Watching()
    protocol.data_received(protocol.pool.from_bytes(numbered(5000)[1]))
    assert protocol.most <= IN_A_LIST + 5
