"""Addresses: what sendto() takes, whom a datagram is said to come from, and how they are written."""

import contextlib
import os
import pathlib
import socket

import pytest
from kit.endpoints import (
    HOSTS,
    contents,
    datagrams,
    endpoint,
    every_endpoint,
    every_kind,
    has_ipv6,
    internet_kinds,
    next_datagram,
    own_endpoints,
    plain,
)
from kit.pairs import turns
from kit.wires import allow_descriptors, eventually


@internet_kinds
@every_endpoint
async def test_bytes_and_address_are_what_recvfrom_gives(loop_name, kind):
    async with endpoint(local_addr=(HOSTS[kind], 0)) as (transport, protocol, address):
        with plain(kind) as peer:
            peer.sendto(b"question", address)
            (data, sender), = await protocol.until(1)
            assert (type(data), data, sender) == (bytes, b"question", peer.getsockname())
            transport.sendto(b"answer", sender)
            assert await next_datagram(peer) == (b"answer", address)
            assert protocol.errors == []


@pytest.mark.skipif(not has_ipv6(), reason="no address ::1 on this machine")
@every_endpoint
async def test_ipv4_senders_of_an_ipv6_endpoint_are_as_recvfrom_says(loop_name):
    def both_families():
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", 0))
        sock.setblocking(False)
        return sock

    with plain() as peer, both_families() as control:
        async with endpoint(sock=both_families()) as (transport, protocol, address):
            for to in (address, control.getsockname()):
                peer.sendto(b"abc", ("127.0.0.1", to[1]))
            expected = control.recvfrom(10)
            assert await protocol.until(1) == [expected]
            transport.sendto(b"answer", expected[1])
            assert await next_datagram(peer) == (b"answer", ("127.0.0.1", address[1]))


@every_endpoint
async def test_link_local_addresses_are_as_recvfrom_says(loop_name):
    try:
        infos = [line.split() for line in pathlib.Path("/proc/net/if_inet6").read_text().splitlines()]
    except OSError:
        infos = []
    local = [(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(info[0])), int(info[1], 16)) for info in infos
             if info[0].startswith("fe80")]
    if not local:
        pytest.skip("no interface of this machine has a link-local address")

    def bound():
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.bind((local[0][0], 0, 0, local[0][1]))
        sock.setblocking(False)
        return sock

    with bound() as peer, bound() as control:
        async with endpoint(sock=bound()) as (transport, protocol, _):
            to = transport.get_extra_info("socket").getsockname()
            peer.sendto(b"abc", to)
            peer.sendto(b"abc", control.getsockname())
            expected = await next_datagram(control)
            assert await protocol.until(1) == [expected]
            transport.sendto(b"answer", expected[1])
            assert await next_datagram(peer) == (b"answer", to)


@every_endpoint
async def test_unix_paths_are_the_addresses(loop_name, tmp_path):
    path, other = str(tmp_path / "endpoint"), str(tmp_path / "peer")
    async with endpoint(local_addr=path, family=socket.AF_UNIX) as (transport, protocol, address):
        assert address == path
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
            peer.bind(other)
            peer.setblocking(False)
            peer.sendto(b"question", path)
            assert await protocol.until(1) == [(b"question", other)]
            transport.sendto(b"answer", other)
            assert await next_datagram(peer) == (b"answer", path)


@every_endpoint
async def test_unix_stale_path_is_taken_over(loop_name, tmp_path):
    path = str(tmp_path / "endpoint")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stale:
        stale.bind(path)
    async with endpoint(local_addr=path, family=socket.AF_UNIX) as (_, protocol, _):
        with plain("unix") as peer:
            peer.sendto(b"abc", path)
            assert contents(await protocol.until(1)) == [b"abc"]


@every_endpoint
async def test_unix_unnamed_and_abstract_senders_are_as_recvfrom_says(loop_name):
    with plain("unix") as control, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unnamed, plain("unix") as named:
        async with endpoint(kind="unix") as (transport, protocol, address):
            assert address.startswith(b"\0")
            expected = []
            for peer in (unnamed, named):
                for to in (address, control.getsockname()):
                    peer.sendto(b"abc", to)
                expected.append(control.recvfrom(10))
            assert await protocol.until(2) == expected
            assert expected[1][1] == named.getsockname()
            transport.sendto(b"answer", expected[1][1])
            assert await next_datagram(named) == (b"answer", address)


@every_endpoint
async def test_remote_addr_connects(loop_name):
    with plain() as peer, plain() as stranger:
        async with endpoint(remote_addr=peer.getsockname()) as (transport, protocol, address):
            assert transport.get_extra_info("peername") == peer.getsockname()
            transport.sendto(b"one")
            transport.sendto(b"two", peer.getsockname())
            assert await datagrams(peer, 2) == [b"one", b"two"]
            with pytest.raises(ValueError, match="address"):
                transport.sendto(b"three", stranger.getsockname())
            stranger.sendto(b"not for it", address)
            peer.sendto(b"for it", address)
            assert await protocol.until(1) == [(b"for it", peer.getsockname())]


@every_endpoint
async def test_remote_addr_with_allow_broadcast_is_not_connected(loop_name):
    with plain() as peer, plain() as stranger:
        options = {"remote_addr": peer.getsockname(), "allow_broadcast": True}
        async with endpoint(local_addr=(HOSTS["ipv4"], 0), **options) as (transport, protocol, address):
            assert transport.get_extra_info("peername") is None
            assert transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)
            transport.sendto(b"one")
            transport.sendto(b"two", peer.getsockname())
            assert await datagrams(peer, 2) == [b"one", b"two"]
            with pytest.raises(ValueError, match="address"):
                transport.sendto(b"three", stranger.getsockname())
            stranger.sendto(b"welcome", address)
            assert await protocol.until(1) == [(b"welcome", stranger.getsockname())]


@every_kind
@every_endpoint
async def test_connected_sock_needs_no_address(loop_name, kind):
    with plain(kind) as peer:
        async with endpoint(sock=plain(kind, peer)) as (transport, protocol, address):
            assert transport.get_extra_info("peername") == peer.getsockname()
            transport.sendto(b"question")
            assert await next_datagram(peer) == (b"question", address)
            peer.sendto(b"answer", address)
            assert await protocol.until(1) == [(b"answer", peer.getsockname())]


@every_kind
@own_endpoints
async def test_connected_sock_with_an_address_raises_or_takes_its_own(loop_name, kind):
    with plain(kind) as peer, plain(kind) as stranger:
        async with endpoint(sock=plain(kind, peer)) as (transport, protocol, _):
            with contextlib.suppress(ValueError):
                transport.sendto(b"astray", stranger.getsockname())
            await turns()
            with pytest.raises(BlockingIOError):
                stranger.recv(10)
            assert protocol.errors == []


# (the host that an endpoint is connected to, ways to write the rest of its address, as a function of host and port)
SPELLINGS = {
    "127.0.0.1": (
        lambda port: ("127.0.0.1", port), lambda port: ("127.1", port), lambda port: ("127.000.0.1", port),
        lambda port: ("0x7f000001", port), lambda port: (b"127.0.0.1", port),
    ),
    "::1": (
        lambda port: ("::1", port), lambda port: ("::1", port, 0), lambda port: ("::1", port, 0, 0),
        lambda port: ("0:0::1", port), lambda port: ("0:0:0:0:0:0:0:1", port, 0, 0), lambda port: ("::0.0.0.1", port),
        lambda port: ("::1", port, 5, 0), lambda port: ("::1", port, 0, 1), lambda port: (b"::1", port),
    ),
}
STRANGERS = {
    "127.0.0.1": (
        lambda port: ("127.0.0.2", port), lambda port: ("127.0.0.1", port ^ 1), lambda port: ("localhost", port),
        lambda port: ("::1", port), lambda port: ("", port), lambda port: (None, port), lambda port: "127.0.0.1",
        lambda port: ("127.0.0.1",), lambda port: ("127.0.0.1", port, 0), lambda port: ("127.0.0.1", str(port)),
        lambda port: ("127.0.0.1", port + (1 << 16)), lambda port: ("127.0.0.1\0", port), lambda port: 5,
    ),
    "::1": (
        lambda port: ("::2", port), lambda port: ("::1", port ^ 1), lambda port: ("localhost", port),
        lambda port: ("127.0.0.1", port), lambda port: ("::ffff:127.0.0.1", port), lambda port: (None, port),
        lambda port: ("::1", port, 0, 0, 0), lambda port: ("::1", port, "flow"),
    ),
}


@contextlib.asynccontextmanager
async def connected(host):
    """A plain socket, an endpoint that was connected to it, and the port of the socket."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as peer:
        peer.bind((host, 0))
        peer.setblocking(False)
        async with endpoint(remote_addr=peer.getsockname()[:2]) as (transport, _, _):
            yield peer, transport, peer.getsockname()[1]


@pytest.mark.parametrize("host", SPELLINGS)
@own_endpoints
async def test_connected_peer_in_another_spelling_is_the_same_peer(loop_name, host):
    async with connected(host) as (peer, transport, port):
        for spelling in SPELLINGS[host]:
            transport.sendto(b"question", spelling(port))
            assert (await next_datagram(peer))[0] == b"question", spelling(port)
            transport.sendmany([(b"one", spelling(port)), (b"two", None)])
            assert [(await next_datagram(peer))[0] for _ in range(2)] == [b"one", b"two"]


@pytest.mark.parametrize("host", STRANGERS)
@own_endpoints
async def test_connected_other_peer_is_a_value_error_that_names_both(loop_name, host):
    async with connected(host) as (peer, transport, port):
        for stranger in STRANGERS[host]:
            with pytest.raises(ValueError, match="Invalid address: must be None or") as caught:
                transport.sendto(b"astray", stranger(port))
            assert repr(peer.getsockname()) in str(caught.value)
            assert repr(stranger(port)) in str(caught.value)
        with pytest.raises(BlockingIOError):
            peer.recv(10)


@own_endpoints
async def test_connected_unix_peer_in_another_spelling_is_the_same_peer(loop_name, tmp_path):
    path = str(tmp_path / "peer")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
        peer.bind(path)
        peer.setblocking(False)
        async with endpoint(sock=plain("unix", peer)) as (transport, _, _):
            for spelling in (path, os.fsencode(path), pathlib.Path(path)):
                transport.sendto(b"question", spelling)
                assert (await next_datagram(peer))[0] == b"question"
            with pytest.raises(ValueError, match=path):
                transport.sendto(b"astray", path + "2")
            with pytest.raises(ValueError, match=path):
                transport.sendto(b"astray", ("127.0.0.1", 53))


@internet_kinds
@every_endpoint
async def test_addresses_written_anew_each_time_reach_their_own_peers(loop_name, kind):
    """A tuple that is gone leaves its place to the next one, which has another address."""
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(plain(kind)) for _ in range(60)]
        async with endpoint(kind=kind) as (transport, protocol, _):
            for _ in range(3):
                for number, peer in enumerate(peers):
                    transport.sendto(b"%d" % number, ("".join(HOSTS[kind]), peer.getsockname()[1]))
            for number, peer in enumerate(peers):
                assert await datagrams(peer, 3) == [b"%d" % number] * 3
            assert protocol.errors == []


@own_endpoints
async def test_more_peers_than_addresses_are_remembered_each_get_theirs(loop_name):
    allow_descriptors(3000)
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(plain()) for _ in range(1100)]
        async with endpoint() as (transport, _, _):
            kept = [peer.getsockname() for peer in peers]
            for number in [*range(1100), *reversed(range(1100))]:
                transport.sendto(b"%d" % number, kept[number])
            for number, peer in enumerate(peers):
                assert [peer.recv(10), peer.recv(10)] == [b"%d" % number] * 2


@pytest.mark.skipif(not has_ipv6(), reason="no address ::1 on this machine")
@own_endpoints
async def test_address_of_the_other_family_is_an_error_also_when_known(loop_name):
    async with endpoint() as (transport, _, _), endpoint(kind="ipv6") as (other, protocol, _):
        with plain() as peer:
            address = peer.getsockname()
            transport.sendto(b"abc", address)
            assert await datagrams(peer, 1) == [b"abc"]
            with contextlib.suppress(OSError, ValueError, TypeError):
                other.sendto(b"def", address)
                await eventually(lambda: protocol.errors)
            assert other.statistics().sent == 0
            assert not other.is_closing()


@own_endpoints
async def test_sendto_without_any_address_raises(loop_name):
    async with endpoint() as (transport, protocol, _):
        with pytest.raises(ValueError, match="address"):
            transport.sendto(b"abc")
        with pytest.raises(ValueError, match="address"):
            transport.send_segmented(b"abc", 2)
        assert protocol.errors == []
        assert transport.statistics().sent == 0


@every_endpoint
async def test_host_name_in_sendto_is_looked_up(loop_name):
    async with endpoint() as (transport, protocol, _):
        with plain() as peer:
            transport.sendto(b"abc", ("localhost", peer.getsockname()[1]))
            assert (await next_datagram(peer))[0] == b"abc"
            assert protocol.errors == []


@pytest.mark.parametrize(
    "address",
    (5, (), ("127.0.0.1",), (b"127.0.0.1", "9"), ("127.0.0.1", -1), ("127.0.0.1", 65536), ("127.0.0.1\0x", 9)))
@own_endpoints
async def test_address_of_a_wrong_shape_raises_and_sends_nothing(loop_name, address):
    async with endpoint() as (transport, protocol, _):
        with pytest.raises((TypeError, ValueError, OverflowError)):
            transport.sendto(b"abc", address)
        assert transport.statistics().sent == 0
        assert not transport.is_closing()
        assert protocol.errors == []


@every_endpoint
async def test_extra_info_names_the_ends(loop_name):
    with plain() as peer:
        async with endpoint() as (transport, _, address):
            sock = transport.get_extra_info("socket")
            assert (sock.getsockname(), sock.type) == (address, socket.SOCK_DGRAM)
            assert transport.get_extra_info("peername") is None
            assert transport.get_extra_info("nonsense", 5) == 5
        async with endpoint(remote_addr=peer.getsockname()) as (transport, protocol, address):
            sock = transport.get_extra_info("socket")
            assert (sock.getsockname(), sock.getpeername()) == (address, peer.getsockname())
            transport.close()
            await protocol.ended
            assert transport.get_extra_info("sockname") == address
            assert transport.get_extra_info("peername") == peer.getsockname()
