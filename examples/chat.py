"""A chat for lines: python examples/chat.py --port 8888, then in several terminals: nc 127.0.0.1 8888"""

import argparse
import contextlib

import poolio

LINE_BYTES = 4096
BEHIND_BYTES = 1 << 20  # who is so far behind with reading is disconnected: he would keep the others' words in memory

members: set[poolio.StreamWriter] = set()


async def chat(reader: poolio.StreamReader, writer: poolio.StreamWriter) -> None:
    members.add(writer)
    try:
        with contextlib.suppress(OSError, poolio.FrameTooLarge):
            async for line in reader.lines(limit=LINE_BYTES):
                tell_others(writer, line)
    finally:
        members.discard(writer)
        writer.close()


def tell_others(speaker: poolio.StreamWriter, line: poolio.Buffer) -> None:
    for member in members - {speaker}:
        member.writelines([line, b"\n"])  # a slice of what was received, for all of them the same memory
        if member.transport.get_write_buffer_size() > BEHIND_BYTES:
            member.transport.abort()


async def serve(host: str, port: int) -> None:
    server = await poolio.start_server(chat, host, port)
    print(f"listening on {host}:{server.sockets[0].getsockname()[1]}, Ctrl-C stops", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8888, help="0 takes a free one")
    args = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        poolio.run(serve(args.host, args.port))
