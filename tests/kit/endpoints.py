"""Owns datagram endpoints, the plain sockets they talk to, and protocols that keep what they are given.

A kind is a family of sockets: ipv4 and ipv6 on loopback, and unix, which the kernel names itself (abstract, so no path
is left behind). Plain sockets do not block; datagrams are slices of BLOCK, so that each is known by its number.
Called by the tests of datagrams in wire, faults and security.
"""

import asyncio
import contextlib
import socket

import pytest

import poolio
from kit.pairs import on, on_pool
from kit.wires import BLOCK, OURS, net

HOSTS = {"ipv4": "127.0.0.1", "ipv6": "::1"}
FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6, "unix": socket.AF_UNIX}
# What the option is called in linux/udp.h; Python has no name for it.
UDP_SEGMENT = 103
# What the kernel grants of it is enough for 200 short datagrams, or two of the longest, everywhere.
RECEIVE_BUFFER = 1 << 20
# An IPv4 datagram has a 16-bit length, of which the headers take 28.
LONGEST = 65_507


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


ipv6 = pytest.param("ipv6", marks=pytest.mark.skipif(not has_ipv6(), reason="no address ::1 on this machine"))
every_kind = pytest.mark.parametrize("kind", ("ipv4", ipv6, "unix"))
internet_kinds = pytest.mark.parametrize("kind", ("ipv4", ipv6))
every_endpoint = on("asyncio", *OURS)
own_endpoints = on(*OURS)


class Recording:
    """Keeps what it is told: `calls`, the pairs in `received`, `errors`; `ended` is done at connection_lost()."""

    def __init__(self):
        self.calls = []
        self.received = []
        self.errors = []
        self.ended = asyncio.get_running_loop().create_future()
        self.arrived = asyncio.Event()

    def connection_made(self, transport):
        self.transport = transport
        self.calls.append("made")

    def keep(self, pairs):
        self.received += pairs
        self.arrived.set()

    async def until(self, count):
        """Wait until that many were received, and return what was."""
        while len(self.received) < count:
            self.arrived.clear()
            await self.arrived.wait()
        return self.received

    def error_received(self, exc):
        self.errors.append(exc)

    def pause_writing(self):
        self.calls.append("pause")

    def resume_writing(self):
        self.calls.append("resume")

    def connection_lost(self, exc):
        self.calls.append("lost")
        if not self.ended.cancelled():
            self.ended.set_result(exc)


class Recorder(Recording, asyncio.DatagramProtocol):
    def datagram_received(self, data, address):
        self.keep([(data, address)])


class Batches(Recording, poolio.DatagramProtocol):
    """The same of a poolio.DatagramProtocol; `batches` has the length of each."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def datagrams_received(self, batch):
        self.batches.append(len(batch))
        self.keep(batch)


def batches_into(pool, factory=Batches):
    """Makes protocols that receive into this pool."""
    return on_pool(pool, factory)


def plain(kind="ipv4", peer=None):
    """A socket of its own address, connected to the peer's."""
    sock = socket.socket(FAMILIES[kind], socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    sock.bind("" if kind == "unix" else (HOSTS[kind], 0))
    sock.setblocking(False)
    if peer is not None:
        sock.connect(peer.getsockname())
    return sock


@contextlib.asynccontextmanager
async def endpoint(factory=Recorder, kind="ipv4", **options):
    """(transport, protocol, address); aborted at the end, and then waited for."""
    transport, protocol = await net().create_datagram_endpoint(factory, **(options or {"sock": plain(kind)}))
    try:
        yield transport, protocol, transport.get_extra_info("sockname")
    finally:
        last = transport.get_protocol() or protocol
        if "lost" not in last.calls:
            transport.abort()
        while "lost" not in last.calls:
            await asyncio.sleep(0)


async def next_datagram(peer):
    """(data, address) of what the plain socket receives next."""
    while True:
        with contextlib.suppress(BlockingIOError):
            return peer.recvfrom(1 << 20)
        await asyncio.sleep(0.001)


async def datagrams(peer, count):
    return [(await next_datagram(peer))[0] for _ in range(count)]


def message(number, size):
    return BLOCK[61 * number:61 * number + size]


def fill(transport, size=100, address=None):
    """Send messages until one had to be queued; returns how many that was."""
    for number in range(20_000):
        if transport.get_write_buffer_size():
            return number
        transport.sendto(message(number, size), address)
    raise AssertionError("the kernel took every datagram")


def contents(received):
    return [bytes(data) for data, _ in received]


@contextlib.contextmanager
def trains(sock, size):
    """What is sent on the socket meanwhile is cut by the kernel into datagrams of that size."""
    try:
        sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
    except OSError:
        pytest.skip("the kernel has no UDP_SEGMENT")
    yield
    sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 0)


def cut(data, size):
    return [data[start:start + size] for start in range(0, len(data), size)]


def send_numbered(sender, address, count=10):
    """Send the numbers from 0 as datagrams; returns what they are."""
    for number in range(count):
        sender.sendto(b"%d" % number, address)
    return [b"%d" % number for number in range(count)]
