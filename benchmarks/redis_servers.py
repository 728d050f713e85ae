"""Which servers of Redis commands are compared? One for each row: -m benchmarks.redis_servers ROW, ends with stdin.

All have the same commands in a dict and the same lack of everything else. "the example" is examples/redis_server.py as
it stands. "by hand" is what a careful author writes on asyncio.Protocol with `bytes`: find() and slices with the
positions in locals, no list of pieces, all answers of a read joined and written once; its commands return what is sent.
"""

import argparse
import asyncio
import importlib.util
import pathlib
import resource
import sys
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any, cast

from benchmarks.servers import WARMING_BLOCK_BYTES, pin_to_first_core, serve

EXAMPLE = pathlib.Path(__file__).parent.parent / "examples" / "redis_server.py"
OK = b"+OK\r\n"

strings: dict[bytes, bytes] = {}
lists: defaultdict[bytes, deque[bytes]] = defaultdict(deque)


def bulk(value: bytes | None) -> bytes:
    return b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


def array(values: list[bytes]) -> bytes:
    return b"*%d\r\n%b" % (len(values), b"".join(map(bulk, values)))


def put(key: bytes, value: bytes) -> bytes:
    strings[key] = value
    return OK


def put_many(*pairs: bytes) -> bytes:
    strings.update(zip(pairs[::2], pairs[1::2], strict=True))
    return OK


def increase(key: bytes) -> bytes:
    strings[key] = text = b"%d" % (int(strings.get(key, 0)) + 1)
    return b":%b\r\n" % text


def push(key: bytes, *values: bytes) -> bytes:
    items = lists[key]
    items.extendleft(values)
    return b":%d\r\n" % len(items)


COMMANDS: dict[bytes, Callable[..., bytes]] = {
    b"PING": lambda: b"+PONG\r\n",
    b"SET": put,
    b"GET": lambda key: bulk(strings.get(key)),
    b"MSET": put_many,
    b"INCR": increase,
    b"LPUSH": push,
    b"LRANGE": lambda key, first, last: array(list(lists.get(key, ()))[int(first):int(last) + 1 or None]),
}


class ByHand(asyncio.Protocol):
    rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.rest:
            data = self.rest + data
        answers, done, size = [], 0, len(data)
        try:
            while done < size:
                end = data.find(b"\r\n", done)
                if end < 0:
                    break
                if data[done] != 42:  # *
                    raise ValueError("a command is an array")
                command, at = [], end + 2
                for _ in range(int(data[done + 1:end])):
                    end = data.find(b"\r\n", at)
                    if end < 0:
                        break
                    if data[at] != 36:  # $
                        raise ValueError("a command consists of strings")
                    start = end + 2
                    at = start + int(data[at + 1:end]) + 2
                    if at > size:
                        break
                    command.append(data[start:at - 2])
                else:
                    answers.append(self.answer(command))
                    done = at
                    continue
                break
        except ValueError as error:
            answers.append(b"-ERR Protocol error: %b\r\n" % str(error).encode())
            self.transport.close()
        self.rest = data[done:]
        if answers:
            self.transport.write(b"".join(answers))

    def answer(self, command: list[bytes]) -> bytes:
        try:
            return COMMANDS[command[0].upper()](*command[1:])
        except (KeyError, TypeError, ValueError) as error:
            return b"-ERR %b\r\n" % str(error).encode()

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()


def example() -> Any:
    spec = importlib.util.spec_from_file_location("redis_server", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Redis


ROWS: dict[str, tuple[str, Callable[[], Callable[[], asyncio.BaseProtocol]]]] = {
    "by hand, EventLoop": ("poolio", lambda: ByHand),
    "by hand, asyncio": ("asyncio", lambda: ByHand),
    "by hand, uvloop": ("uvloop", lambda: ByHand),
    "the example, EventLoop": ("poolio", example),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("row", choices=ROWS)
    name, protocol = ROWS[parser.parse_args().row]
    pin_to_first_core()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    bytearray(WARMING_BLOCK_BYTES)
    with asyncio.Runner(loop_factory=importlib.import_module(name).new_event_loop) as runner:
        runner.run(serve(protocol(), None, None))


if __name__ == "__main__":
    main()
