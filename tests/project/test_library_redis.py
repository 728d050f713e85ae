"""redis-py on poolio.EventLoop, unchanged, against redis-server and examples/redis_server.py: every byte is checked."""

import contextlib
import pathlib
import shutil
import signal

import pytest
from kit.examples import serving as example  # noqa: F401 (a fixture)
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


def test_redis_py_is_served_by_the_example(redis, example):  # noqa: F811
    port = example(pathlib.Path(__file__).parent.parent.parent / "examples" / "redis_server.py", "0")

    async def main():
        async with redis.asyncio.Redis(host="127.0.0.1", port=port, protocol=2) as client:
            assert await client.ping()
            assert await client.echo("hello") == b"hello"
            for value in (b"", b"\0\xff\r\n", LARGE + LARGE[:3 << 20]):
                assert await client.set("key", value)
                assert await client.get("key") == value
            assert await client.mset({b"%d" % number: LARGE[:number] for number in range(100)})
            assert await client.mget(*range(100), "none") == [LARGE[:number] for number in range(100)] + [None]
            assert [await client.incr("counter") for _ in range(3)] == [1, 2, 3]
            assert await client.lpush("list", b"a", b"b", b"c") == 3
            assert (await client.lpop("list"), await client.lrange("list", 0, -1)) == (b"c", [b"b", b"a"])
            assert (await client.exists("list", "none"), await client.delete("list", "none")) == (1, 1)
            async with client.pipeline(transaction=False) as pipeline:
                for number in range(1000):
                    pipeline.incr("counter")
                assert await pipeline.execute() == list(range(4, 1004))
            for wrong in (client.incr("key"), client.lpush("list"), client.execute_command("NONE")):
                with pytest.raises(redis.ResponseError):
                    await wrong

    run(main)
