"""A build without epoll, as on other systems: memory and protocol base work, poolio's own transports refuse."""

import asyncio

import pytest

import poolio
from poolio.wire.reactor import HAS_EPOLL

pytestmark = pytest.mark.skipif(HAS_EPOLL, reason="this build has epoll; make check VARIANT=portable has not")
REASON = "need Linux's epoll.*loop.create_server"


def test_event_loop_is_refused():
    with pytest.raises(NotImplementedError, match=REASON):
        poolio.new_event_loop()


@pytest.mark.parametrize("connect", (
    lambda: poolio.create_server(poolio.Protocol, "127.0.0.1", 0),
    lambda: poolio.create_connection(poolio.Protocol, "127.0.0.1", 1),
    lambda: poolio.create_unix_server(poolio.Protocol, "nowhere"),
    lambda: poolio.create_unix_connection(poolio.Protocol, "nowhere"),
))
def test_own_transports_are_refused(connect):
    async def main():
        with pytest.raises(NotImplementedError, match=REASON):
            await connect()
    asyncio.run(main())
