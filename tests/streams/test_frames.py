"""StreamReader.frames(): the frames of a stream come one by one, and the rest of the stream is read otherwise."""

import asyncio
import gc
import weakref

import pytest
from kit.pairs import bounded, turns
from kit.readers import fed, feed_soon, unread

import poolio

pytestmark = pytest.mark.usefixtures("default_pool_is_left_as_it_was")


@pytest.mark.parametrize("codec, data, frames", (
    (poolio.LengthPrefixed(2), b"\0\3abc\0\0\0\1d", [b"abc", b"", b"d"]),
    (poolio.Varint(), b"\3abc\0\1d", [b"abc", b"", b"d"]),
    (poolio.FixedSize(3), b"abcdef", [b"abc", b"def"]),
    (poolio.Delimited(b"\r\n"), b"abc\r\n\r\nd\r\n", [b"abc", b"", b"d"]),
))
@pytest.mark.parametrize("step", (1, 2, 100))
@bounded
async def test_frames_come_whole_however_they_are_fed(codec, data, frames, step):
    reader = poolio.StreamReader()

    async def feed():
        for start in range(0, len(data), step):
            reader.feed_data(data[start:start + step])
            await asyncio.sleep(0)
        reader.feed_eof()

    feeding = asyncio.create_task(feed())
    assert [bytes(frame) async for frame in reader.frames(codec)] == frames
    await feeding
    assert reader.at_eof()


@bounded
async def test_frames_stream_ends_within_one_raises_with_what_is_left():
    reader = fed(poolio.StreamReader, b"\0\1a\0\5bc")
    reader.feed_eof()
    frames = reader.frames(poolio.LengthPrefixed(2))
    assert await anext(frames) == b"a"
    with pytest.raises(asyncio.IncompleteReadError) as caught:
        await anext(frames)
    assert caught.value.partial == b"\0\5bc"
    with pytest.raises(StopAsyncIteration):
        await anext(frames)


@bounded
async def test_frames_too_large_raises_after_those_before_it():
    reader = fed(poolio.StreamReader, b"\0\1a\1\0")
    frames = reader.frames(poolio.LengthPrefixed(2, max_frame=255))
    assert await anext(frames) == b"a"
    for _ in range(2):
        with pytest.raises(poolio.FrameTooLarge):
            await anext(frames)
    assert await unread(reader) == b"\1\0"


@bounded
async def test_frames_too_large_and_discarded_goes_on_behind_it():
    codec = poolio.LengthPrefixed(1, max_frame=3, too_large="discard")
    reader = fed(poolio.StreamReader, b"\1a\xc8", bytes(100))
    frames = reader.frames(codec)
    assert await anext(frames) == b"a"
    feed_soon(reader, bytes(60), bytes(40) + b"\1b")
    assert await anext(frames) == b"b"
    assert codec.discarded == 1


@bounded
async def test_frames_of_a_codec_of_ones_own():
    class Numbers(poolio.Codec):
        def decode(self, chain):
            return chain.take(2).read_u16be(0) if len(chain) >= 2 else None

    reader = fed(poolio.StreamReader, b"\0\1\0\2\0")
    feed_soon(reader, b"\3", end=True)
    assert [number async for number in reader.frames(Numbers())] == [1, 2, 3]
    with pytest.raises(TypeError, match=r"frames\(\) needs a poolio\.Codec, .* not 'int'"):
        reader.frames(4)


@bounded
async def test_frames_of_a_class_are_one_codec_for_each_reader():
    class Sums(poolio.Codec):
        total = 0

        def decode(self, chain):
            self.total += chain.take(1)[0]
            return self.total

    first, second = fed(poolio.StreamReader, b"\1\2\3"), fed(poolio.StreamReader, b"\5")
    assert await anext(first.frames(Sums)) == 1
    assert await anext(second.frames(Sums)) == 5
    assert [await anext(first.frames(Sums)) for _ in range(2)] == [3, 6]


@bounded
async def test_frames_of_a_function_written_anew_for_each_frame_keep_few_codecs():
    made = weakref.WeakSet()

    class Single(poolio.Codec):
        def __init__(self):
            made.add(self)

        def decode(self, chain):
            return chain.take(1)

    reader = fed(poolio.StreamReader, bytes(range(100)))
    assert [(await anext(reader.frames(lambda: Single())))[0] for _ in range(100)] == list(range(100))
    gc.collect()
    assert len(made) <= 9


@bounded
async def test_frames_of_an_object_that_keeps_state_are_refused_to_a_second_reader():
    class Sums(poolio.Codec):
        total = 0

        def decode(self, chain):
            self.total += chain.take(1)[0]
            return self.total

    codec = Sums()
    first, second = fed(poolio.StreamReader, b"\1\2"), fed(poolio.StreamReader, b"\5")
    waiting = second.frames(codec)
    assert await anext(first.frames(codec)) == 1
    with pytest.raises(RuntimeError, match="Sums keeps state"):
        await anext(waiting)
    with pytest.raises(RuntimeError, match="and 3 connections"):
        fed(poolio.StreamReader, b"").frames(codec)


@bounded
async def test_frames_left_in_the_middle_the_rest_is_read_otherwise():
    reader = fed(poolio.StreamReader, b"\1a\2bc\3def", b"and the rest\n")
    async for frame in reader.frames(poolio.Varint()):
        if frame == b"bc":
            break
    assert await reader.read(1) == b"\3"
    assert await reader.readline() == b"defand the rest\n"
    reader.feed_data(b"\5part")
    task = asyncio.create_task(anext(reader.frames(poolio.Varint())))
    await turns()
    task.cancel()
    await turns()
    assert await unread(reader) == b"\5part"


@bounded
async def test_anext_with_a_default_returns_it_at_the_end():
    reader = fed(poolio.StreamReader, b"\1a")
    reader.feed_eof()
    frames = reader.frames(poolio.Varint())
    assert await anext(frames, None) == b"a"
    assert await anext(frames, None) is None
    assert await anext(reader, None) is None


@bounded
async def test_second_task_on_the_same_frames_is_refused_and_the_first_goes_on():
    reader = poolio.StreamReader()
    frames = reader.frames(poolio.FixedSize(2))
    first, second = (asyncio.create_task(anext(frames)) for _ in range(2))
    await turns()
    assert second.done()
    with pytest.raises(RuntimeError):
        await second
    reader.feed_data(b"ab")
    assert await first == b"ab"


@bounded
async def test_second_task_on_the_same_frames_is_cancelled_the_first_goes_on():
    reader = poolio.StreamReader()
    frames = reader.frames(poolio.FixedSize(2))
    first, second = (asyncio.create_task(anext(frames)) for _ in range(2))
    await turns()
    second.cancel()
    await turns()
    assert not first.done()
    reader.feed_data(b"ab")
    assert await first == b"ab"
    assert isinstance(second.exception() if not second.cancelled() else RuntimeError(), RuntimeError)


@pytest.mark.parametrize("how", ("cancel", "timeout", "wait_for"))
@bounded
async def test_same_frames_go_on_after_one_was_cancelled(how):
    reader = fed(poolio.StreamReader, b"ab")
    frames = reader.frames(poolio.FixedSize(4))
    for _ in range(2):
        with pytest.raises((TimeoutError, asyncio.CancelledError)):
            if how == "cancel":
                task = asyncio.create_task(anext(frames))
                await turns()
                task.cancel()
                await task
            elif how == "timeout":
                async with asyncio.timeout(0.005):
                    await anext(frames)
            else:
                await asyncio.wait_for(anext(frames), 0.005)
    feed_soon(reader, b"cdefgh")
    assert [await anext(frames), await anext(frames)] == [b"abcd", b"efgh"]
