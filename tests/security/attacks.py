"""Attacks on the time that poolio takes: each makes (run, clean_up) for n bytes, pieces, frames or tasks."""

import asyncio
import socket

import poolio

LARGE = 1 << 28             # of limits that must not end an attack early


def nothing():
    pass


def feeding(codec, pieces):
    def run():
        for piece in pieces:
            codec.feed(piece)
    return run, nothing


def long_line_byte_by_byte(n):
    return feeding(poolio.Delimited(b"\n", max_frame=LARGE), [b"x"] * n)


def line_of_beginnings_of_its_end(n):
    return feeding(poolio.Delimited(b"\r\n\r\n", max_frame=LARGE), [b"\r\n", b"\r"] * (n // 2))


def line_with_one_of_several_ends(n):
    return feeding(poolio.Delimited([b"\r\n", b"\n\n", b"\0" * 60], max_frame=LARGE), [b"\0"] * n)


def lines_in_one_read(n):
    return feeding(poolio.Delimited([b"\r\n", b"\n"]), [b"\n" * n])


def frames_in_one_read(n):
    return feeding(poolio.LengthPrefixed(1), [b"\0" * n])


def large_frame_byte_by_byte(n):
    return feeding(poolio.LengthPrefixed(4, max_frame=LARGE), [n.to_bytes(4, "big"), *[b"x"] * n])


def varints_byte_by_byte(n):
    return feeding(poolio.Varint(max_frame=LARGE), [b"\x81", b"\x80", b"\0", b"x"] * (n // 4))


def array_byte_by_byte(n):
    codec = poolio.Marked(max_frame=LARGE, max_items=LARGE)
    return feeding(codec, [b"*%d\r\n" % n, *[b":", b"1", b"\r", b"\n"] * (n // 4)])


def arrays_in_arrays_byte_by_byte(n):
    codec = poolio.Marked(max_frame=LARGE, max_depth=32)
    return feeding(codec, [*[b"*9\r\n"] * 30, *[b"*", b"0", b"\r", b"\n"] * (n // 4)])


def text_in_an_array_byte_by_byte(n):
    return feeding(poolio.Marked(max_frame=LARGE), [b"*1000\r\n" + b":1\r\n" * 900 + b"+", *[b"x"] * n])


def empty_commands_in_one_read(n):
    return feeding(poolio.Marked(frames="commands", inline="split"), [b"\n*0\r\n" * (n // 5)])


def announced_body_byte_by_byte(n):
    codec = poolio.LineAndBody({b"set": 1}, max_frame=LARGE)
    return feeding(codec, [b"set %d" % n + b" x" * 900 + b"\r\n", *[b"x"] * n])


def trailers_byte_by_byte(n):
    return feeding(poolio.LineAndBody(0, base=16, separator=b";", zero="lines", max_frame=LARGE),
                   [b"0" + b";x" * 900 + b"\r\n", *[b"x", b"\r", b"\n"] * (n // 3)])


def discarded_frame_byte_by_byte(n):
    codec = poolio.LengthPrefixed(4, max_frame=1, too_large="discard")
    return feeding(codec, [n.to_bytes(4, "big"), *[b"x"] * n])


def discarded_line_byte_by_byte(n):
    return feeding(poolio.Delimited(b"\r\n", max_frame=1, too_large="discard"), [b"\r"] * n)


def discarded_frames_in_one_read(n):
    return feeding(poolio.LengthPrefixed(1, max_frame=1, too_large="discard"), [b"\2xx" * n])


def chain_of_pieces_searched_each_time(n):
    chain = poolio.Chain()

    def run():
        for _ in range(n):
            chain.append(b"ab")
            chain.find(b"ac")
    return run, chain.clear             # nobody has put the pieces together: n links


def count_and_split_of_a_pattern(n):
    buf = poolio.from_bytes((b"a" * 63 + b"b") * (n // 16))

    def run():
        buf.count(b"a" * 63 + b"c")
        buf.split(b"ab")
        buf.find((b"a" * 63 + b"b") * (n // 64) + b"c")
    return run, buf.release


def readuntil_of_a_line_that_drips(n):
    def run():
        async def main():
            reader = poolio.StreamReader(limit=LARGE)
            waiting = asyncio.ensure_future(reader.readuntil(b"\r\n"))
            for _ in range(n):
                reader.feed_data(b"\r")
                await asyncio.sleep(0)
            reader.feed_data(b"\n")
            await waiting
        asyncio.run(main())
    return run, nothing


def cancelled_waiters(n):
    def run():
        async def main():
            reader = poolio.StreamReader()
            for _ in range(n):
                waiting = asyncio.ensure_future(reader.read(1))
                await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.wait([waiting])
        asyncio.run(main())
    return run, nothing


class Silent(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        pass


def queue_of_small_pieces(n):
    def run():
        async def main():
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            theirs.setblocking(False)
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_connection(Silent, sock=ours)
            for _ in range(n):
                transport.write(b"xyz")
            left = 3 * n
            while left:
                left -= len(await loop.sock_recv(theirs, 1 << 20))
            transport.abort()
            theirs.close()
            await asyncio.sleep(0)
        poolio.run(main())
    return run, nothing


def sendmany_of_many(n):
    def run():
        async def main():
            transport, _ = await poolio.create_datagram_endpoint(
                poolio.DatagramProtocol, local_addr=("127.0.0.1", 0))
            to = transport.get_extra_info("sockname")
            transport.pause_reading()
            transport.sendmany([(b"x", to)] * n)
            transport.abort()
            await asyncio.sleep(0)
        poolio.run(main())
    return run, nothing


ALL = {
    attack.__name__.replace("_", " "): attack for attack in (
        long_line_byte_by_byte, line_of_beginnings_of_its_end, line_with_one_of_several_ends, lines_in_one_read,
        frames_in_one_read, array_byte_by_byte, arrays_in_arrays_byte_by_byte, text_in_an_array_byte_by_byte,
        empty_commands_in_one_read, announced_body_byte_by_byte, trailers_byte_by_byte,
        large_frame_byte_by_byte, varints_byte_by_byte, discarded_frame_byte_by_byte,
        discarded_line_byte_by_byte, discarded_frames_in_one_read, chain_of_pieces_searched_each_time,
        count_and_split_of_a_pattern, readuntil_of_a_line_that_drips, cancelled_waiters, queue_of_small_pieces,
        sendmany_of_many,
    )
}
