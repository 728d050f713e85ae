"""poolio's TLS and other people's: the openssl program and curl, as clients and as a server; key updates,
renegotiation, client certificates after the handshake.
"""

import asyncio
import contextlib
import os
import shutil
import ssl
import tempfile

import pytest
from kit.pairs import PooledRecorder, on
from kit.tlspairs import each_engine
from kit.wires import BLOCK, SERVER_TLS, _authority, eventually, net

import poolio

VERSIONS = ("-tls1_2", "-tls1_3")
WITHOUT_SANITIZERS = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl program is not installed")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


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
    """Read what it says until it has said this."""
    heard = b""
    while text not in heard:
        data = await process.stdout.read(65_536)
        assert data, heard
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


@contextlib.asynccontextmanager
async def s_server(*options):
    """(its process, its port)"""
    with tempfile.TemporaryDirectory() as folder:
        _authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(f"{folder}/pem")
        async with program("openssl", "s_server", "-accept", 0, "-cert", f"{folder}/pem", *options) as process:
            heard = await said(process, b"ACCEPT")
            while b"\n" not in heard.split(b"ACCEPT")[1]:
                heard += await process.stdout.read(100)
            yield process, int(heard.split(b"ACCEPT")[1].split(b"\n")[0].rsplit(b":", 1)[1])


def trusting():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _authority.configure_trust(context)
    return context


@needs_openssl
@each_engine
@pytest.mark.parametrize("version", VERSIONS)
@on("poolio")
async def test_openssl_client_is_echoed(engine, version, force):
    force(engine)
    async with echo_server() as (port, made), program(
            "openssl", "s_client", version, "-connect", f"127.0.0.1:{port}") as client:
        client.stdin.write(b"hello\n")
        assert b"hello" in await said(client, b"hello")
        client.stdin.write_eof()
        await eventually(lambda: made[0].ended.done())
        assert made[0].ended.result() is None and made[0].received == b"hello\n"


@needs_openssl
@each_engine
@pytest.mark.parametrize("command", (b"k\n", b"K\n"), ids=("its own", "of both"))
@on("poolio")
async def test_openssl_client_renews_its_keys_and_is_echoed(engine, command, force):
    force(engine)
    async with echo_server() as (port, made), program(
            "openssl", "s_client", "-tls1_3", "-connect", f"127.0.0.1:{port}") as client:
        for number in range(3):
            client.stdin.write(b"%dbefore\n" % number)
            await said(client, b"%dbefore" % number)
            client.stdin.write(command)
            await said(client, b"KEYUPDATE")
        client.stdin.write(b"after\n")
        await said(client, b"after")
        assert made[0].received == b"0before\n1before\n2before\nafter\n"


@needs_openssl
@each_engine
@pytest.mark.parametrize("version", VERSIONS)
@on("poolio")
async def test_openssl_server_answers(engine, version, force):
    force(engine)
    async with s_server("-rev", version) as (_, port):
        reader, writer = await poolio.open_connection("127.0.0.1", port, ssl=trusting(), server_hostname="localhost")
        for _ in range(3):
            writer.write(b"hello\n")
            assert await reader.readline() == b"olleh\n"
        writer.close()
        await writer.wait_closed()


@needs_openssl
@each_engine
@pytest.mark.parametrize("command, version", (
    (b"r\n", "-tls1_2"), (b"R\n", "-tls1_2"), (b"k\n", "-tls1_3"), (b"K\n", "-tls1_3")))
@on("poolio")
async def test_openssl_server_renegotiates_or_renews_its_keys_and_data_goes_on(engine, command, version, force):
    force(engine)
    async with s_server(version) as (server, port):
        reader, writer = await poolio.open_connection("127.0.0.1", port, ssl=trusting(), server_hostname="localhost")
        await said(server, b"CIPHER is")
        for number in range(3):
            server.stdin.write(b"down %d\n" % number)
            assert bytes(await reader.readline()) == b"down %d\n" % number
            server.stdin.write(command)
            writer.write(b"up %d\n" % number)
            await said(server, b"up %d" % number)
        server.stdin.write(b"last\n")
        assert await reader.readline() == b"last\n"
        writer.close()


@needs_openssl
@each_engine
@on("poolio")
async def test_client_certificate_is_given_after_the_handshake(engine, force):
    force(engine)
    async with s_server("-tls1_3", "-verify_quiet") as (server, port):
        context = trusting()
        context.post_handshake_auth = True
        _authority.issue_cert("client@example.org").configure_cert(context)
        reader, writer = await poolio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
        await said(server, b"CIPHER is")
        server.stdin.write(b"c\n")
        writer.write(b"up\n")
        await said(server, b"up")
        server.stdin.write(b"down\n")
        assert await reader.readline() == b"down\n"
        writer.close()


class Page(poolio.Protocol):
    def data_received(self, data):
        self.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(BLOCK))
        self.write(BLOCK)
        self.transport.close()


@needs_curl
@each_engine
@pytest.mark.parametrize("version", ("1.2", "1.3"))
@on("poolio")
async def test_curl_gets_a_large_page_whole(engine, version, force):
    force(engine)
    server = await net().create_server(Page, "127.0.0.1", 0, ssl=SERVER_TLS)
    with tempfile.NamedTemporaryFile() as pem:
        _authority.cert_pem.write_to_path(pem.name)
        port = server.sockets[0].getsockname()[1]
        curl = await asyncio.create_subprocess_exec(
            "curl", "-sS", f"--tlsv{version}", "--tls-max", version, "--cacert", pem.name,
            "--resolve", f"localhost:{port}:127.0.0.1", f"https://localhost:{port}/",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=WITHOUT_SANITIZERS)
        got, complaints = await curl.communicate()
    assert got == BLOCK and complaints == b""
    server.close()
    await server.wait_closed()
