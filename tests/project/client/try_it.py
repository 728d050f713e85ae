"""Uses the compiled client; ends with an AssertionError or with `client works`."""

import client

import poolio


def raises(kind, function, *arguments):
    try:
        function(*arguments)
    except kind:
        return True
    return False


pool = poolio.Pool(zeroing="on_alloc")
buf = client.filled(pool, 1000, 7)
assert (buf, buf.pool, client.checksum(buf)) == (b"\7" * 1000, pool, 7000)
assert client.checksum(buf[10:20]) == 70
assert pool.alloc_unsafe(1000) == bytes(1000)
assert (client.zeroed(70_000), client.zeroed(0)) == (bytes(70_000), b"")

for size in (-1, 1 << 62):
    assert raises(ValueError, client.filled, pool, size, 0)
    assert raises(ValueError, client.zeroed, size)
assert raises(poolio.PoolExhausted, client.filled, poolio.Pool(max_bytes=262144), 300_000, 0)

with memoryview(buf) as view:
    assert raises(BufferError, client.give_up, buf)
    assert not client.is_null(buf)
client.give_up(buf)
client.give_up(buf)
assert (buf.released, client.is_null(buf), client.checksum(buf)) == (True, True, 0)
pool.check()
assert pool.statistics().live_bytes == 0

for function in (client.write_zero, client.give_up):
    assert raises(TypeError, function, None) and raises(TypeError, function, b"bytes")
assert client.is_null(None) and client.checksum(None) == 0
assert raises(poolio.BufferReleased, client.write_zero, buf)
assert raises(TypeError, client.write_zero, poolio.alloc(5).freeze())

codec = client.OneByteLength()
assert codec.feed(b"\3abc\0\5he") == [b"abc", b""]
assert codec.feed(b"llo\1") == [b"hello"]
assert codec.chain.take(1) == b"\1"
assert raises(ValueError, client.take, codec.chain, 1) and raises(TypeError, client.take, None, 0)
print("client works")
