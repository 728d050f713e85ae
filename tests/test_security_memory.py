"""What a peer can make poolio keep: hostile peers on real sockets, and the bytes that they cost, counted."""

import asyncio
import contextlib
import gc

import pytest
from pairs import on, pair, turns
from test_transport import PooledRecorder, linked, no_more_errors
from wires import BLOCK, CLIENT_TLS, OURS, SERVER_TLS, eventually, net

import poolio

ours_only = pytest.mark.skipif(not OURS, reason="poolio's own transports need epoll")
SLAB = 65_536


# --- a pool at its limit: who is closed -------------------------------------------------------------------------

class Jumping(poolio.EventLoop):
    """A loop whose clock can be set ahead."""

    ahead = 0

    def time(self):
        return super().time() + self.ahead


class Keeper(PooledRecorder):
    """Keeps the Buffers that it was given, as an application may, until it is told to drop them."""

    def data_received(self, buf):
        self.kept.append(buf)


def sent_and_never_answered(peer, data):
    peer.settimeout(0.2)
    with contextlib.suppress(TimeoutError):
        peer.sendall(data)


@contextlib.asynccontextmanager
async def hog(wire, pool):
    """The reader of a connection whose peer has sent 900 KB that nobody reads; it is paused at 600 KB."""
    if wire == "tcp":
        protocol, peer = await linked(lambda: poolio.StreamProtocol(limit=300_000, pool=pool))
        await asyncio.get_running_loop().run_in_executor(None, sent_and_never_answered, peer, BLOCK[:900_000])
        yield protocol.reader
        peer.close()
        return
    made = []
    server = await poolio.start_server(
        lambda reader, writer: made.append((reader, writer)), "127.0.0.1", 0, limit=300_000, pool=pool, ssl=SERVER_TLS)
    _, writer = await poolio.open_connection(
        *server.sockets[0].getsockname(), ssl=CLIENT_TLS, server_hostname="localhost")
    writer.write(BLOCK[:900_000])
    await eventually(lambda: made)
    yield made[0][0]
    writer.transport.abort()
    made[0][1].transport.abort()
    server.close()
    await server.wait_closed()


@ours_only
@pytest.mark.parametrize("wire", ("tcp", "tls"))
def test_pool_at_its_limit_a_paused_hog_is_closed_and_no_innocent_one(wire, make_pool):
    pool = make_pool(slab_size=SLAB, max_bytes=1 << 20)

    async def main():
        no_more_errors([])
        async with hog(wire, pool) as reader:
            await eventually(lambda: len(reader.chain) > 600_000)
            await turns(20)
            held = []
            with contextlib.suppress(poolio.PoolExhausted):
                while True:
                    held.append(pool.alloc_unsafe(SLAB))
            with contextlib.suppress(poolio.PoolExhausted):
                while True:
                    held.append(pool.alloc_unsafe(1024))
            innocent, peer = await linked(lambda: pooled(pool, Keeper))
            peer.sendall(BLOCK[:2 * SLAB])
            await eventually(lambda: "read=idle" in repr(innocent.transport))
            asyncio.get_running_loop().ahead += 6
            await eventually(lambda: reader.exception() is not None)
            assert isinstance(reader.exception(), poolio.PoolExhausted)
            await eventually(lambda: sum(map(len, innocent.kept)) == 2 * SLAB)
            assert not innocent.ended.done()
            assert len(reader.chain) == 0               # what nobody can read any more holds nothing
            innocent.transport.abort()
            await innocent.ended
            innocent.kept.clear()
            held.clear()
            peer.close()

    with asyncio.Runner(loop_factory=Jumping) as runner:
        runner.run(asyncio.wait_for(main(), 60))


def pooled(pool, kind):
    protocol = kind()
    protocol.pool, protocol.kept = pool, []
    return protocol


# --- tasks that give up -------------------------------------------------------------------------------------------

def futures():
    gc.collect()
    return sum(isinstance(thing, asyncio.Future) for thing in gc.get_objects())


@on("asyncio", *OURS)
async def test_drain_given_up_a_hundred_times_leaves_no_future():
    """A peer that does not read, and a server that waits for it in steps."""
    async with pair(waits=False) as (_, (_, writer)):
        writer.write(BLOCK)
        before = futures()
        for _ in range(100):
            waiting = asyncio.ensure_future(writer.drain())
            await turns(1)
            waiting.cancel()
            await asyncio.wait([waiting])
        del waiting
        assert futures() - before < 10
        writer.transport.abort()


# --- TLS ----------------------------------------------------------------------------------------------------------

@on(*OURS)
async def test_start_tls_with_an_unfinished_frame_in_the_clear_is_refused():
    """It would else be taken for the beginning of what comes encrypted."""
    class Lines(poolio.FramedProtocol):
        codec = poolio.Delimited(b"\r\n")

        def __init__(self):
            super().__init__()
            self.frames = []

        def frames_received(self, frames):
            self.frames += map(bytes, frames)

    protocol, peer = await linked(Lines)
    with peer:
        peer.sendall(b"STARTTLS\r\nevil")
        await eventually(lambda: protocol.frames)
        with pytest.raises(RuntimeError, match="4 bytes are unread"):
            await net().start_tls(protocol.transport, protocol, SERVER_TLS, server_side=True)
        peer.sendall(b"er\r\n")                         # the connection is as it was
        await eventually(lambda: len(protocol.frames) == 2)
        assert protocol.frames == [b"STARTTLS", b"eviler"]
        protocol.transport.abort()
