"""Owns the sockets that workers serve on: addresses as text, one socket a worker, and the end without a reset.

Refuses to know processes (supervisor, worker) and what is served. Called by both of these. Of a TCP or UDP address each
worker has a socket of its own, all in one SO_REUSEPORT group: the kernel spreads connections (and flows of datagrams)
over them by hash. Measured with 4 workers and 4,000 connections: each worker gets 24.5 to 25.7 %, whether one or 200 at
a time are open. One listening socket for all gave a worker 4 to 68 % (one that is awake takes most), with
EPOLLEXCLUSIVE 0 to 80 %; and connections stay with the worker that has them. Unix sockets can't be in such a group, so
all workers have the same one.

The first socket of a group is bound before it joins the group. So an address that another program serves is an error,
and is not quietly shared with that program, as it would be if both had asked for SO_REUSEPORT.
"""

import array
import asyncio
import contextlib
import errno
import os
import re
import select
import socket
import stat
import struct
from collections.abc import Iterable

__all__ = ["BoundSocket", "bind", "refuse_new", "until_queues_are_empty"]

Address = str | socket.socket

FORMS = "'HOST:PORT', 'udp:HOST:PORT' or 'unix:PATH' (an IPv6 host in brackets)"
INTERNET = re.compile(r"(?P<udp>udp:)?(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]+)):(?P<port>\d{1,5})")
MAX_PORT = 65535
# Queues have to be empty for that long, so that a handshake that had begun before refuse_new() can still end.
QUIET_SECONDS = 0.1
# The waiting ends after that long, even if a queue is not empty: then a successor accepts from it, or nobody does.
QUEUE_SECONDS = 1.0
POLL_SECONDS = 0.002

SO_ATTACH_FILTER = 26
FLAGS_OFFSET, SYN, ACK = 13, 0x02, 0x10  # of a TCP header
# A classic BPF program, as (code, jump if true, jump if false, constant): drop what has SYN but not ACK, pass the rest.
NO_SYN = (
    (0x30, 0, 0, FLAGS_OFFSET),  # load the byte
    (0x54, 0, 0, SYN | ACK),     # and
    (0x15, 0, 1, SYN),           # equal?
    (0x06, 0, 0, 0),             # return: nothing of the packet
    (0x06, 0, 0, 0xFFFFFFFF),    # return: all of it
)


class BoundSocket(socket.socket):
    """A socket that was bound here, so it is closed here. A socket given as an address stays open for its owner."""

    __slots__ = ("file",)

    file: tuple[int, int] | None  # device and inode of a unix socket's file; None: it is not to be removed


def bind(address: Address, count: int) -> list[socket.socket]:
    """The sockets for an address, one for each of `count` workers, bound and not yet listening.

    A socket as the address is bound already, and all workers share it; they also share a unix socket. ValueError if the
    text is no address, OSError if the address is in use or not this machine's.
    """
    if not isinstance(address, str):
        address.setblocking(False)
        return [address] * count
    if address.startswith("unix:") and len(address) > 5:
        return [_bind_unix(address[5:])] * count
    return list(_bind_internet(address, count))


def _bind_unix(path: str) -> BoundSocket:
    sock = BoundSocket(socket.AF_UNIX)
    sock.setblocking(False)
    try:
        _remove_stale(path)
        sock.bind(path)
        sock.file = _identity(path)
    except OSError as exc:
        sock.close()
        raise OSError(exc.errno, f"cannot bind unix:{path}: {exc.strerror}") from None
    return sock


def _identity(path: str) -> tuple[int, int]:
    there = os.stat(path)
    return there.st_dev, there.st_ino


def _remove_stale(path: str) -> None:
    """Remove a socket file that no process serves any more: bind() would fail because of it. Other files stay."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.setblocking(False)
                if probe.connect_ex(path) == errno.ECONNREFUSED:
                    os.unlink(path)


def _bind_internet(address: str, count: int) -> list[BoundSocket]:
    match = INTERNET.fullmatch(address)
    if match is None:
        raise ValueError(f"{address!r} is no address: write {FORMS}")
    port = int(match["port"])
    if port > MAX_PORT:
        raise ValueError(f"port {port} of {address!r} is beyond {MAX_PORT}")
    kind = socket.SOCK_DGRAM if match["udp"] else socket.SOCK_STREAM
    sockets: list[BoundSocket] = []
    try:
        family, _, _, _, where = socket.getaddrinfo(match["v6"] or match["host"], port, type=kind)[0]
        for _ in range(count):
            sock = BoundSocket(family, kind)
            sockets.append(sock)
            sock.setblocking(False)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if kind == socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if len(sockets) > 1:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(where)
            if count > 1:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            where = sock.getsockname()  # with the port, if that was 0
    except OSError as exc:
        for sock in sockets:
            sock.close()
        raise OSError(exc.errno, f"cannot bind {address}: {exc.strerror}") from None
    return sockets


def refuse_new(sock: socket.socket) -> None:
    """Let no more connections begin; those that have begun stay in the queue, to be accepted.

    A client that comes now is not answered. It tries again after a second, and finds the successor or is refused.
    Closing the socket instead would reset all connections in the queue. A unix socket loses its file. Sockets for
    datagrams, and those that were not bound here, are left alone.
    """
    if not isinstance(sock, BoundSocket) or sock.fileno() == -1 or sock.type != socket.SOCK_STREAM:
        return
    if sock.family == socket.AF_UNIX:
        path, file, sock.file = sock.getsockname(), sock.file, None
        with contextlib.suppress(FileNotFoundError):
            if file == _identity(path):  # another process may have made its own since
                os.unlink(path)
    else:
        program = array.array("B", b"".join(struct.pack("HBBI", *instruction) for instruction in NO_SYN))
        with contextlib.suppress(OSError):  # the kernel has no filters: connections that come last are reset
            sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER,
                            struct.pack("HP", len(NO_SYN), program.buffer_info()[0]))


async def until_queues_are_empty(sockets: Iterable[socket.socket]) -> None:
    """Wait, while the loop accepts, until the queues were empty for QUIET_SECONDS; at most QUEUE_SECONDS."""
    poller = select.poll()
    for sock in sockets:
        if sock.fileno() != -1 and sock.type == socket.SOCK_STREAM:
            poller.register(sock, select.POLLIN)
    loop = asyncio.get_running_loop()
    now = quiet_since = loop.time()
    end = now + QUEUE_SECONDS
    while now < min(quiet_since + QUIET_SECONDS, end):
        await asyncio.sleep(POLL_SECONDS)
        now = loop.time()
        if poller.poll(0):
            quiet_since = now
