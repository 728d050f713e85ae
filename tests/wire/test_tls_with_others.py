"""poolio's TLS and other people's: the openssl program as client and as server, and curl; key updates, renegotiation,
client certificates after the handshake.
"""

import asyncio
import contextlib
import shutil

import pytest
from kit.others import MEBIBYTE, WITHOUT_SANITIZERS, echo_body, echo_server, pem_files, program, said, trusting
from kit.pairs import on
from kit.tlspairs import each_engine
from kit.wires import BLOCK, SERVER_TLS, _authority, eventually

import poolio

VERSIONS = ("-tls1_2", "-tls1_3")
# One mebibyte without the letters at which these programs do something else than sending them.
DIGITS = MEBIBYTE.translate(bytes(48 + number % 10 for number in range(256)))
TOLD_THE_END = b"alert read:warning:close notify"
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl program is not installed")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@contextlib.asynccontextmanager
async def s_server(*options):
    """(its process, its port)"""
    with pem_files() as folder:
        async with program("openssl", "s_server", "-accept", 0, "-cert", f"{folder}/pem", *options) as process:
            heard = await said(process, b"ACCEPT")
            while b"\n" not in heard.split(b"ACCEPT")[1]:
                heard += await process.stdout.read(100)
            yield process, int(heard.split(b"ACCEPT")[1].split(b"\n")[0].rsplit(b":", 1)[1])


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
@pytest.mark.parametrize("version", VERSIONS)
@on("poolio")
async def test_openssl_client_is_echoed_a_mebibyte_and_told_the_end(engine, version, force):
    force(engine)
    async with echo_server() as (port, made), program(
            "openssl", "s_client", version, "-state", "-connect", f"127.0.0.1:{port}") as client:
        client.stdin.write(DIGITS)
        await said(client, DIGITS)
        made[0].transport.close()
        await said(client, TOLD_THE_END)
        assert made[0].received == DIGITS


@needs_openssl
@each_engine
@pytest.mark.parametrize("version", VERSIONS)
@on("poolio")
async def test_openssl_server_gets_and_sends_a_mebibyte_and_is_told_the_end(engine, version, force):
    force(engine)
    async with s_server("-state", version) as (server, port):
        reader, writer = await poolio.open_connection("127.0.0.1", port, ssl=trusting(), server_hostname="localhost")
        await said(server, b"CIPHER is")
        writer.write(DIGITS)
        await said(server, DIGITS)
        server.stdin.write(DIGITS)
        assert await reader.readexactly(len(DIGITS)) == DIGITS
        writer.close()
        await said(server, TOLD_THE_END)
        await writer.wait_closed()


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


@contextlib.asynccontextmanager
async def answering(handler):
    """curl's first arguments, for a server that calls handler(reader, writer), and where the server is."""
    server = await poolio.start_server(handler, "127.0.0.1", 0, ssl=SERVER_TLS)
    port = server.sockets[0].getsockname()[1]
    try:
        with pem_files() as folder:
            yield ("curl", "-sS", "--cacert", folder / "authority", "--resolve", f"localhost:{port}:127.0.0.1",
                   f"https://localhost:{port}/")
    finally:
        server.close()
        await server.wait_closed()


async def output_of(*command, given=None):
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, env=WITHOUT_SANITIZERS)
    return await process.communicate(given)


async def page(reader, writer):
    """A page of which only the end of the connection says where it ends."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    writer.write(BLOCK)
    writer.close()


@needs_curl
@each_engine
@pytest.mark.parametrize("version", ("1.2", "1.3"))
@on("poolio")
async def test_curl_gets_a_large_page_whole_and_close_notify(engine, version, force):
    force(engine)
    async with answering(page) as curl:
        got, messages = await output_of(*curl, "-v", f"--tlsv{version}", "--tls-max", version)
    assert got == BLOCK
    assert b"(IN), TLS alert, close notify" in messages or b"(IN)" not in messages      # another TLS than OpenSSL


@needs_curl
@each_engine
@pytest.mark.parametrize("version", ("1.2", "1.3"))
@on("poolio")
async def test_curl_sends_a_mebibyte_and_gets_it_back(engine, version, force):
    force(engine)
    async with answering(echo_body) as curl:
        got, complaints = await output_of(
            *curl, f"--tlsv{version}", "--tls-max", version, "--data-binary", "@-", given=MEBIBYTE)
    assert got == MEBIBYTE and complaints == b""
