"""Owns `python -m poolio echo`: an echo server on poolio's transports, over TLS if it is asked for."""

import argparse
import asyncio
import contextlib
import importlib.util
import ipaddress
import pathlib
import shlex
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager

import poolio
from poolio.commands import certificate
from poolio.commands.terminal import DIM, styled

LOOPS = ("poolio", "asyncio", "uvloop")


class Echo(poolio.Protocol):
    """Sends back what it receives, and reads no faster than its peer does."""

    def data_received(self, buf: poolio.Buffer) -> None:
        self.write(buf)

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()


class Secured:
    """What TLS needs: the server's context, and the file that clients have to trust."""

    def __init__(self, folder: pathlib.Path) -> None:
        pem, self.trusted = certificate.make(folder)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pem)
        pem.unlink()    # the key is in memory now, and nowhere else, however this process ends


@contextlib.contextmanager
def secured(wanted: bool) -> Iterator[Secured | None]:
    """For as long as the server runs; the certificate is gone afterwards."""
    if not wanted:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="poolio-echo-") as folder:
        yield Secured(pathlib.Path(folder))


def serve_workers(args: argparse.Namespace, loop_factory: Callable[[], asyncio.AbstractEventLoop],
                  tls: Secured | None) -> None:
    async def app(sock: socket.socket) -> AbstractAsyncContextManager[object]:
        return await poolio.create_server(Echo, sock=sock, ssl=tls and tls.context)

    address = f"unix:{args.unix}" if args.unix else f"{f'[{args.host}]' if ':' in args.host else args.host}:{args.port}"
    poolio.serve(app, address, workers=args.workers, grace=0, backlog=args.backlog, loop_factory=loop_factory,
                 on_ready=lambda sock: tell(sock, args, tls))


def tell(sock: socket.socket, args: argparse.Namespace, tls: Secured | None) -> None:
    name = sock.getsockname()
    where = name if isinstance(name, str) else ":".join(map(str, name[:2]))
    workers = f", workers {args.workers}" if args.workers is not None else ""
    print(f"echo on {where}, loop {args.loop}{workers}{', TLS' if tls else ''}; Ctrl-C stops", flush=True)
    for line in how_to_try(name, tls):
        print(styled(line, DIM), flush=True)


def how_to_try(name: str | tuple[str, int], tls: Secured | None) -> list[str]:
    """The command of a client that everybody has, for a server that listens at `name`."""
    if isinstance(name, str):
        where, plain = f"-unix {shlex.quote(name)}", f"nc -U {shlex.quote(name)}"
    else:
        host = name[0]
        if ipaddress.ip_address(host.partition("%")[0]).is_unspecified:     # nobody can connect to "all of them"
            host = "::1" if ":" in host else "127.0.0.1"
        where, plain = f"-connect {f'[{host}]' if ':' in host else host}:{name[1]}", f"nc {host} {name[1]}"
    if tls is None:
        return [f"try it: {plain}"]
    return [f"try it: openssl s_client -quiet {where} -CAfile {shlex.quote(str(tls.trusted))}",
            "(the certificate is for localhost, and is made anew each time)"]


async def serve(args: argparse.Namespace, tls: Secured | None) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    context = tls and tls.context
    if args.unix:
        server = await poolio.create_unix_server(Echo, args.unix, ssl=context, backlog=args.backlog)
    else:
        server = await poolio.create_server(Echo, args.host, args.port, ssl=context, backlog=args.backlog)
    tell(server.sockets[0], args, tls)
    await ended.wait()
    server.close()
    server.abort_clients()
    await server.wait_closed()


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="python -m poolio echo", description="An echo server on poolio's transports.")
    found.add_argument("--tls", action="store_true", help="over TLS; makes a certificate for localhost")
    found.add_argument("--loop", choices=LOOPS, default="poolio", help="that they run on (default %(default)s)")
    found.add_argument("--host", default="127.0.0.1", help="default %(default)s: nobody but this machine")
    found.add_argument("--port", type=int, default=8888, help="0 takes a free one (default %(default)s)")
    found.add_argument("--unix", metavar="PATH", help="serve a unix socket instead")
    found.add_argument("--backlog", type=int, default=2048, help="default %(default)s")
    found.add_argument("--workers", type=int, metavar="N", help="that many processes, with poolio.serve()")
    return found


def main(arguments: list[str]) -> int:
    args = parser().parse_args(arguments)
    if importlib.util.find_spec(args.loop) is None:
        print(f"poolio echo: {args.loop} is not installed: pip install 'poolio[uvloop]'", file=sys.stderr)
        return 2
    factory = importlib.import_module(args.loop).new_event_loop
    try:
        with secured(args.tls) as tls:
            if args.workers is not None:
                serve_workers(args, factory, tls)
            else:
                with asyncio.Runner(loop_factory=factory) as runner:
                    runner.run(serve(args, tls))
    except certificate.CertificateError as error:
        print(f"poolio echo: {error}", file=sys.stderr)
        return 2
    except NotImplementedError as error:
        print(f"poolio echo: {error}", file=sys.stderr)
        return 2
    except (OSError, OverflowError, ValueError) as error:
        print(f"poolio echo: cannot serve: {error}", file=sys.stderr)
        return 1
    return 0
