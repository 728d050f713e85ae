"""Owns what poolio changes about asyncio's TLS, which runs as a protocol on poolio's stream transport.

Refuses to know loops and sockets. Called by the loops floor wherever a connection becomes encrypted.
"""

from asyncio import sslproto

from poolio.wire.reactor import Reactor

__all__ = ["TLSProtocol", "share_room"]


class TLSProtocol(sslproto.SSLProtocol):
    """asyncio's SSLProtocol, safe for an application that reads only while it may write.

    With tiny write limits asyncio's own SSLProtocol pauses such an application for ever: the session tickets of the
    handshake are not sent before the next read, and at a limit of 0 an empty queue already counts as too much.
    """

    def _on_handshake_complete(self, handshake_exc):  # type: ignore
        if handshake_exc is None:
            self._process_outgoing()  # type: ignore[attr-defined]
        super()._on_handshake_complete(handshake_exc)

    def _control_app_writing(self) -> None:
        size = self._get_write_buffer_size()  # type: ignore[attr-defined]
        if self._app_writing_paused or size > self._outgoing_high_water:  # type: ignore[attr-defined]
            super()._control_app_writing()  # type: ignore[misc]


def share_room(tls: sslproto.SSLProtocol, reactor: Reactor) -> None:
    """Let a TLS connection be read into 256 KiB that all connections of its reactor share, not into its own 256 KiB.

    SAFE: a transport asks for the room, reads, and tells how much came in one go; the bytes are copied out at once. One
    reactor does this in one thread at a time, while two loops whose connections were made in one thread may run in two.
    """
    if reactor.tls_room is None:
        reactor.tls_room = bytearray(tls.max_size)
    tls._ssl_buffer = reactor.tls_room  # type: ignore[attr-defined]
    tls._ssl_buffer_view = memoryview(reactor.tls_room)  # type: ignore[attr-defined]
