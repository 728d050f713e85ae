"""StreamTransport: callbacks of a protocol that raise, and the context that callbacks run in.

Where asyncio promises the same, asyncio's own transport runs the same test: then the test is right about asyncio.
"""

import gc
import socket

import pytest
from kit.pairs import (
    PooledRecorder,
    Recorder,
    RoomRecorder,
    collect_errors,
    every_transport,
    linked,
    on,
    own_transports,
    received_by,
    variable,
)
from kit.wires import BLOCK, OURS, eventually, net, run

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

        class Failing(PooledRecorder):      # of a plain asyncio protocol connection_made() may raise
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


def _raises(*arguments):
    raise ZeroDivisionError


def _has_a_length_only(protocol, sizehint):
    return [1]


# (the protocol, its method, what the method is instead) -> what the exception handler is told
FATAL = {
    (Recorder, "data_received", _raises): "Fatal error: protocol.data_received() call failed.",
    (PooledRecorder, "data_received", _raises): "Fatal error: protocol.data_received() call failed.",
    (Recorder, "eof_received", _raises): "Fatal error: protocol.eof_received() call failed.",
    (RoomRecorder, "eof_received", _raises): "Fatal error: protocol.eof_received() call failed.",
    (RoomRecorder, "buffer_updated", _raises): "Fatal error: protocol.buffer_updated() call failed.",
    (RoomRecorder, "get_buffer", _raises): "Fatal error: protocol.get_buffer() call failed.",
    (RoomRecorder, "get_buffer", lambda *arguments: bytearray()): "Fatal error: protocol.get_buffer() call failed.",
    (RoomRecorder, "get_buffer", lambda *arguments: None): "Fatal error: protocol.get_buffer() call failed.",
    (RoomRecorder, "get_buffer", _has_a_length_only): "Fatal read error on socket transport",
    (RoomRecorder, "get_buffer", lambda *arguments: b"read-only"): "Fatal read error on socket transport",
}


@pytest.mark.parametrize("case", FATAL, ids=lambda case: f"{case[0].__name__}-{case[1]}-{case[2].__name__}")
@on("asyncio", *OURS)
async def test_failing_callback_is_reported_in_asyncios_words(case, loop_name):
    base, method, instead = case
    if base is PooledRecorder and loop_name == "asyncio":
        base = Recorder
    handled = collect_errors()
    protocol, peer = await linked(type("Failing", (base,), {method: instead}))
    transport = protocol.transport
    with peer:
        if method != "eof_received":
            peer.sendall(b"x")
        peer.shutdown(socket.SHUT_WR)
        error = await protocol.ended
    context, = handled
    assert context == {"message": FATAL[case], "exception": error, "transport": transport, "protocol": protocol}
    assert type(error) in (ZeroDivisionError, TypeError, RuntimeError, BufferError)


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


# --- contexts -------------------------------------------------------------------------------------------------

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
