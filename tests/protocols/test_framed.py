"""FramedProtocol: which codec it takes, and what it does when its own __init__() was not called."""

import pytest

import poolio


def test_no_codec_raises_saying_what_to_give():
    with pytest.raises(TypeError, match=r"needs a poolio\.Codec, not 'NoneType'"):
        poolio.FramedProtocol()


def test_codec_that_is_none_raises_naming_its_type():
    with pytest.raises(TypeError, match="not 'bytes'"):
        poolio.FramedProtocol(b"\n")


async def test_init_overridden_and_not_called_takes_the_codec_of_the_class():
    class Lines(poolio.FramedProtocol):
        codec = poolio.Delimited(b"\n")

        def __init__(self):
            self.lines = []

        def frames_received(self, frames):
            self.lines += frames

    protocol = Lines()
    protocol.data_received(poolio.from_bytes(b"one\ntwo\nthr"))
    assert protocol.lines == [b"one", b"two"]
