"""FramedProtocol: what it does when its own __init__() was not called."""

import poolio


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
