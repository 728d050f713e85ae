"""A TCP proxy: python examples/tcp_proxy.py 8888 example.org 80, then: nc 127.0.0.1 8888"""

import asyncio
import contextlib
import sys

import poolio


async def serve(port: int, target: tuple[str, int]) -> None:
    async def proxy(reader: poolio.StreamReader, writer: poolio.StreamWriter) -> None:
        with contextlib.closing(writer):
            try:
                target_reader, target_writer = await poolio.open_connection(*target)
                with contextlib.closing(target_writer):
                    async with asyncio.TaskGroup() as both:
                        both.create_task(poolio.relay(reader, target_writer))
                        both.create_task(poolio.relay(target_reader, writer))
            except* OSError as failed:  # one side has failed: both are closed
                print("closed:", *failed.exceptions, file=sys.stderr)

    server = await poolio.start_server(proxy, "127.0.0.1", port)
    print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}, Ctrl-C stops", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        poolio.run(serve(int(sys.argv[1]), (sys.argv[2], int(sys.argv[3]))))
