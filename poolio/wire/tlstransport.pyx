"""Owns the TLS transport: an encrypted connection with all that asyncio promises of one. Its beginning and its end are
here.

Refuses to know how it writes (sealing) and reads (unsealing), and how bytes are encrypted (tlsengine, openssl). The
stream transport that carries it sends and receives the ciphertext; it is that one's protocol, and its user's transport.
Between an inner TLS transport and the carrier lies the outer one, which is `below` it.
Called by what is below at the beginning and at the end; by protocols, and by the streams, in C.

    NEW ── connection_made() ──> SHAKES ── the handshake is done ──> OPEN
    OPEN ── close(), the peer's close_notify, the peer's end ──> FLUSHES ── all is encrypted ──> SHUTS
    SHUTS ── the peer's close_notify ──> OVER

After close() nothing is delivered any more: what the peer still sends is passed over until its close_notify comes.
"""

import asyncio
import ssl
from asyncio import constants
from asyncio.log import logger
from asyncio.sslproto import SSLAgainErrors, _create_transport_context

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject

from poolio.c.python cimport PyContext_Exit
from poolio.wire.endpoint cimport CLOSING, HEARD, LOST, SHORT, has_no_attributes, set_attribute
from poolio.wire.openssl cimport new_engine
from poolio.wire.reactor cimport enter_context, free_context
from poolio.wire.sealing cimport (
    APP_AT_END, APP_MADE, FLUSHES, GOES_ON, INSIDE, IS_PAUSED, IS_SECURED, NEW, OPEN, OVER, PEER_AT_END, SHAKES, SHUTS,
    TLS_HIGH_WATER, WAS_CLOSED, Phase,
)
from poolio.wire.shortage cimport stop_waiting
from poolio.wire.stream cimport StreamTransport
from poolio.wire.tlsengine cimport FAILED
from poolio.wire.unsealing cimport Unsealing
from poolio.wire.writequeue cimport clear_queue, is_sound

from poolio.memory.methods import forbid_new
from poolio.wire.endpoint import show_attributes


class SSLTransportShape(asyncio.transports._FlowControlMixin, asyncio.Transport):
    """What isinstance() sees in a TLSTransport, which can't inherit from asyncio's classes: their slots collide.

    Its name has "ssl" in it, as that of asyncio's has: some look for that to tell whether a connection is encrypted.
    """


@cython.final
cdef class TLSTransport(Unsealing):
    """An encrypted connection; use it as asyncio.Transport.

    `write()` takes Buffers as well as bytes-like objects. It is made by poolio's functions that connect and serve, with
    `ssl=`, by start_tls(), and by poolio.EventLoop.
    """

    _start_tls_compatible = True
    _sendfile_compatible = constants._SendfileMode.FALLBACK

    def __init__(self):
        raise TypeError("a TLSTransport is made by create_server(), create_connection() and the like, with ssl=")

    @property
    def __class__(self):
        return SSLTransportShape

    def __setattr__(self, name, value):
        set_attribute(self, name, value)

    def __repr__(self):
        if self.phase == OVER:
            return "<poolio.TLSTransport closed>"
        return f"<poolio.TLSTransport{' closing' if self.is_closing() else ''} over {self.below!r}>"

    # --- the beginning ----------------------------------------------------------------------------------

    def connection_made(self, transport):
        """Called by what is below, whose context is entered: begin the handshake."""
        self.carrier = (
            (<TLSTransport>transport).carrier if type(transport) is TLSTransport else <StreamTransport?>transport)
        self.below = transport
        if self.phase != NEW:
            return
        self.phase = SHAKES
        self.set_marks()
        self.timer = self._loop.call_later(self.handshake_seconds, self._shakes_too_long)
        if not self.engine.sslobj.server_side or self.engine.has_more():    # a server has nothing to say first
            self.shake()
        if self.phase == OPEN and self.engine.has_more():
            self.go_on_soon()

    def _shakes_too_long(self):
        if self.phase == SHAKES:
            self.fail(ConnectionAbortedError(
                f"SSL handshake is taking longer than {self.handshake_seconds} seconds: aborting the connection"),
                "Fatal error on transport")

    cdef int shake(self) except -1:
        """Take the next step of the handshake. The context is entered."""
        self.flags |= INSIDE
        failure = None
        is_done = False
        try:
            self.engine.sslobj.do_handshake()
            is_done = True
        except SSLAgainErrors:
            pass
        except Exception as exc:
            failure = exc
        finally:
            self.flags &= ~<unsigned int>INSIDE
        if self.phase != SHAKES or self.carrier.state & LOST:       # a callback has ended it
            return 0
        self.say()                                                 # an alert, too
        if failure is not None:
            return self._fail_handshake(failure)
        return self._shook() if is_done else 0

    cdef int _fail_handshake(self, exc) except -1:
        self.stop_timer()
        self.phase = OVER
        verifying = isinstance(exc, ssl.CertificateError)
        self.fail(exc, "SSL handshake failed on verifying the certificate" if verifying else "SSL handshake failed")
        return self._wake(exc)

    cdef int _shook(self) except -1:
        self.stop_timer()
        self.phase = OPEN
        self.flags |= IS_SECURED
        self.engine.settle()
        if self.is_inner():
            self.engine.runs_python = True                  # what it seals is not the carrier's to send
        if not self.engine.has_more():
            self.carrier.state &= ~<unsigned int>HEARD      # what was heard was not for the protocol
        if not self.flags & APP_MADE:
            self.flags |= APP_MADE
            try:
                self.protocol.connection_made(self)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                self.fail(exc, "Fatal error: protocol.connection_made() call failed.")
        self._wake(None)
        if self.phase == OPEN and self.backlog.first != NULL:
            self.seal_backlog()
        return 0

    cdef int _wake(self, exc) except -1:
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None) if exc is None else waiter.set_exception(exc)
        return 0

    cdef int stop_timer(self) except -1:
        timer, self.timer = self.timer, None
        if timer is not None:
            timer.cancel()
        return 0

    # --- the end ----------------------------------------------------------------------------------------

    def is_closing(self):
        """True if it is closing or closed."""
        if self.flags & WAS_CLOSED or self.phase >= FLUSHES:
            return True
        return self.carrier is not None and self.carrier.state & CLOSING != 0

    def close(self):
        """Send what was written and a close_notify, wait for the peer's, then close. connection_lost() comes later."""
        self.flags |= WAS_CLOSED
        if self.phase == SHAKES:
            self.abort()
        elif self.phase == OPEN:
            self.phase = FLUSHES
            self._start_timer()
            self.update_reading()
            if self.flags & INSIDE:
                self._loop.call_soon(self._flush_later)
            else:
                self.flush()

    def _flush_later(self):
        if self.phase == FLUSHES:
            self.flush()

    def _start_timer(self):
        self.timer = self._loop.call_later(self.shutdown_seconds, self._shuts_too_long)

    def _shuts_too_long(self):
        if self.phase == FLUSHES or self.phase == SHUTS:
            self.below._force_close(TimeoutError("SSL shutdown timed out"))

    cdef int flush(self) except -1:
        """Send what was written, as far as the carrier takes it, and then the close_notify."""
        self.seal_backlog()
        if self.backlog.first != NULL and not self.carrier.state & LOST:
            return 0
        self.phase = SHUTS
        if self.engine.has_more() and self.pass_over() == FAILED:
            return 0
        return self.shut()

    cdef int shut(self) except -1:
        """Send a close_notify, or look whether the peer's has come."""
        if self.carrier.state & LOST:
            return 0
        try:
            if not self.flags & PEER_AT_END:
                self.engine.sslobj.unwrap()
        except SSLAgainErrors:
            return self.say()
        except ssl.SSLError as exc:
            self.stop_timer()
            return self.fail(exc, "Fatal error on transport")
        self.say()
        context = enter_context(self.carrier.context)
        try:
            self._tell_end()
        finally:
            PyContext_Exit(<PyObject *>context)
        self.below.close()              # the timer goes on: a peer that does not read must not keep what is queued
        return 0

    cdef int end_of_peer(self) except -1:
        """The peer's close_notify, or its end without one: tell the protocol, send what it writes, and close."""
        context = enter_context(self.carrier.context)
        try:
            self._tell_end()
        finally:
            PyContext_Exit(<PyObject *>context)
        if self.phase == OPEN:
            self.close()
        return 0

    cdef int _tell_end(self) except -1:
        """Call eof_received(), once. The context is entered."""
        if self.flags & (APP_MADE | APP_AT_END) != APP_MADE:
            return 0
        self.flags |= APP_AT_END
        try:
            if self.protocol.eof_received():
                logger.warning("returning true from eof_received() has no effect when using ssl")
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self.fail(exc, "Error calling eof_received()")
        return 0

    def eof_received(self):
        """Called by what is below when it has no more; its context is entered. A carrier is not closed for that."""
        self.flags |= PEER_AT_END
        if self.phase == SHAKES:
            self._fail_handshake(ConnectionResetError())
        elif self.phase == OPEN and not self.flags & (IS_PAUSED | GOES_ON):
            self._tell_end()
            if self.phase == OPEN:
                self.close()
        elif self.phase == SHUTS:
            self._tell_end()
            self.shut()
        return not self.is_inner()

    def abort(self):
        """Close at once. What is not sent is lost."""
        self._force_close(None)

    def _force_close(self, exc):
        self.flags |= WAS_CLOSED
        self.phase = OVER
        if self.below is not None:
            self.below._force_close(exc)

    def connection_lost(self, exc):
        """Called by what is below, whose context is entered; before connection_made(), too, if it was lost then."""
        cdef Phase phase = self.phase
        protocol, self.protocol = self.protocol, None
        self.phase = OVER
        self.flags |= WAS_CLOSED
        self.stop_timer()
        if not self.flags & INSIDE:
            clear_queue(&self.backlog)
        context = None                                          # the current one
        try:
            if phase != SHAKES and self.flags & APP_MADE:       # in the next turn, as on asyncio
                if self.carrier is not None:
                    context = free_context(self.carrier.context)
                self._loop.call_soon(protocol.connection_lost, exc, context=context)
        finally:
            self._wake(exc)
            self.forget()

    def secured_transport(self):
        """Itself; None if the connection is lost."""
        return None if self.phase == OVER and self.protocol is None else self

    @property
    def _ssl_protocol(self):
        """Itself, which is the carrier's protocol: CPython's tests pause and resume that."""
        return self

    @property
    def _adapter(self):
        return self.carrier.reactor.adapter

    # --- what others may ask ----------------------------------------------------------------------------

    def get_protocol(self):
        """The protocol; None after connection_lost()."""
        return self.protocol

    def set_protocol(self, protocol):
        """Hand over to this protocol: it is called from now on."""
        if self.carrier is not None:
            self.carrier.send_cork()
            self.carrier.note_first_frame()
            if self.carrier.state & SHORT:              # the other protocol may have another pool
                stop_waiting(self.carrier, self.carrier.slab)
                self.carrier.room_again()
        self.protocol = protocol
        self.forget()

    def get_extra_info(self, name, default=None):
        """What is known as 'ssl_object', 'sslcontext', 'peercert', 'cipher', 'compression', 'tls_engine', or what the
        connection below tells; else `default`.
        """
        if name == "sslcontext":
            return self.context_of_tls
        if name == "tls_engine":
            return self.engine.name
        if name in ("ssl_object", "peercert", "cipher", "compression") and self.flags & IS_SECURED:
            return self._of_tls(name)
        return default if self.below is None else self.below.get_extra_info(name, default)

    def _of_tls(self, name):
        if name == "ssl_object":
            return self.engine.sslobj
        return self.engine.sslobj.getpeercert() if name == "peercert" else getattr(self.engine.sslobj, name)()

    def check(self):
        """Raise AssertionError unless the state adds up."""
        if not is_sound(&self.backlog):
            raise AssertionError(f"{self!r}: the backlog does not add up")
        self.below.check()


forbid_new(TLSTransport)
show_attributes(TLSTransport)


cdef double _checked_seconds(str name, value, double default) except -1:
    if value is None:
        return default
    if value <= 0:
        raise ValueError(f"{name} should be a positive number, got {value}")
    return value


def make_secure(
    loop, protocol, sslcontext, waiter=None, server_side=False, server_hostname=None, *, call_connection_made=True,
    ssl_handshake_timeout=None, ssl_shutdown_timeout=None, bytes first=b"",
):
    """Make the TLS transport that a stream transport is to have as its protocol.

    The arguments are those of asyncio's SSLProtocol; `first` is the beginning of the handshake, if it has come already.
    """
    cdef TLSTransport transport = TLSTransport.__new__(TLSTransport)
    transport.handshake_seconds = _checked_seconds(
        "ssl_handshake_timeout", ssl_handshake_timeout, constants.SSL_HANDSHAKE_TIMEOUT)
    transport.shutdown_seconds = _checked_seconds(
        "ssl_shutdown_timeout", ssl_shutdown_timeout, constants.SSL_SHUTDOWN_TIMEOUT)
    if not sslcontext:
        sslcontext = _create_transport_context(server_side, server_hostname)
    has_no_attributes(transport)
    transport._loop = loop
    transport.context_of_tls = sslcontext
    transport.protocol = protocol
    transport.waiter = waiter
    transport.flags = 0 if call_connection_made else APP_MADE
    transport.high_water = TLS_HIGH_WATER
    transport.low_water = TLS_HIGH_WATER // 4
    transport.engine = new_engine(sslcontext, server_side, None if server_side else server_hostname or None)
    if first:
        transport.engine.feed(PyBytes_AS_STRING(first), PyBytes_GET_SIZE(first))
        transport.engine.keep()
    return transport
