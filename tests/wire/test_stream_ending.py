"""StreamTransport: the end of the stream, from the peer or from us, with bytes that still have to be sent.

Where asyncio promises the same, asyncio's own transport runs the same test: then the test is right about asyncio.
"""

import asyncio
import contextlib
import socket

import pytest
from kit.pairs import (
    Recorder,
    connect_socket,
    every_transport,
    linked,
    own_transports,
    received_by,
)
from kit.wires import BLOCK, eventually, run

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


# --- close() and abort() while bytes are queued ---------------------------------------------------------------

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
