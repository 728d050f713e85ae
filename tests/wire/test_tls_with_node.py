"""poolio's TLS and node's, which brings an OpenSSL of its own: each as client and as server."""

import shutil

import pytest
from kit.others import MEBIBYTE, VERSIONS, echo_server, pem_files, program, said, trusting
from kit.pairs import on
from kit.tlspairs import each_engine

import poolio

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")

# Both take the version, the folder of the certificates, a port (0: any), and "trace" if they are to say what they get
# and send. A close notify that is said before "the end" is the peer's.
START = """
const [version, folder, port, trace] = process.argv.slice(1);
const read = name => require("fs").readFileSync(`${folder}/${name}`);
const options = {minVersion: `TLSv${version}`, maxVersion: `TLSv${version}`, enableTrace: trace === "trace"};
const tls = require("tls");
"""
CLIENT = START + """
const socket = tls.connect(
    {port, host: "127.0.0.1", servername: "localhost", ca: read("authority"), ...options},
    () => process.stdin.pipe(socket).pipe(process.stdout));
socket.on("end", () => process.stdout.write("the end"));
"""
SERVER = START + """
const server = tls.createServer({cert: read("pem"), key: read("pem"), ...options}, socket => {
    socket.pipe(socket);
    socket.on("end", () => process.stdout.write("the end"));
    socket.on("error", error => process.stdout.write(String(error)));
});
server.listen(port, "127.0.0.1", () => console.log(server.address().port));
"""


CLOSE_NOTIFY = b"description=close notify"


@each_engine
@pytest.mark.parametrize("version", VERSIONS)
@on("poolio")
async def test_node_client_is_echoed_a_mebibyte(engine, version, force):
    force(engine)
    with pem_files() as folder:
        async with echo_server() as (port, made), program("node", "-e", CLIENT, version, folder, port) as client:
            client.stdin.write(MEBIBYTE)
            await said(client, MEBIBYTE)
            client.stdin.write_eof()
            await said(client, b"the end")
            assert await made[0].ended is None
            assert made[0].received == MEBIBYTE and "eof" in made[0].calls


@each_engine
@pytest.mark.parametrize("version", VERSIONS)
@on("poolio")
async def test_node_client_gets_close_notify(engine, version, force):
    force(engine)
    with pem_files() as folder:
        async with echo_server() as (port, made), program(
                "node", "-e", CLIENT, version, folder, port, "trace") as client:
            client.stdin.write(b"hello")
            await said(client, b"hello")
            made[0].transport.close()
            assert CLOSE_NOTIFY in await said(client, b"the end")
            assert await made[0].ended is None


@each_engine
@pytest.mark.parametrize("version", VERSIONS)
@on("poolio")
async def test_node_server_echoes_a_mebibyte(engine, version, force):
    force(engine)
    with pem_files() as folder:
        async with program("node", "-e", SERVER, version, folder, 0) as server:
            reader, writer = await connected(server)
            writer.write(MEBIBYTE)
            assert await reader.readexactly(len(MEBIBYTE)) == MEBIBYTE
            assert writer.get_extra_info("ssl_object").version() == f"TLSv{version}"
            writer.close()
            assert b"Error" not in await said(server, b"the end")
            await writer.wait_closed()


@each_engine
@pytest.mark.parametrize("version", VERSIONS)
@on("poolio")
async def test_node_server_gets_close_notify(engine, version, force):
    force(engine)
    with pem_files() as folder:
        async with program("node", "-e", SERVER, version, folder, 0, "trace") as server:
            reader, writer = await connected(server)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            writer.close()
            assert CLOSE_NOTIFY in await said(server, b"the end")
            await writer.wait_closed()


async def connected(server):
    port = int(await said(server, b"\n"))
    return await poolio.open_connection("127.0.0.1", port, ssl=trusting(), server_hostname="localhost")
