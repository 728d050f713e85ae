"""Owns TLSByHand: a TLS peer on a plain connection, whose bytes are sent when and in the pieces that the test says.

It knows nothing of poolio. Called by the tests of streams, wire and security.
"""

import contextlib
import ssl

from kit.wires import CLIENT_TLS


class TLSByHand:
    """The client of a handshake. `reader` and `writer`: the plain connection's. `to_send()` is what it has to say."""

    def __init__(self, reader, writer, context=CLIENT_TLS):
        self.reader = reader
        self.writer = writer
        self.heard = b""                    # the beginning of what has come
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self._shake()

    def _shake(self):
        with contextlib.suppress(ssl.SSLWantReadError):
            self.object.do_handshake()
            return True
        return False

    def to_send(self):
        return self.outgoing.read()

    async def _more(self):
        data = bytes(await self.reader.read(65_536))
        assert data, "the peer has ended the connection"
        self.heard = self.heard or data
        self.incoming.write(data)

    async def handshake(self):
        """Send what is still to be sent, until the handshake is done. Its last bytes are left to `to_send()`."""
        while not self._shake():
            self.writer.write(self.to_send())
            await self._more()

    def write(self, data):
        self.object.write(data)
        self.writer.write(self.to_send())

    async def read(self, size):
        """Exactly so many bytes."""
        data = bytearray()
        while len(data) < size:
            try:
                data += self.object.read(size - len(data))
            except ssl.SSLWantReadError:
                await self._more()
        return bytes(data)

    async def read_until(self, end):
        """All that comes until a record ends with `end`, which is returned with it."""
        data = bytearray()
        while not data.endswith(end):
            try:
                data += self.object.read(65_536)
            except ssl.SSLWantReadError:
                await self._more()
        return bytes(data)

    async def read_end(self):
        """Read the close_notify of the other end, and send one."""
        while True:
            try:
                if self.object.read(1) == b"":
                    break
                raise AssertionError("there is something before the close_notify")
            except ssl.SSLWantReadError:
                await self._more()
        self.object.unwrap()
        self.writer.write(self.to_send())
