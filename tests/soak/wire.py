"""A wire: what a link says goes over it, in the clear or by TLS. A plain nonblocking socket, and Python's ssl module.

Refuses to know what is said, and when. send() and receive() raise BlockingIOError if they have to wait, and
ConnectionError if the connection is broken.
"""

import contextlib
import socket
import ssl

import trustme

CHUNK = 65_536


class PlainWire:
    wants_to_send = False           # something of its own waits for the socket
    has_more = False                # received, and not yet asked for
    is_ready = True

    def __init__(self, sock):
        self.sock = sock

    def send(self, data):
        return self.sock.send(data)

    def receive(self, most):
        return self.sock.recv(most)

    def shut(self):
        """Nothing more will be sent; what comes is still read."""
        with contextlib.suppress(OSError):              # reset meanwhile: reading will tell
            self.sock.shutdown(socket.SHUT_WR)

    def say_goodbye(self):
        """Nothing more to be said: close() says so."""


class TLSWire:
    """The same over TLS, by memory BIOs; the handshake takes place in whatever is called first."""

    def __init__(self, sock, context):
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.rest = b""             # encrypted, and not yet taken by the kernel
        self.ahead = b""            # decrypted, and not yet asked for
        self.is_ready = False

    @property
    def wants_to_send(self):
        return bool(self.rest or self.outgoing.pending)

    @property
    def has_more(self):
        return self.is_ready and bool(self.ahead or self.tls.pending() or self.incoming.pending)

    def proceed(self):
        """The handshake, as far as it goes; BlockingIOError until it is complete."""
        try:
            self.tls.do_handshake()
            self.is_ready = True
        except ssl.SSLWantReadError:
            raise BlockingIOError from None
        finally:
            self.flush()

    def flush(self):
        self.rest += self.outgoing.read()
        with contextlib.suppress(BlockingIOError):
            while self.rest:
                self.rest = self.rest[self.sock.send(self.rest[:CHUNK]):]

    def send(self, data):
        if not self.is_ready:
            self.proceed()
        if self.wants_to_send:
            self.flush()
            if self.wants_to_send:
                raise BlockingIOError
        count = self.tls.write(data[:CHUNK])
        self.flush()
        return count

    def receive(self, most):
        """Empty at the end, which has to be told by TLS; ConnectionError if it is not."""
        if self.ahead:
            data, self.ahead = self.ahead[:most], self.ahead[most:]
            return data
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                if self.is_ready:
                    return self.read(most)
            self.feed()
            if not self.is_ready:
                self.proceed()

    def read(self, most):
        try:
            return self.tls.read(most)
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLEOFError:
            raise ConnectionAbortedError("the end came without a word of TLS") from None

    def feed(self):
        data = self.sock.recv(CHUNK)
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    def shut(self):
        """By a close_notify. Python's unwrap() also looks for the other one, and would fall over data before it."""
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            while data := self.read(CHUNK):
                self.ahead += data
        self.say_goodbye()

    def say_goodbye(self):
        if self.is_ready:
            with contextlib.suppress(ssl.SSLError, OSError):
                self.tls.unwrap()
        with contextlib.suppress(OSError):
            self.flush()


def context_of(folder):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(f"{folder}/authority.pem")
    return context


def make_certificates(folder):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(f"{folder}/authority.pem")
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(f"{folder}/server.pem")


def server_context_of(folder):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/server.pem")
    return context
