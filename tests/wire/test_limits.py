"""Limits of a server: how many connections it has, how long one may be silent, when its first frame has to be there.

Time is a clock that is put forward, look by look: looks() makes as many as it is told, and what must not happen before
the timeout is looked at right before it.
"""

import asyncio
import contextlib
import logging
import socket
import subprocess
import sys
import textwrap

import pytest
from kit.clocks import JumpingEventLoop, JumpingSelectorLoop
from kit.pairs import Recorder, RoomRecorder, linked, listed_in, on, received_by, shrink_kernel_buffers, turns
from kit.wires import BLOCK, CLIENT_TLS, OURS, SERVER_TLS, eventually

import poolio
from poolio.wire.limits import BOUNDS, Limits

SECONDS = 1000
NEVER = 4           # looks after the last activity that must not end a connection yet
ENOUGH = 5          # and those that must

pytestmark = pytest.mark.skipif(not OURS, reason="poolio's own transports need epoll")


def jumping(test):
    """Run an async test on poolio's loop, and with poolio's functions on asyncio's; both clocks can be put forward."""
    def wrapped(loop_class):
        with asyncio.Runner(loop_factory=loop_class) as runner:
            runner.run(test())

    wrapped.__name__, wrapped.__doc__ = test.__name__, test.__doc__
    return pytest.mark.parametrize("loop_class", (JumpingEventLoop, JumpingSelectorLoop))(wrapped)


async def looks(count):
    """Let time pass until the limits have looked so many times more."""
    for _ in range(count):
        asyncio.get_running_loop().ahead += SECONDS / BOUNDS["LOOKS"] + 0.1
        await turns(5)


class Framed(Recorder, poolio.FramedProtocol):
    codec = poolio.Delimited(b"\n")

    def __init__(self):
        poolio.FramedProtocol.__init__(self)
        Recorder.__init__(self)

    data_received = poolio.FramedProtocol.data_received
    eof_received = poolio.FramedProtocol.eof_received

    def connection_made(self, transport):
        Recorder.connection_made(self, transport)

    def frames_received(self, frames):
        self.received += b"".join(frames)


@contextlib.asynccontextmanager
async def served(factory=Recorder, peers=1, **limits):
    """(server, protocols, sockets of their peers)."""
    made, sockets = [], []
    server = await poolio.create_server(listed_in(made, factory), "127.0.0.1", 0, **limits)
    try:
        for _ in range(peers):
            sockets.append(socket.create_connection(server.sockets[0].getsockname(), timeout=20))
        await eventually(lambda: len(made) == peers and all(protocol.calls for protocol in made))
        yield server, made, sockets
    finally:
        for sock in sockets:
            sock.close()
        server.close()
        server.close_clients()
        await asyncio.wait_for(server.wait_closed(), 20)


# --- arguments --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, value, error, text", (
    ("max_connections", 0, ValueError, "1 to 2147483647, or None for no limit, not 0"),
    ("max_connections", -1, ValueError, "not -1"),
    ("max_connections", 1 << 31, ValueError, "not 2147483648"),
    ("max_connections", True, TypeError, "whole number or None, not True"),
    ("max_connections", 1.5, TypeError, "not 1.5"),
    ("max_connections", "10", TypeError, "not '10'"),
    *((name, value, error, text) for name in ("idle_timeout", "first_frame_timeout") for value, error, text in (
        (0, ValueError, "0.01 to 31536000 seconds, or None for no limit, not 0"),
        (-1.0, ValueError, "not -1.0"),
        (0.001, ValueError, "not 0.001"),
        (float("nan"), ValueError, "not nan"),
        (float("inf"), ValueError, "not inf"),
        (10 ** 400, ValueError, "not 1000"),
        (True, TypeError, "number of seconds or None, not True"),
        ("1", TypeError, "not '1'"),
    )),
    ("when_full", "drop", ValueError, "'wait' or 'refuse', not 'drop'"),
    ("when_full", None, ValueError, "not None"),
))
def test_wrong_limit_is_an_error_that_names_it_and_what_is_allowed(name, value, error, text):
    with pytest.raises(error, match=f"^{name} must be .*{text}"):
        Limits(**{name: value})


@pytest.mark.parametrize("values", (
    {"max_connections": 1}, {"max_connections": 0x7FFFFFFF}, {"idle_timeout": 0.01}, {"idle_timeout": 1},
    {"first_frame_timeout": 31_536_000}, {}))
def test_limits_at_their_bounds_are_taken(values):
    assert Limits(**values).is_set is bool(values)


@on(*OURS)
async def test_wrong_limit_opens_no_server():
    for create in (poolio.create_server, poolio.start_server):
        with pytest.raises(ValueError, match="max_connections must be"):
            await create(Recorder, "127.0.0.1", 0, max_connections=0)


# --- how many ---------------------------------------------------------------------------------------------------

@on(*OURS)
async def test_full_server_lets_others_wait_until_one_has_ended():
    async with served(peers=2, max_connections=2) as (server, made, peers):
        for number in range(3):
            peers.append(socket.create_connection(server.sockets[0].getsockname(), timeout=20))
            await eventually(lambda: server.statistics().filled == number + 1)  # noqa: B023 (it is awaited here)
            assert (len(made), server.statistics().connections) == (2 + number, 2)
            peers[-1].sendall(b"I waited")
            peers.pop(0).close()
            await eventually(lambda: len(made) == 3 + number and made[-1].received == b"I waited")  # noqa: B023
        assert server.statistics()[:4] == (2, 5, 0, 3)


@on(*OURS)
async def test_full_server_refuses_others_until_one_has_ended():
    async with served(peers=2, max_connections=2, when_full="refuse") as (server, made, peers):
        address = server.sockets[0].getsockname()
        for _ in range(3):
            with socket.create_connection(address, timeout=20) as refused:
                assert await received_by(refused) == b""
        assert server.statistics()[:4] == (2, 2, 3, 1)
        peers.pop().close()
        await eventually(lambda: server.statistics().connections == 1)
        peers.append(socket.create_connection(address, timeout=20))
        peers[-1].sendall(b"let in")
        await eventually(lambda: len(made) == 3 and made[2].received == b"let in")


@on(*OURS)
async def test_limit_is_over_all_sockets_of_a_server():
    made = []
    server = await poolio.create_server(listed_in(made), ["127.0.0.1", "127.0.0.2"], 0, max_connections=1)
    addresses = [sock.getsockname() for sock in server.sockets]
    first = socket.create_connection(addresses[0])
    await eventually(lambda: made)
    with socket.create_connection(addresses[0]), socket.create_connection(addresses[1]):
        await eventually(lambda: server.statistics().filled == 2)
        assert len(made) == 1
        first.close()
        await eventually(lambda: len(made) == 2)
        assert server.statistics().connections == 1
    await eventually(lambda: len(made) == 3)
    server.close()
    await server.wait_closed()


@on(*OURS)
async def test_server_that_is_full_again_and_again_logs_one_line(caplog):
    caplog.set_level(logging.INFO, "poolio")
    async with served(max_connections=1, when_full="refuse") as (server, made, peers):
        for number in range(5):
            with socket.create_connection(server.sockets[0].getsockname(), timeout=20) as refused:
                assert await received_by(refused) == b""
            peers.pop().close()
            await eventually(lambda: server.statistics().connections == 0)
            peers.append(socket.create_connection(server.sockets[0].getsockname(), timeout=20))
            await eventually(lambda: len(made) == number + 2)  # noqa: B023
        assert server.statistics().filled == 5
    line, = caplog.messages
    assert line.endswith("has 1 connections, the most that it may have: others are refused")


@on(*OURS)
async def test_full_server_that_is_closed_accepts_nobody_and_ends():
    made = []
    server = await poolio.create_server(listed_in(made), "127.0.0.1", 0, max_connections=1)
    address = server.sockets[0].getsockname()
    with socket.create_connection(address), socket.create_connection(address, timeout=20) as waiting:
        await eventually(lambda: server.statistics().filled == 1)
        server.close()
        server.abort_clients()
        await server.wait_closed()
        with contextlib.suppress(ConnectionResetError):
            assert await received_by(waiting) == b""
    assert (len(made), server.statistics()[:2]) == (1, (0, 1))


@on(*OURS)
async def test_failing_factory_gives_its_place_back():
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    made = []

    def fail_twice():
        made.append(Recorder())
        if len(made) < 3:
            raise ZeroDivisionError
        return made[-1]

    server = await poolio.create_server(fail_twice, "127.0.0.1", 0, max_connections=1)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(socket.create_connection(server.sockets[0].getsockname()))
        await eventually(lambda: len(made) == 3 and made[2].calls)
    await made[2].ended
    server.close()
    await server.wait_closed()


@on(*OURS)
async def test_server_without_limits_has_statistics():
    async with served(peers=3) as (server, _, peers):
        assert isinstance(server.statistics(), poolio.ServerStatistics)
        peers.pop().close()
        await eventually(lambda: server.statistics().connections == 2)
    assert server.statistics() == (0, 3, 0, 0, 0, 0)


# --- silence ----------------------------------------------------------------------------------------------------

@jumping
async def test_idle_connection_ends_after_the_timeout_and_not_before():
    async with served(idle_timeout=SECONDS) as (server, made, peers):
        await looks(NEVER)
        assert "lost" not in made[0].calls
        await looks(1)
        exc = await made[0].ended
        assert type(exc) is poolio.PeerTimeout and (exc.limit, exc.seconds) == ("idle_timeout", SECONDS)
        assert await received_by(peers[0]) == b""
        assert server.statistics() == (0, 1, 0, 0, 1, 0)


@pytest.mark.parametrize("factory", (Recorder, RoomRecorder, Framed))
@pytest.mark.parametrize("way", ("receives", "sends", "sends a copy"))
def test_connection_with_a_byte_in_either_direction_goes_on(factory, way):
    @jumping
    async def check():
        async with served(factory, idle_timeout=SECONDS) as (_, made, peers):
            for number in range(3):
                await looks(NEVER)
                if way == "receives":
                    peers[0].sendall(b"x")
                    await eventually(lambda: made[0].received == b"x" * (number + 1) or factory is Framed)  # noqa: B023
                    await turns(5)
                else:
                    made[0].transport.write(b"y" if way == "sends" else bytearray(b"y"))
            await looks(NEVER)
            assert "lost" not in made[0].calls
            await looks(1)
            assert isinstance(await made[0].ended, poolio.PeerTimeout)

    for loop_class in (JumpingEventLoop, JumpingSelectorLoop):
        check(loop_class)


@jumping
async def test_peer_that_does_not_read_is_idle_though_much_is_queued_and_reading_is_paused():
    async with served(idle_timeout=SECONDS) as (_, made, peers):
        shrink_kernel_buffers(made[0].transport, peers[0])
        made[0].transport.write(BLOCK)
        made[0].transport.pause_reading()
        await looks(ENOUGH + 1)
        assert isinstance(await made[0].ended, poolio.PeerTimeout)


@jumping
async def test_closing_connection_whose_peer_does_not_read_ends():
    async with served(idle_timeout=SECONDS) as (_, made, peers):
        shrink_kernel_buffers(made[0].transport, peers[0])
        made[0].transport.write(BLOCK)
        made[0].transport.close()
        await looks(NEVER)
        assert "lost" not in made[0].calls
        await looks(2)
        assert isinstance(await made[0].ended, poolio.PeerTimeout)


@jumping
async def test_slow_reader_of_a_long_queue_is_not_idle():
    async with served(idle_timeout=SECONDS) as (_, made, peers):
        shrink_kernel_buffers(made[0].transport, peers[0])
        made[0].transport.write(BLOCK[:1 << 20])
        for _ in range(3):
            await looks(NEVER - 1)
            before = made[0].transport.get_write_buffer_size()
            while made[0].transport.get_write_buffer_size() == before:
                peers[0].recv(1 << 16)
                await turns()
        assert "lost" not in made[0].calls
        made[0].transport.abort()


@jumping
async def test_silence_of_an_end_that_does_not_read_is_not_the_peers():
    async with served(idle_timeout=SECONDS) as (_, made, _):
        made[0].transport.pause_reading()
        await looks(20)
        assert "lost" not in made[0].calls
        made[0].transport.resume_reading()
        await looks(ENOUGH)
        assert isinstance(await made[0].ended, poolio.PeerTimeout)


@jumping
async def test_idle_timeout_goes_on_when_the_server_has_closed():
    async with served(idle_timeout=SECONDS) as (server, made, _):
        server.close()
        await looks(ENOUGH)
        assert isinstance(await made[0].ended, poolio.PeerTimeout)
        await server.wait_closed()


@jumping
async def test_server_without_connections_has_no_timer():
    loop = asyncio.get_running_loop()
    async with served(peers=0, idle_timeout=SECONDS, first_frame_timeout=SECONDS) as (server, made, _):
        assert loop._scheduled == []
        socket.create_connection(server.sockets[0].getsockname()).close()
        await eventually(lambda: made)
        await made[0].ended
        await looks(2)
        assert [timer for timer in loop._scheduled if not timer.cancelled()] == []


@jumping
async def test_connection_that_was_made_and_not_accepted_has_no_limit():
    async with served(idle_timeout=SECONDS) as (_, _, _):
        protocol, peer = await linked()
        await looks(ENOUGH)
        assert protocol.calls == ["made"]
        peer.close()
        await protocol.ended


# --- the first frame --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("factory", (Recorder, Framed, poolio.StreamProtocol))
def test_first_frame_that_does_not_come_ends_the_connection(factory):
    @jumping
    async def check():
        kind = stream_of(lambda reader: reader.readexactly(5)) if factory is poolio.StreamProtocol else factory
        async with served(kind, first_frame_timeout=SECONDS) as (server, made, _):
            await looks(NEVER)
            assert "lost" not in made[0].calls
            await looks(1)
            exc = await made[0].ended
            assert (type(exc), exc.limit) == (poolio.PeerTimeout, "first_frame_timeout")
            assert server.statistics() == (0, 1, 0, 0, 0, 1)

    for loop_class in (JumpingEventLoop, JumpingSelectorLoop):
        check(loop_class)


def stream_of(read):
    """A StreamProtocol that records, and reads with read(reader)."""
    class Stream(poolio.StreamProtocol):
        def __init__(self):
            super().__init__(self.handle)
            self.calls = []
            self.ended = asyncio.get_running_loop().create_future()

        async def handle(self, reader, writer):
            with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError):
                while not reader.at_eof():
                    await read(reader)

        def connection_made(self, transport):
            super().connection_made(transport)
            self.calls.append("made")

        def connection_lost(self, exc):
            super().connection_lost(exc)
            self.calls.append("lost")
            self.ended.set_result(exc)

    return Stream


READING = {
    "readexactly": lambda reader: reader.readexactly(5),
    "readline": lambda reader: reader.readline(),
    "frames": lambda reader: anext(reader.frames(poolio.Delimited(b"\n"))),
}


@pytest.mark.parametrize("kind", ("framed", *READING))
def test_first_frame_byte_by_byte_ends_the_connection_and_a_whole_one_lets_it_go_on(kind):
    @jumping
    async def check():
        factory = Framed if kind == "framed" else stream_of(READING[kind])
        async with served(factory, 2, first_frame_timeout=SECONDS, idle_timeout=SECONDS) as (_, made, peers):
            peers[1].sendall(b"four\n")
            for _ in range(NEVER):
                peers[0].sendall(b"x")
                peers[1].sendall(b"y")
                await looks(1)
            assert "lost" not in made[0].calls
            await looks(1)
            assert (await made[0].ended).limit == "first_frame_timeout"
            for _ in range(20 if kind != "readexactly" else 0):
                peers[1].sendall(b"y")
                await looks(1)
            assert "lost" not in made[1].calls

    for loop_class in (JumpingEventLoop, JumpingSelectorLoop):
        check(loop_class)


@jumping
async def test_first_byte_is_enough_for_a_protocol_without_frames():
    async with served(first_frame_timeout=SECONDS) as (_, made, peers):
        made[0].transport.write(b"a greeting is not the peer's")
        await looks(NEVER - 1)
        peers[0].sendall(b"x")
        await looks(20)
        assert "lost" not in made[0].calls


@jumping
async def test_stream_that_nobody_reads_from_owes_no_frame():
    waiting = asyncio.Event()

    async def wait_first(reader):
        await waiting.wait()
        return await reader.readexactly(5)

    async with served(stream_of(wait_first), first_frame_timeout=SECONDS) as (_, made, _):
        await looks(20)
        assert "lost" not in made[0].calls
        waiting.set()
        await looks(ENOUGH + 1)
        assert isinstance(await made[0].ended, poolio.PeerTimeout)


@jumping
async def test_connection_handed_over_after_its_first_frame_owes_no_other():
    class Upgraded(Framed):
        def frames_received(self, frames):
            self.next = Framed()
            self.hand_over(self.next)

    async with served(Upgraded, first_frame_timeout=SECONDS) as (_, made, peers):
        peers[0].sendall(b"upgrade\n")
        await eventually(lambda: hasattr(made[0], "next"))
        await looks(20)
        assert "lost" not in made[0].next.calls


@on(*OURS)
async def test_handler_that_does_not_catch_a_timeout_ends_with_one_line(caplog):
    caplog.set_level(logging.INFO, "poolio")

    async def handle(reader, writer):
        await reader.readline()

    server = await poolio.start_server(handle, "127.0.0.1", 0, first_frame_timeout=0.05)
    with socket.create_connection(server.sockets[0].getsockname(), timeout=20) as peer:
        assert await received_by(peer) == b""
        server.close()
        await server.wait_closed()
    line, = caplog.records
    assert (line.levelname, line.exc_info) == ("INFO", None)
    assert line.message.endswith("the peer has used up the first_frame_timeout of 0.05 seconds")


# --- every loop and wire ----------------------------------------------------------------------------------------

@on(*OURS)
async def test_tls_handshake_that_never_comes_uses_up_the_time_of_the_first_frame():
    async with served(first_frame_timeout=0.05, ssl=SERVER_TLS, peers=0) as (server, _, peers):
        peers.append(socket.create_connection(server.sockets[0].getsockname(), timeout=20))
        assert await received_by(peers[0]) == b""
        assert server.statistics().first_frame_timeouts == 1


@pytest.mark.parametrize("factory", (Recorder, Framed))
@pytest.mark.parametrize("says", (b"", b"frame\n"))
@on(*OURS)
async def test_tls_handshake_alone_is_no_first_frame(factory, says):
    async with served(factory, peers=0, first_frame_timeout=0.4, ssl=SERVER_TLS) as (server, made, _):
        address = server.sockets[0].getsockname()
        _, writer = await poolio.open_connection(*address, ssl=CLIENT_TLS, server_hostname="localhost")
        writer.write(says)
        if says:
            await eventually(lambda: made[0].received)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(made[0].ended, 0.6)
        else:
            assert isinstance(await made[0].ended, poolio.PeerTimeout)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    assert server.statistics().first_frame_timeouts == (not says)


@pytest.mark.parametrize("ssl", (None, SERVER_TLS), ids=("tcp", "tls"))
@on(*OURS)
async def test_idle_connection_ends_on_every_loop(ssl):
    async with served(Recorder, peers=0, idle_timeout=0.2, ssl=ssl) as (server, made, _):
        options = {} if ssl is None else {"ssl": CLIENT_TLS, "server_hostname": "localhost"}
        reader, writer = await poolio.open_connection(*server.sockets[0].getsockname(), **options)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        assert isinstance(await made[0].ended, poolio.PeerTimeout)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@on(*OURS)
async def test_unix_server_has_the_same_limits(tmp_path):
    made, path = [], str(tmp_path / "socket")
    server = await poolio.create_unix_server(
        listed_in(made), path, max_connections=1, when_full="refuse", idle_timeout=0.1)
    with socket.socket(socket.AF_UNIX) as idle, socket.socket(socket.AF_UNIX) as refused:
        idle.connect(path)
        await eventually(lambda: made)
        refused.settimeout(20)
        refused.connect(path)
        assert await received_by(refused) == b""
        assert isinstance(await made[0].ended, poolio.PeerTimeout)
    server.close()
    await server.wait_closed()
    assert server.statistics() == (0, 1, 1, 1, 1, 0)


@pytest.mark.parametrize("start", (True, False))
@on("poolio")
async def test_create_server_of_the_loop_takes_limits_too(start):
    loop, made = asyncio.get_running_loop(), []
    server = await loop.create_server(
        listed_in(made), "127.0.0.1", 0, max_connections=1, when_full="refuse", start_serving=start)
    assert server.is_serving() is start
    await server.start_serving()
    address = server.sockets[0].getsockname()
    with socket.create_connection(address), socket.create_connection(address, timeout=20) as refused:
        assert await received_by(refused) == b""
    server.close()
    await server.wait_closed()
    assert server.statistics()[:3] == (0, 1, 1)


@on("poolio")
async def test_create_server_of_the_loop_without_limits_is_asyncios():
    server = await asyncio.get_running_loop().create_server(Recorder, "127.0.0.1", 0)
    assert type(server) is asyncio.Server
    server.close()
    await server.wait_closed()


# --- forks ------------------------------------------------------------------------------------------------------

FULL = """
    import asyncio, os, socket, sys
    import poolio

    class Answer(poolio.Protocol):
        def connection_made(self, transport):
            super().connection_made(transport)
            self.write(b"%d" % os.getpid())

    async def main():
        server = await poolio.create_server(Answer, "127.0.0.1", 0, max_connections=1, idle_timeout=100)
        address = server.sockets[0].getsockname()
        first, second = [socket.create_connection(address, timeout=20) for _ in range(2)]
        while not server.statistics().filled:
            await asyncio.sleep(0.001)
        loop = asyncio.get_running_loop()
        loop.call_soon(fork, loop, server, second)
        await asyncio.Event().wait()

    def fork(loop, server, waiting):
        child = os.fork()
        if child == 0:
            loop.add_reader(waiting, lambda: os._exit(waiting.recv(100) != b"%d" % os.getpid()))
            loop.call_later(20, os._exit, 2)
        else:
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), server.statistics().connections, flush=True)
            os._exit(0)

    with asyncio.Runner(loop_factory=poolio.new_event_loop if sys.argv[1] == "poolio" else None) as runner:
        runner.run(main())
"""


@pytest.mark.parametrize("kind", ("poolio", "asyncio"))
def test_child_of_a_fork_has_room_where_its_parent_is_full(kind):
    command = [sys.executable, "-c", textwrap.dedent(FULL), kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "0 1\n"), done.stderr
