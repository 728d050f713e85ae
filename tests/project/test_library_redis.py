"""redis-py on poolio.EventLoop, unchanged, against real peers: every byte is checked."""

import contextlib
import shutil
import signal

import pytest
from kit.libraries import LARGE, assert_poolio, library, reserved_port, run, serving

redis = library("redis", "redis.asyncio")


@contextlib.asynccontextmanager
async def redis_client(redis, folder):
    """Start redis-server; yields a client of one connection."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
    with reserved_port() as port:
        command = (program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no",
                   "--dir", folder)
        async with (
            serving(command, "Ready to accept connections", signal.SIGTERM),
            redis.asyncio.Redis(host="127.0.0.1", port=port, single_connection_client=True) as client,
        ):
            assert_poolio(client.connection._writer.transport)
            yield client


def test_redis_large_value_comes_back(redis, tmp_path):
    async def main():
        async with redis_client(redis, tmp_path) as client:
            for value in (b"", b"hello", LARGE):
                assert await client.set("key", value)
                assert await client.get("key") == value
            assert await client.strlen("key") == len(LARGE)
            assert await client.getrange("key", 1000, 1999) == LARGE[1000:2000]

    run(main)


def test_redis_pipeline_answers_in_order(redis, tmp_path):
    async def main():
        async with redis_client(redis, tmp_path) as client:
            async with client.pipeline(transaction=True) as pipeline:
                for number in range(5000):
                    pipeline.set(f"key {number}", LARGE[:number])
                assert await pipeline.execute() == [True] * 5000
            async with client.pipeline(transaction=False) as pipeline:
                for number in range(5000):
                    pipeline.get(f"key {number}")
                assert await pipeline.execute() == [LARGE[:number] for number in range(5000)]

    run(main)


def test_redis_subscriber_gets_every_message_in_order(redis, tmp_path):
    async def main():
        async with redis_client(redis, tmp_path) as client, client.pubsub() as channel:
            await channel.subscribe("news")
            assert (await channel.get_message(timeout=30))["type"] == "subscribe"
            messages = [b"%d" % number for number in range(200)] + [LARGE, b"end"]
            for message in messages:
                assert await client.publish("news", message) == 1
            assert_poolio(channel.connection._writer.transport)
            received = [(await channel.get_message(timeout=30))["data"] for _ in messages]
            assert received == messages

    run(main)
