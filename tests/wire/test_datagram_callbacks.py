"""DatagramTransport: callbacks of a protocol that raise.

Where asyncio promises the same, asyncio's own transport runs the same test: then the test is right about asyncio.
"""

import sys

import pytest
from kit.endpoints import (
    LONGEST,
    Batches,
    Recorder,
    contents,
    datagrams,
    endpoint,
    every_endpoint,
    fill,
    own_endpoints,
    plain,
    send_numbered,
)
from kit.pairs import collect_errors
from kit.wires import OURS, eventually, run


@every_endpoint
async def test_datagram_received_that_raises_is_reported_and_the_others_are_delivered(loop_name):
    class Failing(Recorder):
        def datagram_received(self, data, address):
            super().datagram_received(data, address)
            if data in (b"2", b"5"):
                raise ZeroDivisionError(data)

    handled = collect_errors()
    async with endpoint(Failing) as (transport, protocol, address):
        with plain() as peer:
            expected = send_numbered(peer, address)
        assert contents(await protocol.until(10)) == expected
        assert [context["exception"].args for context in handled] == [(b"2",), (b"5",)]
        assert not transport.is_closing()


@own_endpoints
async def test_datagrams_received_that_raises_is_reported_and_the_endpoint_stays(loop_name):
    class Failing(Batches):
        def datagrams_received(self, batch):
            super().datagrams_received(batch)
            raise ZeroDivisionError

    handled = collect_errors()
    async with endpoint(Failing) as (transport, protocol, address):
        with plain() as peer:
            for count in (1, 2):
                peer.sendto(b"abc", address)
                assert contents(await protocol.until(count)) == [b"abc"] * count
        assert [type(context["exception"]) for context in handled] == [ZeroDivisionError] * 2
        assert not transport.is_closing()


@own_endpoints
async def test_error_received_that_raises_is_reported_and_the_endpoint_stays(loop_name):
    class Failing(Recorder):
        def error_received(self, exc):
            raise ZeroDivisionError

    handled = collect_errors()
    with plain() as peer:
        async with endpoint(Failing, remote_addr=peer.getsockname()) as (transport, _, _):
            transport.sendto(bytes(LONGEST + 1))
            await eventually(lambda: handled)
            assert [type(context["exception"]) for context in handled] == [ZeroDivisionError]
            transport.sendto(b"abc")
            assert await datagrams(peer, 1) == [b"abc"]


@pytest.mark.parametrize("method", ("pause_writing", "resume_writing"))
@every_endpoint
async def test_flow_control_callback_that_raises_is_reported(loop_name, method):
    if loop_name == "asyncio" and sys.version_info >= (3, 13) and method == "resume_writing":
        pytest.skip("asyncio's count of what is queued does not come back to 0 on Python 3.13")

    def fail():
        raise ZeroDivisionError

    handled = collect_errors()
    with plain("unix") as peer:
        async with endpoint(sock=plain("unix", peer)) as (transport, protocol, _):
            setattr(protocol, method, fail)
            transport.set_write_buffer_limits(high=0)
            count = fill(transport)
            assert len(await datagrams(peer, count)) == count
            await eventually(lambda: handled)
            assert [type(context["exception"]) for context in handled] == [ZeroDivisionError]
            assert not transport.is_closing()


@pytest.mark.parametrize("loop_name", ("asyncio", *OURS))
@pytest.mark.parametrize("kind", (KeyboardInterrupt, SystemExit))
def test_keyboard_interrupt_and_system_exit_pass_through(loop_name, kind):
    class Stopping(Recorder):
        def datagram_received(self, data, address):
            raise kind

    async def main():
        async with endpoint(Stopping) as (_, protocol, address):
            with plain() as peer:
                peer.sendto(b"abc", address)
            await protocol.ended

    with pytest.raises(kind):
        run(loop_name, main, timeout=10)
