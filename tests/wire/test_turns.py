"""In which order a server's connection and its client's coroutine go on, both in one loop: as on asyncio."""

import asyncio

import pytest
from kit.pairs import own_transports
from kit.wires import listening, run


class Noting(asyncio.Protocol):
    """Notes what it is told, and what it has scheduled meanwhile. The server speaks first, the client answers."""

    def __init__(self, side, notes):
        self.side = side
        self.notes = notes
        self.note("factory")

    def note(self, what):
        self.notes.append((self.side, what))

    def connection_made(self, transport):
        self.transport = transport
        self.note("made")
        asyncio.get_running_loop().call_soon(self.note, "scheduled when made")
        if self.side == "server":
            transport.write(b"?")

    def data_received(self, data):
        self.note("data")
        asyncio.get_running_loop().call_soon(self.note, "scheduled when data came")
        if self.side == "client":
            self.transport.write(b"!")
        else:
            self.transport.close()

    def connection_lost(self, exc):
        self.note("lost")


def noted(loop_name, wire):
    """What both sides note from connecting to the end; `client returns` is that `await create_connection()` has."""
    notes = []

    async def main():
        async with listening(wire, lambda: Noting("server", notes)) as connect:
            await connect(lambda: Noting("client", notes))
            notes.append(("client", "returns"))
            while not {("client", "lost"), ("server", "lost")} <= set(notes):
                await asyncio.sleep(0)
    run(loop_name, main, timeout=20)
    return notes


@pytest.mark.parametrize("wire", ("tcp", "unix", "tls"))
@pytest.mark.parametrize("loop_name", ("poolio", "poolio-on-asyncio"))
def test_connection_begins_lives_and_ends_in_asyncios_order(loop_name, wire):
    assert noted(loop_name, wire) == noted("asyncio", wire)


@pytest.mark.parametrize("wire", ("tcp", "tls"))
def test_on_uvloop_connection_begins_in_asyncios_order(wire):
    """uvloop's own order of events and callbacks is another one; with a unix socket it shows."""
    def begins(notes):
        return [note for note in notes if note[1] in ("factory", "made", "returns")]
    assert begins(noted("poolio-on-uvloop", wire)) == begins(noted("asyncio", wire))


@own_transports
def test_tls_client_has_returned_when_its_data_comes(loop_name):
    """A client may replace its protocol at once."""
    notes = noted(loop_name, "tls")
    assert notes.index(("client", "returns")) < notes.index(("client", "data"))


@own_transports
def test_callback_scheduled_by_one_event_runs_before_the_next_one_is_found(loop_name):
    """An answer that comes while the callbacks of a turn are still to run waits for them."""
    class Answering(asyncio.Protocol):
        def __init__(self, answer):
            self.answer = answer

        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            notes.append(data)
            asyncio.get_running_loop().call_soon(notes.append, b"after " + data)
            if self.answer is not None:
                self.transport.write(self.answer)

    async def main():
        async with listening("tcp", lambda: Answering(b"2")) as connect:
            transport, _ = await connect(lambda: Answering(None))
            await asyncio.sleep(0.01)                   # nothing else is left to do
            transport.write(b"1")
            while len(notes) < 4:
                await asyncio.sleep(0.01)
            transport.close()

    notes = []
    run(loop_name, main, timeout=20)
    assert notes == [b"1", b"after 1", b"2", b"after 2"]
