"""Which servers that receive over TLS are compared? For each row a process: -m benchmarks.sinks ROW PEM.

It ends with its standard input. They receive and drop: of each read they compare the first byte with the one that
belongs there, count the bytes and keep the last ones. At the end of a connection they say so, and blast.c compares, as
with receivers.py. They are protocols: asyncio's TLS has closed a stream's connection before the stream is told of its
end. The rows are those of servers.py, the limit is limit_tls.c.
"""

import argparse
import asyncio
import os
import resource
import ssl
import sys
from collections.abc import Callable
from typing import Any, cast

import poolio
from benchmarks.receivers import PERIOD, TAIL, answer
from benchmarks.servers import LIMIT, FastNet, Row, context_of, on_loop, pin_to_first_core


class Sink(asyncio.Protocol):
    count = wrong = 0
    last: Any = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: Any) -> None:
        self.wrong += data[0] != self.count % PERIOD
        self.count += len(data)
        self.last = bytes(data[-TAIL:])

    def eof_received(self) -> None:
        self.transport.write(answer(self.count, self.wrong, self.last))


class PooledSink(poolio.Protocol):
    count = wrong = 0
    last: Any = b""

    def data_received(self, buf: poolio.Buffer) -> None:
        self.wrong += buf[0] != self.count % PERIOD
        self.count += len(buf)
        self.last = bytes(buf[-TAIL:])

    def eof_received(self) -> None:
        self.write(answer(self.count, self.wrong, self.last))


def become_the_limit(context: ssl.SSLContext | None) -> None:
    """Run limit_tls.c instead of this interpreter, on the core that it was pinned to; the harness has compiled it."""
    from benchmarks import places  # here, as no other row's process needs it

    os.execv(places.programs() / "limit_tls", ["limit_tls", sys.argv[2], "sink"])


def pooled() -> Callable[[], asyncio.BaseProtocol]:
    return cast(Callable[[], asyncio.BaseProtocol], PooledSink)


ROWS = {
    LIMIT: Row(become_the_limit),
    "asyncio Protocol, warm heap": on_loop("asyncio", lambda: Sink),
    "uvloop Protocol": on_loop("uvloop", lambda: Sink),
    "aiofastnet, asyncio": on_loop("asyncio", lambda: Sink, net=FastNet()),
    "aiofastnet, uvloop": on_loop("uvloop", lambda: Sink, net=FastNet()),
    "poolio transports, asyncio": on_loop("asyncio", pooled, net=poolio),
    "poolio transports, uvloop": on_loop("uvloop", pooled, net=poolio),
    "poolio.EventLoop": on_loop("poolio", pooled),
    "poolio.EventLoop, asyncio.Protocol": on_loop("poolio", lambda: Sink),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("row", choices=ROWS)
    parser.add_argument("pem")
    args = parser.parse_args()
    pin_to_first_core()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    ROWS[args.row].serve(context_of(args.pem))


if __name__ == "__main__":
    main()
