"""asyncssh on poolio.EventLoop, unchanged, against real peers: every byte is checked."""

import asyncio
import contextlib
import sys

import pytest
from kit.libraries import LARGE, assert_poolio, library, pieces_of, run

asyncssh = library("asyncssh")
COUNTING_CAT = """
import sys
data = sys.stdin.buffer.read()
sys.stdout.buffer.write(data)
print(len(data), file=sys.stderr)
"""


@contextlib.asynccontextmanager
async def ssh_client(asyncssh, **options):
    """Serve SSH with these options to anybody; yields a client's connection, which has checked the server's key."""
    key = asyncssh.generate_private_key("ssh-ed25519")

    class Server(asyncssh.SSHServer):
        def connection_made(self, connection):
            assert_poolio(connection._transport)

        def begin_auth(self, username):
            return False

        def server_requested(self, host, port):
            return True

        def connection_requested(self, host, port, peer_host, peer_port):
            return True

    async with (
        asyncssh.listen("127.0.0.1", 0, server_host_keys=[key], server_factory=Server, encoding=None,
                        **options) as server,
        asyncssh.connect("127.0.0.1", server.get_port(), username="somebody", config=None, client_keys=None,
                         known_hosts=([key.convert_to_public()], [], [])) as connection,
    ):
        assert_poolio(connection._transport)
        yield connection


async def echo_until_end(process):
    while data := await process.stdin.read(70_000):
        process.stdout.write(data)
        await process.stdout.drain()
    process.exit(7)


async def run_program(process):
    """The command is a Python program, which the channel is connected to by pipes."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", process.command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE)
    await process.redirect(stdin=program.stdin, stdout=program.stdout, stderr=program.stderr)
    process.exit(await program.wait())
    await process.wait_closed()


def test_asyncssh_command_gets_its_input_and_its_output_comes_back(asyncssh):
    async def main():
        async with ssh_client(asyncssh, process_factory=echo_until_end) as connection:
            for data in (b"hello", LARGE, b"end"):         # for no input asyncssh sends no end
                result = await connection.run("echo", input=data, encoding=None)
                assert (result.exit_status, result.stdout, result.stderr) == (7, data, b"")

    run(main)


def test_asyncssh_program_behind_pipes_gets_its_input_and_answers(asyncssh):
    async def main():
        async with ssh_client(asyncssh, process_factory=run_program) as connection:
            result = await connection.run(COUNTING_CAT, input=LARGE, encoding=None)
            assert (result.exit_status, result.stdout, result.stderr) == (0, LARGE, b"%d\n" % len(LARGE))

    run(main)


def test_asyncssh_many_channels_of_a_connection_share_it(asyncssh):
    async def main():
        async with ssh_client(asyncssh, process_factory=echo_until_end) as connection:
            async def ask(size):
                result = await connection.run("echo", input=LARGE[:size], encoding=None)
                assert result.stdout == LARGE[:size]

            await asyncio.gather(*(ask(size) for size in range(1, 500_000, 50_001)))

    run(main)


def test_asyncssh_sftp_file_goes_there_and_comes_back(asyncssh, tmp_path):
    async def main():
        (tmp_path / "large").write_bytes(LARGE)
        async with ssh_client(asyncssh, sftp_factory=True) as connection, connection.start_sftp_client() as sftp:
            await sftp.put(tmp_path / "large", tmp_path / "there")
            assert (tmp_path / "there").read_bytes() == LARGE
            await sftp.get(tmp_path / "there", tmp_path / "back")
            assert (tmp_path / "back").read_bytes() == LARGE
            async with sftp.open(tmp_path / "there", "rb") as file:
                await file.seek(1000)
                assert await file.read(1000) == LARGE[1000:2000]

    run(main)


def test_asyncssh_scp_file_goes_there_and_comes_back(asyncssh, tmp_path):
    async def main():
        (tmp_path / "large").write_bytes(LARGE)
        async with ssh_client(asyncssh, sftp_factory=True, allow_scp=True) as connection:
            await asyncssh.scp(tmp_path / "large", (connection, tmp_path / "there"))
            await asyncssh.scp((connection, tmp_path / "there"), tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == (tmp_path / "there").read_bytes() == LARGE

    run(main)


@pytest.mark.parametrize("way", ["local", "remote", "socks"])
def test_asyncssh_forwarded_port_carries_both_directions_to_their_end(asyncssh, way):
    async def echo(reader, writer):
        while data := await reader.read(70_000):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def main():
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        behind = server.sockets[0].getsockname()
        async with ssh_client(asyncssh) as connection, server:
            if way == "socks":
                listener = await connection.forward_socks("127.0.0.1", 0)
            else:
                forward = connection.forward_local_port if way == "local" else connection.forward_remote_port
                listener = await forward("127.0.0.1", 0, *behind)
            async with listener:
                reader, writer = await asyncio.open_connection("127.0.0.1", listener.get_port())
                if way == "socks":
                    await through_socks(reader, writer, behind[1])
                assert await talk(reader, writer) == LARGE

    async def talk(reader, writer):
        async def send():
            for piece in pieces_of(LARGE):
                writer.write(piece)
                await writer.drain()
            writer.write_eof()

        received, _ = await asyncio.gather(reader.read(), send())
        writer.close()
        await writer.wait_closed()
        return received

    async def through_socks(reader, writer, port):
        writer.write(b"\x05\x01\x00" + b"\x05\x01\x00\x01\x7f\x00\x00\x01" + port.to_bytes(2, "big"))
        assert await reader.readexactly(2) == b"\x05\x00"
        assert (await reader.readexactly(10))[:2] == b"\x05\x00"

    run(main)
