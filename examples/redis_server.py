"""A small Redis in memory, for redis-cli, redis-py and redis-benchmark: python examples/redis_server.py 6380"""

import contextlib
import sys
from collections import defaultdict, deque
from typing import Any

import poolio

strings: dict[bytes, bytes] = {}
lists: defaultdict[bytes, deque[bytes]] = defaultdict(deque)


COMMANDS: dict[bytes, Any] = {
    b"PING": lambda text="PONG": text, b"ECHO": lambda text: text,
    b"SET": lambda key, value: strings.__setitem__(key, value) or "OK",
    b"MSET": lambda *pairs: strings.update(zip(pairs[::2], pairs[1::2], strict=True)) or "OK",
    b"GET": lambda key: strings.get(key), b"MGET": lambda *keys: [strings.get(key) for key in keys],
    b"INCR": lambda key: COMMANDS[b"INCRBY"](key, 1),
    b"INCRBY": lambda key, by: strings.update({key: b"%d" % (number := int(strings.get(key, 0)) + int(by))}) or number,
    b"EXISTS": lambda *keys: sum(key in strings or key in lists for key in keys),
    b"DEL": lambda *keys: sum([strings.pop(key, None), lists.pop(key, None)] != [None, None] for key in keys),
    b"LPUSH": lambda key, value, *more: lists[key].extendleft((value, *more)) or len(lists[key]),
    b"LPOP": lambda key: lists[key].popleft() if lists.get(key) else None,
    b"LRANGE": lambda key, first, last: list(lists.get(key, ()))[int(first):int(last) + 1 or None],
}


class Redis(poolio.FramedProtocol):
    codec = poolio.Marked(frames="commands", inline="split", bytes_up_to=64 << 20, max_frame=64 << 20)

    def frames_received(self, frames: list[tuple[bytes, ...]]) -> None:
        self.write_frame(*map(self.answer, frames))  # one write for all commands of a read

    def answer(self, command: tuple[bytes, ...]) -> Any:
        try:
            return COMMANDS[command[0].upper()](*command[1:])
        except (KeyError, TypeError, ValueError) as error:
            return poolio.ErrorReply(f"ERR {type(error).__name__}: {error}")

    def frame_error(self, exc: Exception) -> None:
        self.write_frame(poolio.ErrorReply(f"ERR Protocol error: {exc}"))
        super().frame_error(exc)

    def pause_writing(self) -> None:
        self.transport.pause_reading()  # a peer that does not read its answers is not read from

    def resume_writing(self) -> None:
        self.transport.resume_reading()


async def serve(port: int) -> None:
    server = await poolio.create_server(Redis, "127.0.0.1", port)
    print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}, Ctrl-C stops", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        poolio.run(serve(int(sys.argv[1])))
