"""Owns the talk with other people's programs: program() starts one, said() reads what it says, echo_server() echoes to
it, and pem_files() are the certificates in the form that it wants.

Called by the tests of TLS with openssl, curl, nginx and node.
"""

import asyncio
import contextlib
import os
import pathlib
import ssl
import tempfile

from kit.pairs import PooledRecorder
from kit.wires import BLOCK, SERVER_TLS, _authority, net

MEBIBYTE = BLOCK[:1 << 20]
VERSIONS = ("1.2", "1.3")
# These programs were built without what LD_PRELOAD brings into a build with sanitizers.
WITHOUT_SANITIZERS = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


@contextlib.asynccontextmanager
async def program(*command):
    """A process whose input and output are pipes; it is killed at the end."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT, env=WITHOUT_SANITIZERS)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def said(process, text):
    """Read what it says until it has said this; it fails if the process ends before."""
    heard = b""
    while text not in heard:
        data = await process.stdout.read(65_536)
        assert data, heard[-2000:]
        heard += data
    return heard


class Echo(PooledRecorder):
    made: list

    def connection_made(self, transport):
        super().connection_made(transport)
        self.made.append(self)

    def data_received(self, data):
        self.received += data
        self.write(data)


@contextlib.asynccontextmanager
async def echo_server(context=SERVER_TLS):
    """(port, the protocols made)"""
    kind = type("Echo", (Echo,), {"made": []})
    server = await net().create_server(kind, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], kind.made
    finally:
        server.close()
        for protocol in kind.made:
            if not protocol.ended.done():
                protocol.transport.abort()
        await server.wait_closed()


@contextlib.contextmanager
def pem_files():
    """A folder with `pem`, a certificate of localhost with its key, and `authority`, the certificate that it is of."""
    with tempfile.TemporaryDirectory() as folder:
        _authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(f"{folder}/pem")
        _authority.cert_pem.write_to_path(f"{folder}/authority")
        yield pathlib.Path(folder)


def trusting():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _authority.configure_trust(context)
    return context


async def echo_body(reader, writer):
    """Answer one HTTP request with its own body, and close."""
    head = bytes(await reader.readuntil(b"\r\n\r\n"))
    size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    body = bytes(await reader.readexactly(size))
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size)
    writer.write(body)
    writer.close()
