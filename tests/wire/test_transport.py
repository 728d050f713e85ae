"""StreamTransport: what asyncio.Transport promises, and what is sent when. Where asyncio promises it too, asyncio's own
transport runs the same test, so the test is right about asyncio.
"""

import asyncio
import contextlib
import contextvars
import gc
import io
import os
import socket
import warnings

import pytest
from kit.pairs import PooledRecorder, Recorder, collect_errors, connect_socket, linked, own_transports, received_by
from kit.wires import BLOCK, OURS, eventually, net, run

import poolio

every_transport = pytest.mark.parametrize("loop_name", ("asyncio", *OURS))
variable = contextvars.ContextVar("variable", default="unset")


# --- what it is ---------------------------------------------------------------------------------------------

@own_transports
def test_isinstance_asyncio_transport(loop_name):
    async def main():
        protocol, peer = await linked()
        with peer:
            assert isinstance(protocol.transport, asyncio.Transport)
            assert type(protocol.transport).__module__ == "poolio.wire.stream"
            protocol.transport.abort()
            await protocol.ended
    run(loop_name, main)


@every_transport
@pytest.mark.parametrize("host", ("127.0.0.1", "::1"))
def test_extra_info_names_both_ends_also_afterwards(loop_name, host):
    async def main():
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listener = socket.create_server((host, 0), family=family)
        except OSError:
            pytest.skip(f"no address {host} on this machine")
        made = []
        server = await net().create_server(lambda: made.append(Recorder()) or made[-1], sock=listener)
        transport, client = await net().create_connection(Recorder, *listener.getsockname()[:2])
        await eventually(lambda: made and made[0].calls == ["made"])
        accepted = made[0].transport
        for one, other in ((transport, accepted), (accepted, transport)):
            assert one.get_extra_info("sockname") == other.get_extra_info("peername")
            sock = one.get_extra_info("socket")
            assert (sock.getsockname(), sock.getpeername()) == (
                one.get_extra_info("sockname"), one.get_extra_info("peername"))
            # asyncio forgets it where it did not make the listening socket itself
            assert loop_name == "asyncio" or sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert one.get_extra_info("nonsense", 5) == 5
        names = accepted.get_extra_info("sockname"), accepted.get_extra_info("peername")
        transport.close()
        await client.ended
        await made[0].ended
        assert (accepted.get_extra_info("sockname"), accepted.get_extra_info("peername")) == names
        assert accepted.get_protocol() is None or loop_name == "asyncio"
        server.close()
        await server.wait_closed()
    run(loop_name, main)


@every_transport
def test_unix_extra_info_is_the_paths(loop_name, tmp_path):
    async def main():
        made = []
        path = str(tmp_path / "socket")
        server = await net().create_unix_server(lambda: made.append(Recorder()) or made[-1], path)
        transport, client = await net().create_unix_connection(Recorder, path)
        await eventually(lambda: made and made[0].calls == ["made"])
        assert transport.get_extra_info("peername") == path
        assert made[0].transport.get_extra_info("sockname") == path
        assert made[0].transport.get_extra_info("peername") == ""
        transport.close()
        await client.ended
        await made[0].ended
        server.close()
        await server.wait_closed()
    run(loop_name, main)


@own_transports
def test_extra_info_socket_first_asked_afterwards_is_the_default(loop_name):
    async def main():
        made = []
        server = await net().create_server(lambda: made.append(Recorder()) or made[-1], "127.0.0.1", 0)
        socket.create_connection(server.sockets[0].getsockname()).close()
        await eventually(lambda: made)
        assert await made[0].ended is None
        assert made[0].transport.get_extra_info("socket") is None
        assert made[0].transport.get_extra_info("socket", "default") == "default"
        server.close()
        await server.wait_closed()
    run(loop_name, main)


@own_transports
def test_made_by_itself_raises(loop_name):
    with pytest.raises(TypeError, match="create_server"):
        poolio.wire.stream.StreamTransport()


# --- reading ------------------------------------------------------------------------------------------------

@every_transport
def test_plain_protocol_gets_bytes(loop_name):
    async def main():
        types = set()

        class Plain(Recorder):
            def data_received(self, data):
                types.add(type(data))
                super().data_received(data)

        protocol, peer = await linked(Plain)
        with peer:
            peer.sendall(BLOCK[:300_000])
            await eventually(lambda: len(protocol.received) == 300_000)
            assert protocol.received == BLOCK[:300_000]
            assert types == {bytes}
            protocol.transport.close()
            await protocol.ended
    run(loop_name, main)


@own_transports
def test_plain_protocol_leaves_nothing_to_alloc(loop_name):
    """What was copied out as bytes still lies in the slab, and alloc() has to know."""
    async def main():
        poolio.default_pool().trim()
        protocol, peer = await linked()
        with peer:
            peer.sendall(b"\xff" * 50_000)
            await eventually(lambda: len(protocol.received) == 50_000)
            protocol.transport.close()
            await protocol.ended

    run(loop_name, main)
    gc.collect()                        # the loop's slab is free now
    assert poolio.default_pool().statistics().free_bytes
    bufs = [poolio.alloc(16_384) for _ in range(64)]
    assert all(buf == bytes(16_384) for buf in bufs)


@every_transport
def test_buffered_protocol_brings_its_own_room(loop_name):
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self):
            self.room = bytearray(1000)
            self.received = bytearray()
            self.ended = asyncio.get_running_loop().create_future()

        def connection_made(self, transport):
            self.transport = transport

        def get_buffer(self, sizehint):
            return self.room

        def buffer_updated(self, count):
            self.received += self.room[:count]

        def connection_lost(self, exc):
            self.ended.set_result(exc)

    async def main():
        protocol, peer = await linked(Buffered)
        with peer:
            peer.sendall(BLOCK[:30_000])
            await eventually(lambda: len(protocol.received) == 30_000)
            assert protocol.received == BLOCK[:30_000]
        assert await protocol.ended is None
    run(loop_name, main)


@every_transport
@pytest.mark.parametrize("room", (b"", b"abc", None))
def test_buffered_protocol_bad_room_closes_and_is_reported(loop_name, room):
    class BadBuffered(asyncio.BufferedProtocol):
        __init__ = Recorder.__init__
        connection_made = Recorder.connection_made
        connection_lost = Recorder.connection_lost

        def get_buffer(self, sizehint):
            return room

    async def main():
        handled = collect_errors()
        protocol, peer = await linked(BadBuffered)
        with peer:
            peer.sendall(b"x")
            await protocol.ended
        assert len(handled) == 1
        assert handled[0]["protocol"] is protocol
    run(loop_name, main)


@every_transport
def test_paused_reading_delivers_nothing_until_resumed(loop_name):
    async def main():
        protocol, peer = await linked()
        with peer:
            protocol.transport.pause_reading()
            protocol.transport.pause_reading()
            assert not protocol.transport.is_reading()
            peer.sendall(b"abc")
            for _ in range(10):
                await asyncio.sleep(0.002)
            assert protocol.received == b""
            protocol.transport.resume_reading()
            protocol.transport.resume_reading()
            assert protocol.transport.is_reading()
            await eventually(lambda: protocol.received == b"abc")
            protocol.transport.close()
            protocol.transport.pause_reading()
            protocol.transport.resume_reading()
            assert not protocol.transport.is_reading()
            assert await protocol.ended is None
    run(loop_name, main)


@own_transports
def test_paused_peer_resets_costs_no_turns(loop_name):
    """A paused connection that the peer has reset is out of epoll: the loop must not spin on it."""
    async def main():
        protocol, peer = await linked()
        protocol.transport.pause_reading()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        await asyncio.sleep(0.01)
        before = os.times()
        await asyncio.sleep(0.2)
        after = os.times()
        assert after.user + after.system - before.user - before.system < 0.1
        protocol.transport.resume_reading()
        assert isinstance(await protocol.ended, ConnectionResetError)
    run(loop_name, main)


@every_transport
def test_set_protocol_switches_between_kinds(loop_name):
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self):
            self.room, self.received = bytearray(10), b""

        def get_buffer(self, sizehint):
            return self.room

        def buffer_updated(self, count):
            self.received += self.room[:count]

    async def main():
        protocol, peer = await linked()
        transport = protocol.transport
        with peer:
            peer.sendall(b"one")
            await eventually(lambda: protocol.received == b"one")
            buffered = Buffered()
            transport.set_protocol(buffered)
            assert transport.get_protocol() is buffered
            peer.sendall(b"two")
            await eventually(lambda: buffered.received == b"two")
            pooled = PooledRecorder()
            transport.set_protocol(pooled)
            peer.sendall(b"three")
            await eventually(lambda: pooled.received == b"three")
            transport.close()
            assert await pooled.ended is None
    run(loop_name, main)


@own_transports
def test_set_protocol_inside_data_received_next_data_goes_to_it(loop_name):
    async def main():
        second = Recorder()

        class First(PooledRecorder):
            def data_received(self, buf):
                super().data_received(buf)
                self.transport.set_protocol(second)
                self.write(b"switched")

        protocol, peer = await linked(First)
        with peer:
            peer.sendall(b"one")
            assert await received_by(peer, 8) == b"switched"
            peer.sendall(b"two")
            await eventually(lambda: second.received == b"two")
            assert protocol.received == b"one"
        assert await second.ended is None
    run(loop_name, main)


@every_transport
def test_data_received_replaced_meanwhile_next_data_goes_to_it(loop_name):
    class Replacing(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.data_received = second.append

    async def main():
        protocol, peer = await linked(Replacing)
        with peer:
            peer.sendall(b"one")
            await eventually(lambda: protocol.received == b"one")
            peer.sendall(b"two")
            await eventually(lambda: second == [b"two"])
            protocol.transport.close()
            assert await protocol.ended is None

    second = []
    run(loop_name, main)


# --- the end of the stream ------------------------------------------------------------------------------------

@every_transport
@pytest.mark.parametrize("keep_open", (None, True))
def test_eof_received_result_decides(loop_name, keep_open):
    async def main():
        class Ending(Recorder):
            def eof_received(self):
                super().eof_received()
                return keep_open

        protocol, peer = await linked(Ending)
        with peer:
            peer.sendall(b"abc")
            peer.shutdown(socket.SHUT_WR)
            await eventually(lambda: "eof" in protocol.calls)
            assert protocol.received == b"abc"
            if keep_open:
                await asyncio.sleep(0.01)
                assert protocol.calls == ["made", "eof"]
                protocol.transport.write(b"still here")
                protocol.transport.close()
            assert await received_by(peer) == (b"still here" if keep_open else b"")
            assert await protocol.ended is None
            assert protocol.calls == ["made", "eof", "lost"]
    run(loop_name, main)


@every_transport
def test_write_eof_sends_the_queue_first_and_reads_on(loop_name):
    async def main():
        protocol, peer = await linked()
        transport = protocol.transport
        with peer:
            assert transport.can_write_eof()
            transport.write(BLOCK[:4_000_000])
            transport.write_eof()
            transport.write_eof()
            with pytest.raises(RuntimeError, match="write_eof"):
                transport.write(b"too late")
            with pytest.raises(RuntimeError, match="write_eof"):
                transport.writelines([b"too late"])
            assert await received_by(peer) == BLOCK[:4_000_000]
            peer.sendall(b"answer")
            await eventually(lambda: protocol.received == b"answer")
            transport.close()
            assert await protocol.ended is None
    run(loop_name, main)


# --- what is delivered before what comes after it -------------------------------------------------------------

@every_transport
@pytest.mark.parametrize("factory", (Recorder, PooledRecorder))
@pytest.mark.parametrize("ending", ("close", "abort", "raise", "write_eof"))
def test_writes_inside_a_callback_arrive_before_its_end(loop_name, ending, factory):
    async def main():
        handled = collect_errors()

        class Ending(factory):
            def data_received(self, data):
                self.transport.write(b"first ")
                self.transport.writelines([b"second ", bytearray(b"third")])
                if ending == "raise":
                    raise ZeroDivisionError
                getattr(self.transport, ending)()

        protocol, peer = await linked(Ending)
        with peer:
            peer.sendall(b"go")
            assert await received_by(peer, 18) == b"first second third"
            assert await received_by(peer) == b""
            if ending == "write_eof":
                protocol.transport.close()
            exc = await protocol.ended
            assert type(exc) is (ZeroDivisionError if ending == "raise" else type(None))
            assert protocol.calls == ["made", "lost"]
        assert [context["exception"] for context in handled] == ([exc] if ending == "raise" else [])
    run(loop_name, main)


@own_transports
def test_writes_inside_a_callback_leave_in_one_segment(loop_name):
    """Gathered: the peer's first read of a datagram-like socket shows what one system call has sent."""
    async def main():
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        theirs.settimeout(20)

        class Answering(PooledRecorder):
            def data_received(self, buf):
                self.write(b"a")
                self.write(bytearray(b"b"))
                self.write(buf)
                self.writelines([b"c", memoryview(b"xdx")[1:2]])

        # a SOCK_SEQPACKET socket keeps the borders of what was sent; a transport only sends and receives
        transport, protocol = await connect_socket(Answering, ours)
        with theirs:
            theirs.send(b"-")
            assert await asyncio.get_running_loop().run_in_executor(None, theirs.recv, 100) == b"ab-cd"
            transport.close()
            assert await protocol.ended is None
    run(loop_name, main)


@own_transports
def test_writes_to_another_connection_leave_when_the_callback_ends(loop_name):
    async def main():
        seen = []

        class Forward(PooledRecorder):
            def data_received(self, buf):
                others[0].transport.write(b"1")
                others[0].transport.write(buf)
                others[0].transport.check()
                seen.append(others[0].transport.get_write_buffer_size())

        other, other_peer = await linked()
        others = [other]
        protocol, peer = await linked(Forward)
        with peer, other_peer:
            peer.sendall(b"2")
            assert await received_by(other_peer, 2) == b"12"
            assert seen == [0]
            protocol.transport.close()
            other.transport.close()
            await asyncio.gather(protocol.ended, other.ended)
    run(loop_name, main)


@own_transports
def test_write_to_the_callbacks_own_connection_in_another_ones_pause_writing_arrives(loop_name):
    """Its own writes were sent when its callback ended; the other connection is told of its queue only then."""
    async def main():
        class Busy(Recorder):
            def pause_writing(self):
                super().pause_writing()
                forward.transport.write(b"busy")

        class Forward(Recorder):
            def data_received(self, data):
                busy.transport.write(BLOCK[:60_000])

        (ours, theirs), (busy_ours, busy_theirs) = socket.socketpair(), socket.socketpair()
        for sock in (ours, busy_ours):
            sock.setblocking(False)
        busy_ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        _, busy = await connect_socket(Busy, busy_ours)
        _, forward = await connect_socket(Forward, ours)
        busy.transport.set_write_buffer_limits(0)
        theirs.settimeout(20)
        with theirs, busy_theirs:
            theirs.send(b"go")
            assert await received_by(theirs, 4) == b"busy"
            assert busy.calls == ["made", "pause"]
            forward.transport.abort()
            busy.transport.abort()
            await asyncio.gather(forward.ended, busy.ended)
    run(loop_name, main)


@every_transport
@pytest.mark.parametrize("size", (1, 65_535, 65_536, 65_537, 1_000_000))
@pytest.mark.parametrize("kind", (bytes, bytearray, memoryview))
def test_mutable_data_changed_after_write_arrives_as_it_was(loop_name, kind, size):
    if kind is not bytes and loop_name == "asyncio":
        pytest.skip("asyncio keeps the object, and sends what it holds later")

    async def main():
        class Answering(Recorder):
            def data_received(self, data):
                for part in (b"a", b"b"):
                    source = bytearray(part * size)
                    self.transport.write(kind(source))
                    source[:] = b"?" * size

        protocol, peer = await linked(Answering)
        with peer:
            peer.sendall(b"go")
            assert await received_by(peer, 2 * size) == b"a" * size + b"b" * size
            protocol.transport.close()
            assert await protocol.ended is None
    run(loop_name, main)


@own_transports
def test_written_buffer_is_frozen_and_may_be_released_at_once(loop_name, make_pool):
    pool = make_pool()

    async def main():
        protocol, peer = await linked()
        with peer:
            for data in (BLOCK[:10], BLOCK[:3_000_000]):
                buf = pool.from_bytes(data)
                part = buf[:5]
                protocol.transport.write(buf)
                assert part.readonly
                buf.release()
                part.release()
                assert await received_by(peer, len(data)) == data
            view = memoryview(writable := pool.from_bytes(b"snapshot"))
            protocol.transport.write(writable)
            assert not writable.readonly
            assert await received_by(peer, 8) == b"snapshot"
            view.release()
            writable.release()
            with pytest.raises(poolio.BufferReleased):
                protocol.transport.write(writable)
            assert pool.statistics().copied_bytes == 8
            protocol.transport.close()
            await protocol.ended
    run(loop_name, main)


@every_transport
def test_write_of_a_view_without_an_owner_arrives(loop_name):
    """The views that io.BufferedWriter gives do not say whose memory they show."""
    class Raw(io.RawIOBase):
        def writable(self):
            return True

        def write(self, view):
            assert view.obj is None
            protocol.transport.write(view)
            return len(view)

    async def main():
        nonlocal protocol
        protocol, peer = await linked()
        with peer, io.BufferedWriter(Raw()) as file:
            file.write(b"hello")
            file.flush()
            assert await received_by(peer, 5) == b"hello"
            protocol.transport.close()
            assert await protocol.ended is None

    protocol = None
    run(loop_name, main)


@every_transport
def test_write_of_something_else_raises_type_error_naming_it(loop_name):
    async def main():
        protocol, peer = await linked()
        with peer:
            for wrong in ("text", 5, None):
                with pytest.raises(TypeError, match=type(wrong).__name__):
                    protocol.transport.write(wrong)
            protocol.transport.write(b"")
            protocol.transport.writelines([])
            protocol.transport.abort()
            protocol.transport.write(b"ignored")
            with pytest.raises(TypeError, match="str"):
                protocol.transport.write("text")
            assert await protocol.ended is None
    run(loop_name, main)


# --- flow control ---------------------------------------------------------------------------------------------

@every_transport
def test_water_marks_pause_and_resume_the_protocol(loop_name):
    async def main():
        protocol, peer = await linked()
        transport = protocol.transport
        with peer:
            assert transport.get_write_buffer_limits() == (16_384, 65_536)
            transport.set_write_buffer_limits(high=100_000, low=1_000)
            assert transport.get_write_buffer_limits() == (1_000, 100_000)
            written = 0
            while "pause" not in protocol.calls:
                transport.write(BLOCK[written:written + 50_000])
                written += 50_000
                assert written < len(BLOCK) - 50_000
            assert transport.get_write_buffer_size() > 100_000
            assert await received_by(peer, written) == BLOCK[:written]
            await eventually(lambda: "resume" in protocol.calls)
            assert protocol.calls == ["made", "pause", "resume"]
            assert transport.get_write_buffer_size() <= 1_000
            for wrong in ({"high": 1, "low": 2}, {"high": -1}, {"low": -1}):
                with pytest.raises(ValueError, match="must be >="):
                    transport.set_write_buffer_limits(**wrong)
            transport.close()
            assert await protocol.ended is None
    run(loop_name, main)


@every_transport
def test_close_while_blocked_delivers_everything(loop_name):
    async def main():
        protocol, peer = await linked()
        with peer:
            protocol.transport.write(BLOCK)
            protocol.transport.close()
            assert protocol.transport.is_closing()
            await asyncio.sleep(0)
            assert protocol.calls[-1] != "lost"
            assert await received_by(peer) == BLOCK
            assert await protocol.ended is None
            assert protocol.calls[-1] == "lost"
    run(loop_name, main)


@own_transports
def test_resume_writing_writes_after_close_connection_lost_is_not_called_inside(loop_name):
    async def main():
        class Resuming(Recorder):
            is_inside = False

            def resume_writing(self):
                super().resume_writing()
                self.is_inside = True
                self.transport.write(BLOCK[:70_000])
                self.is_inside = False

            def connection_lost(self, exc):
                self.calls.append("lost inside" if self.is_inside else "lost")
                self.ended.set_result(exc)

        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 200_000)
        ours.setblocking(False)
        theirs.setblocking(False)
        transport, protocol = await connect_socket(Resuming, ours)
        transport.write(BLOCK[:1_000_000])
        transport.close()
        received = bytearray()
        with theirs:
            while not protocol.ended.done():
                await asyncio.sleep(0.005)              # all at once: what is written inside fits into the kernel
                with contextlib.suppress(BlockingIOError):
                    while data := theirs.recv(1 << 20):
                        received += data
            assert protocol.calls == ["made", "pause", "resume", "lost"]
            assert received == BLOCK[:1_000_000] + BLOCK[:70_000]
            assert await protocol.ended is None
    run(loop_name, main)


@every_transport
def test_abort_while_blocked_drops_the_rest(loop_name):
    async def main():
        protocol, peer = await linked()
        with peer:
            protocol.transport.write(BLOCK)
            protocol.transport.abort()
            assert await protocol.ended is None
            got = await received_by(peer)
            assert len(got) < len(BLOCK)
            assert BLOCK.startswith(got)
    run(loop_name, main)


@own_transports
def test_small_leftovers_pin_no_slab(loop_name, make_pool):
    pool = make_pool()

    async def main():
        protocol, peer = await linked()
        with peer:
            protocol.transport.write(BLOCK[:6_000_000])
            for number in range(100):
                protocol.transport.write(pool.from_bytes(BLOCK[number:number + 100]))
            figures = pool.statistics()
            assert figures.live_bytes == 0
            assert figures.copied_bytes == 100 * 100
            expected = BLOCK[:6_000_000] + b"".join(BLOCK[n:n + 100] for n in range(100))
            assert await received_by(peer, len(expected)) == expected
            protocol.transport.close()
            await protocol.ended
    run(loop_name, main)


@own_transports
def test_many_small_pieces_are_gathered_beyond_the_kernels_limit(loop_name):
    async def main():
        protocol, peer = await linked()
        with peer:
            pieces = [BLOCK[n:n + 3] for n in range(5000)]
            protocol.transport.writelines(pieces)
            assert await received_by(peer, 15_000) == b"".join(pieces)
            protocol.transport.close()
            await protocol.ended
    run(loop_name, main)


# --- failing callbacks ----------------------------------------------------------------------------------------

@own_transports
@pytest.mark.parametrize("method", ("connection_made", "data_received", "eof_received"))
def test_failing_callback_closes_this_connection_and_is_reported(loop_name, method):
    async def main():
        handled = collect_errors()

        def fail(self, *arguments):
            raise ZeroDivisionError(method)

        other, other_peer = await linked()
        made = []

        class Failing(Recorder):
            def __init__(self):
                super().__init__()
                made.append(self)

        setattr(Failing, method, fail)
        if method == "connection_made":
            server = await net().create_server(Failing, "127.0.0.1", 0)
            peer = socket.create_connection(server.sockets[0].getsockname())
        else:
            _, peer = await linked(Failing)
        with peer, other_peer:
            if method == "data_received":
                peer.sendall(b"x")
            peer.shutdown(socket.SHUT_WR)
            await eventually(lambda: made)
            assert type(await made[0].ended) is ZeroDivisionError
            assert [str(context["exception"]) for context in handled] == [method]
            other_peer.sendall(b"alive")
            await eventually(lambda: other.received == b"alive")
            other.transport.close()
            await other.ended
        if method == "connection_made":
            server.close()
            await server.wait_closed()
    run(loop_name, main)


@every_transport
@pytest.mark.parametrize("method", ("pause_writing", "resume_writing"))
def test_failing_flow_control_callback_is_reported_only(loop_name, method):
    async def main():
        handled = collect_errors()

        class Failing(Recorder):
            pass

        def fail(self):
            raise ZeroDivisionError

        setattr(Failing, method, fail)
        protocol, peer = await linked(Failing)
        with peer:
            protocol.transport.write(BLOCK)
            assert await received_by(peer, len(BLOCK)) == BLOCK
            await eventually(lambda: handled)
            assert [type(context["exception"]) for context in handled] == [ZeroDivisionError]
            protocol.transport.close()
            assert await protocol.ended is None
    run(loop_name, main)


@own_transports
@pytest.mark.parametrize("kind", (KeyboardInterrupt, SystemExit))
def test_keyboard_interrupt_and_system_exit_pass_through(loop_name, kind):
    answered = []

    async def main():
        class Stopping(PooledRecorder):
            def data_received(self, buf):
                self.write(b"sent")
                raise kind

        protocol, peer = await linked(Stopping)
        try:
            peer.sendall(b"x")
            await protocol.ended
        finally:
            answered.append(peer.recv(10))
            peer.close()
            protocol.transport.abort()

    with pytest.raises(kind):
        run(loop_name, main)
    gc.collect()
    assert answered == [b"sent"]


# --- contexts, leaks --------------------------------------------------------------------------------------------

@own_transports
def test_callbacks_share_the_context_of_their_connection(loop_name):
    async def main():
        variable.set("outside")
        seen = []

        class Setting(Recorder):
            def connection_made(self, transport):
                super().connection_made(transport)
                seen.append(variable.get())
                variable.set("inside")

            def data_received(self, data):
                seen.append(variable.get())

            def connection_lost(self, exc):
                seen.append(variable.get())
                super().connection_lost(exc)

        protocol, peer = await linked(Setting)
        with peer:
            peer.sendall(b"x")
            await eventually(lambda: len(seen) == 2)
        await protocol.ended
        assert seen == ["outside", "inside", "inside"]
        assert variable.get() == "outside"
    run(loop_name, main)


@every_transport
def test_dropped_while_paused_warns_and_closes(loop_name):
    async def main():
        protocol, peer = await linked()
        with peer:
            await asyncio.sleep(0.01)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                protocol.transport.pause_reading()
                del protocol
                gc.collect()
            assert [str(warning.message) for warning in caught if "unclosed transport" in str(warning.message)]
            assert await received_by(peer) == b""
    run(loop_name, main)


@own_transports
def test_loop_closed_with_connections_open_closes_them(loop_name, make_pool):
    pool = make_pool()
    peers = []

    async def main():
        server = await net().create_server(PooledRecorder, "127.0.0.1", 0)
        for _ in range(3):
            protocol, peer = await linked(PooledRecorder)
            protocol.pool = pool
            peers.append(peer)
            accepted = socket.create_connection(server.sockets[0].getsockname())
            accepted.settimeout(20)
            peers.append(accepted)
            accepted.sendall(b"x")
        await asyncio.sleep(0.05)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        run(loop_name, main)
        gc.collect()
    for peer in peers:
        with peer:
            assert peer.recv(10) == b""


@own_transports
def test_repr_tells_the_state(loop_name):
    async def main():
        protocol, peer = await linked()
        transport = protocol.transport
        with peer:
            assert "read=polling write=<idle, bufsize=0>" in repr(transport)
            transport.pause_reading()
            transport.write(BLOCK)
            assert "read=idle write=<polling" in repr(transport)
            transport.check()
            transport.close()
            assert "closing" in repr(transport)
            transport.abort()
            await protocol.ended
            assert repr(transport) == "<poolio.StreamTransport closed>"
    run(loop_name, main)


# --- a pool at its limit ----------------------------------------------------------------------------------------

@own_transports
def test_pool_at_its_limit_reading_waits_for_memory(loop_name, make_pool):
    """Everything that was received is held; the next connection reads when it is given back."""
    pool = make_pool(slab_size=4096, max_bytes=4096)

    async def main():
        kept = []

        class Keeping(PooledRecorder):
            def __init__(self):
                super().__init__()
                self.pool = pool

            def data_received(self, buf):
                kept.append(buf)

        class Reading(PooledRecorder):
            def __init__(self):
                super().__init__()
                self.pool = pool

        keeping, keeping_peer = await linked(Keeping)
        reading, peer = await linked(Reading)
        with keeping_peer, peer:
            keeping_peer.sendall(BLOCK[:4096])
            await eventually(lambda: sum(map(len, kept)) > 3072)
            peer.sendall(BLOCK[:100_000])
            await asyncio.sleep(0.05)
            assert reading.calls == ["made"]
            assert reading.received == b""
            kept.clear()
            await eventually(lambda: len(reading.received) == 100_000)
            assert reading.received == BLOCK[:100_000]
            keeping.transport.close()
            reading.transport.close()
            await asyncio.gather(keeping.ended, reading.ended)
            kept.clear()
    run(loop_name, main)


@own_transports
def test_set_protocol_while_waiting_for_memory_reads_with_the_other_pool(loop_name, make_pool):
    pool = make_pool(slab_size=4096, max_bytes=4096)

    async def main():
        class Reading(PooledRecorder):
            def __init__(self):
                super().__init__()
                self.pool = pool

        held = [pool.alloc_unsafe(1000) for _ in range(4)]
        protocol, peer = await linked(Reading)
        with peer:
            peer.sendall(b"waits")
            await eventually(lambda: "read=idle" in repr(protocol.transport))
            second = Recorder()
            protocol.transport.set_protocol(second)
            await eventually(lambda: second.received == b"waits")
            assert protocol.received == b""
            await asyncio.sleep(0.03)                   # nobody looks for the first pool's memory any more
            protocol.transport.close()
            assert await second.ended is None
        held.clear()
    run(loop_name, main, timeout=20)


@pytest.mark.parametrize("loop_name", OURS[:1])
def test_pool_held_by_unread_answers_the_one_with_most_is_closed(loop_name, make_pool):
    """Nothing waits for ever: peers that do not read their echoes pin the pool until one of them is closed."""
    pool = make_pool(slab_size=65_536, max_bytes=1 << 20)

    async def main():
        handled = collect_errors()

        class Echoing(PooledRecorder):
            def __init__(self):
                super().__init__()
                self.pool = pool

            def data_received(self, buf):
                self.write(buf)

        loop = asyncio.get_running_loop()
        pairs = [await linked(Echoing) for _ in range(3)]

        def send_all(peer):
            peer.settimeout(0.5)
            with contextlib.suppress(TimeoutError, ConnectionError):
                peer.sendall(BLOCK)

        for _, peer in pairs:
            loop.run_in_executor(None, send_all, peer)
        await eventually(lambda: any(protocol.ended.done() for protocol, _ in pairs))
        ended = [protocol for protocol, _ in pairs if protocol.ended.done()]
        assert isinstance(await ended[0].ended, poolio.PoolExhausted)
        assert isinstance(handled[0]["exception"], poolio.PoolExhausted)
        for protocol, peer in pairs:
            protocol.transport.abort()
            await protocol.ended
            peer.close()
    run(loop_name, main)
