"""Calls over length-prefixed JSON, many at once on one connection: python examples/rpc.py"""

import asyncio
import json
from typing import Any

import poolio

FRAMES = poolio.LengthPrefixed(4, max_frame=1 << 20)
METHODS: dict[str, Any] = {"add": lambda a, b: a + b, "upper": str.upper}


class Server(poolio.FramedProtocol):
    codec = FRAMES

    def frames_received(self, frames: list[poolio.Buffer]) -> None:
        for call in map(json.loads, map(bytes, frames)):
            try:
                answer = {"result": METHODS[call["method"]](*call["arguments"])}
            except Exception as exc:
                answer = {"error": repr(exc)}
            self.write_frame(json.dumps({"id": call["id"], **answer}).encode())

    def pause_writing(self) -> None:
        self.transport.pause_reading()  # a peer that does not read its answers is not read from

    def resume_writing(self) -> None:
        self.transport.resume_reading()


class Client:
    def __init__(self, reader: poolio.StreamReader, writer: poolio.StreamWriter) -> None:
        self.writer = writer
        self.calls: dict[int, asyncio.Future[Any]] = {}
        self.task = asyncio.create_task(self.receive(reader))

    async def call(self, method: str, *arguments: Any) -> Any:
        number = len(self.calls)
        self.calls[number] = asyncio.get_running_loop().create_future()
        self.writer.write_frame(FRAMES, json.dumps({"id": number, "method": method, "arguments": arguments}).encode())
        await self.writer.drain()
        return await self.calls[number]

    async def receive(self, reader: poolio.StreamReader) -> None:
        async for frame in reader.frames(FRAMES):
            answer = json.loads(bytes(frame))
            self.calls[answer["id"]].set_result(answer.get("result", answer.get("error")))


async def main() -> None:
    server = await poolio.create_server(Server, "127.0.0.1", 0)
    client = Client(*await poolio.open_connection(*server.sockets[0].getsockname()))
    print(await asyncio.gather(client.call("add", 2, 3), client.call("upper", "slab"), client.call("divide", 1, 0)))
    client.writer.close()
    server.close()
    await client.task


if __name__ == "__main__":
    poolio.run(main())
