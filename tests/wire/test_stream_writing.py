"""StreamTransport: what is written arrives in order, when it leaves, and how the water marks pause a protocol.

Where asyncio promises the same, asyncio's own transport runs the same test: then the test is right about asyncio.
"""

import asyncio
import io
import socket

import pytest
from kit.pairs import (
    PooledRecorder,
    Recorder,
    collect_errors,
    connect_socket,
    every_transport,
    linked,
    own_transports,
    received_by,
)
from kit.wires import BLOCK, eventually, run

import poolio

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


# --- flow control, and what is queued -------------------------------------------------------------------------

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
