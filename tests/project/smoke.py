"""One of everything that poolio does, with nothing but the installed package: memory, echo, streams, frames, datagrams.

`make wheel` and cibuildwheel run it as a program where no checkout is found; ends with an AssertionError, or prints
where poolio was imported from.
"""

import asyncio
import pathlib

import poolio

CODEC = poolio.LengthPrefixed(2)


def memory():
    pool = poolio.Pool()
    with pool.alloc(16) as buf:
        assert buf.write_u32be(7, 0) == 4
        assert buf[:4] == b"\0\0\0\7"
    pool.check()
    assert pool.statistics().live_bytes == 0


class Echo(poolio.Protocol):
    def data_received(self, buf):
        self.write(buf)


class Answers(poolio.DatagramProtocol):
    def datagrams_received(self, batch):
        for data, address in batch:
            self.transport.sendto(data, address)


class Question(poolio.DatagramProtocol):
    def __init__(self):
        self.answer = asyncio.get_running_loop().create_future()

    def datagrams_received(self, batch):
        self.answer.set_result(bytes(batch[0][0]))


async def echo():
    async with await poolio.create_server(Echo, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"abc" * 100_000)
        assert await reader.readexactly(300_000) == b"abc" * 100_000
        writer.close()
        await writer.wait_closed()


async def upper(reader, writer):
    async for frame in reader.frames(CODEC):
        writer.write_frame(CODEC, bytes(frame).upper())
    writer.close()


async def streams():
    async with await poolio.start_server(upper, "127.0.0.1", 0) as server:
        reader, writer = await poolio.open_connection(*server.sockets[0].getsockname())
        writer.write_frame(CODEC, b"one")
        writer.write_frame(CODEC, b"two")
        writer.write_eof()
        assert [bytes(frame) async for frame in reader.frames(CODEC)] == [b"ONE", b"TWO"]
        writer.close()
        await writer.wait_closed()


async def datagrams():
    server, _ = await poolio.create_datagram_endpoint(Answers, local_addr=("127.0.0.1", 0))
    client, question = await poolio.create_datagram_endpoint(
        Question, remote_addr=server.get_extra_info("sockname"))
    client.sendto(b"hello")
    assert await question.answer == b"hello"
    client.close()
    server.close()


async def main():
    async with asyncio.timeout(60):
        await echo()
        await streams()
        await datagrams()


memory()
poolio.run(main())
asyncio.run(main())
print(pathlib.Path(poolio.__file__).parent)
