"""Owns the start of TLS on a connection that is there already, whichever transport it has; and what poolio changes
about asyncio's TLS, a protocol for transports that are not poolio's.

Refuses to know how loops make connections and what sockets are. Called by the loops floor where a connection becomes
encrypted, and by StreamWriter.start_tls().

What has come and was not read when TLS starts belongs to TLS. A client may send its hello together with the last line
in the clear. And what somebody has slipped in on the way must not be read as if it had come encrypted: OpenSSL gets it,
and refuses it.
"""

import asyncio
import types
from asyncio import sslproto
from collections.abc import Callable, Generator
from ssl import SSLContext
from typing import Any

from poolio.wire.limits import heard_a_handshake, note_first_frame
from poolio.wire.reactor import Reactor
from poolio.wire.receiver import deliver, drop_unread, unread_of
from poolio.wire.stream import StreamTransport
from poolio.wire.tlstransport import TLSTransport

__all__ = ["TLSProtocol", "share_room", "start_tls"]


class TLSProtocol(sslproto.SSLProtocol):
    """asyncio's SSLProtocol, safe for an application that reads only while it may write, and for TLS in TLS.

    With tiny write limits asyncio's own SSLProtocol pauses such an application for ever: the session tickets of the
    handshake are not sent before the next read, and at a limit of 0 an empty queue already counts as too much.
    On CPython 3.11 an error of a connection within raises TypeError, as its transport gives _abort() the exception.
    """

    def _set_state(self, new_state: Any) -> None:
        # not in _on_handshake_complete(): an override's frame would hold the exception, which holds that frame
        super()._set_state(new_state)  # type: ignore[misc]
        if new_state is sslproto.SSLProtocolState.WRAPPED:
            self._process_outgoing()  # type: ignore[attr-defined]
            if not self._incoming.pending:  # type: ignore[attr-defined]
                heard_a_handshake(self._transport)

    def _set_app_protocol(self, app_protocol: Any) -> None:
        note_first_frame(getattr(self, "_transport", None))
        super()._set_app_protocol(app_protocol)

    def begin_with(self, data: bytes) -> None:
        """Take the first bytes of the handshake, before connection_made()."""
        self._incoming.write(data)  # type: ignore[attr-defined]

    def secured_transport(self) -> Any:
        return self._app_transport

    def _abort(self, exc: BaseException | None = None) -> None:
        self._set_state(sslproto.SSLProtocolState.UNWRAPPED)
        transport: Any = self._transport
        if transport is not None:
            transport._force_close(exc)

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


async def start_tls(
    transport: Any, protocol: Any, sslcontext: SSLContext, *, loop: asyncio.AbstractEventLoop, **options: Any,
) -> asyncio.Transport | None:
    """Upgrade a connection on any transport of the loop, as its `start_tls()` does, with its options.

    The transport may be encrypted itself. What is unread in a protocol of poolio's is the beginning of the handshake.
    """
    carrier = transport
    while isinstance(carrier, sslproto._SSLProtocolTransport):
        tls: Any = carrier._ssl_protocol
        carrier = None if tls is None else tls._transport
    if carrier is None:
        raise ConnectionResetError("Connection lost")
    if type(carrier) in (StreamTransport, TLSTransport):
        secured: asyncio.Transport | None = await carrier._adapter.start_tls(
            transport, protocol, sslcontext, **options)
        return secured
    return await _start_elsewhere(transport, protocol, sslcontext, loop, options)


async def _start_elsewhere(
    transport: Any, protocol: Any, sslcontext: SSLContext, loop: asyncio.AbstractEventLoop, options: dict[str, Any],
) -> asyncio.Transport | None:
    """Let the loop upgrade a transport of its own, and give its TLS protocol what is unread.

    Before it waits, every loop's start_tls() schedules connection_made() and resume_reading(). What is unread comes
    right after these two, before anything can be read.
    """
    is_unread = len(unread_of(protocol)) > 0
    upgrading = loop.start_tls(transport, protocol, sslcontext, **options)
    if not is_unread:
        return await upgrading
    failures: list[BaseException] = []
    secured: asyncio.Transport | None = await _when_it_waits(
        upgrading, lambda: loop.call_soon(_give_unread, transport, protocol, failures))
    if failures:
        raise failures.pop()
    return secured


@types.coroutine
def _when_it_waits(coroutine: Any, callback: Callable[[], object]) -> Generator[Any, Any, Any]:
    """Await a coroutine, and call back when it waits for the first time."""
    resume, value = coroutine.send, None
    try:
        waits_for = resume(value)
        callback()
        while True:
            try:
                resume, value = coroutine.send, (yield waits_for)
            except BaseException as exc:
                resume, value = coroutine.throw, exc
            waits_for = resume(value)
    except StopIteration as end:
        return end.value
    finally:
        del value  # it may be an exception, which has this frame


def _give_unread(transport: Any, protocol: Any, failures: list[BaseException]) -> None:
    try:
        deliver(transport.get_protocol(), unread_of(protocol))
    except BaseException as exc:
        failures.append(exc)
        transport.abort()
    finally:
        drop_unread(protocol)
