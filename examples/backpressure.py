"""A fast sender and a slow reader: drain() keeps what waits in between small. python examples/backpressure.py"""

import asyncio

import poolio

BLOCK = bytes(65536)
BLOCKS = 1024  # 64 MiB
HIGH_WATER = 262144  # bytes that may wait in the sender beyond what the kernel takes


async def send(reader: poolio.StreamReader, writer: poolio.StreamWriter) -> None:
    most = 0
    writer.transport.set_write_buffer_limits(high=HIGH_WATER)
    for _ in range(BLOCKS):
        writer.write(BLOCK)
        most = max(most, writer.transport.get_write_buffer_size())
        await writer.drain()  # waits only above high water, until the queue has fallen to a quarter of it
    writer.close()
    print(f"sent {BLOCKS * len(BLOCK)} bytes; {most} waited at most, high water is {HIGH_WATER}")


async def main() -> None:
    server = await poolio.start_server(send, "127.0.0.1", 0)
    reader, writer = await poolio.open_connection(*server.sockets[0].getsockname())
    received = 0
    while data := await reader.read(1 << 20):
        received += len(data)
        if received % (8 << 20) < len(data):
            await asyncio.sleep(0.05)  # it has other things to do; meanwhile the transport is paused
    writer.close()
    server.close()
    await server.wait_closed()
    print(f"received {received} bytes")


if __name__ == "__main__":
    poolio.run(main())
