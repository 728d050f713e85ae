"""Owns ForgingPeer, a TLSByHand that seals records that no library would send; and forging(): a TLS server and such a
peer.

It takes the keys from the log that its context writes, as analysers of traffic do, and derives them as RFC 8446 and
RFC 5246 say. It knows nothing of poolio. Called by the tests of security.
"""

import contextlib
import functools
import hashlib
import hmac
import pathlib
import ssl
import tempfile

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from kit.pairs import PooledRecorder
from kit.tlsbyhand import TLSByHand
from kit.tlspairs import secured
from kit.wires import SERVER_TLS, _authority

ALERT, HANDSHAKE, DATA = 21, 22, 23                 # types of records
CLIENT_HELLO, KEY_UPDATE = 1, 24                    # types of messages
WARNING, NO_RENEGOTIATION, USER_CANCELED = 1, 100, 90
each_version = pytest.mark.parametrize("version", (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3))


def message(kind, content):
    """A message of a handshake."""
    return bytes([kind]) + len(content).to_bytes(3, "big") + content


def chained(secret, seed, size, digest):
    """P_hash of RFC 5246."""
    made, last = b"", seed
    while len(made) < size:
        last = hmac.digest(secret, last, digest)
        made += hmac.digest(secret, last + seed, digest)
    return made[:size]


class ForgingPeer(TLSByHand):
    """Its SSLObject must not write any more when the first record was forged; it may still read."""

    def __init__(self, reader, writer, *, version, folder):
        self.log = pathlib.Path(folder, "keys")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _authority.configure_trust(context)
        context.minimum_version = context.maximum_version = version
        context.set_ciphers("ECDHE+CHACHA20")       # of TLS 1.2: its nonces are like those of TLS 1.3
        context.keylog_filename = self.log
        self.secret = None
        super().__init__(reader, writer, context)

    def record(self, kind, content):
        """A record of this type, sealed."""
        if self.secret is None:
            self._use_logged_keys()
        nonce = (int.from_bytes(self.iv, "big") ^ self.sequence).to_bytes(12, "big")
        counted, self.sequence = self.sequence.to_bytes(8, "big"), self.sequence + 1
        if self.object.version() == "TLSv1.3":
            header = bytes([DATA, 3, 3]) + (len(content) + 17).to_bytes(2, "big")
            return header + self.aead.encrypt(nonce, content + bytes([kind]), header)
        beginning = bytes([kind, 3, 3])
        sealed = self.aead.encrypt(nonce, content, counted + beginning + len(content).to_bytes(2, "big"))
        return beginning + len(sealed).to_bytes(2, "big") + sealed

    def key_update(self, *, asks):
        """A key update, after which the next record has the new key. If it asks for one, the other side answers it."""
        record = self.record(HANDSHAKE, message(KEY_UPDATE, bytes([asks])))
        self._use(self._expand(b"traffic upd", self.digest().digest_size))
        return record

    def _use_logged_keys(self):
        suite = self.object.cipher()[0]
        self.cipher = ChaCha20Poly1305 if "CHACHA20" in suite else AESGCM
        self.digest = hashlib.sha384 if "SHA384" in suite else hashlib.sha256
        secrets = {words[0]: words for words in map(str.split, self.log.read_text().splitlines()) if words[0] != "#"}
        if self.object.version() == "TLSv1.3":
            self._use(bytes.fromhex(secrets["CLIENT_TRAFFIC_SECRET_0"][2]))
            return
        self.secret = bytes.fromhex(secrets["CLIENT_RANDOM"][2])
        client_random = bytes.fromhex(secrets["CLIENT_RANDOM"][1])
        keys = chained(self.secret, b"key expansion" + self.heard[11:43] + client_random, 88, self.digest)
        self.aead, self.iv, self.sequence = ChaCha20Poly1305(keys[:32]), keys[64:76], 1     # after its Finished

    def _use(self, secret):
        self.secret, self.sequence = secret, 0
        size = 16 if "AES_128" in self.object.cipher()[0] else 32
        self.aead, self.iv = self.cipher(self._expand(b"key", size)), self._expand(b"iv", 12)

    def _expand(self, label, size):
        """HKDF-Expand-Label of the secret."""
        label = b"tls13 " + label
        info = size.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0"
        return hmac.digest(self.secret, info + b"\1", self.digest)[:size]


@contextlib.asynccontextmanager
async def forging(version, factory=PooledRecorder, context=SERVER_TLS, **options):
    """(the server's protocol, a ForgingPeer whose handshake is done)."""
    with tempfile.TemporaryDirectory() as folder:
        peer = functools.partial(ForgingPeer, version=version, folder=folder)
        async with secured(factory, context, peer=peer, **options) as both:
            yield both
