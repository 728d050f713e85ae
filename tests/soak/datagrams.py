"""Millions of datagrams at full rate, every one compared: is each whole, and are those that are missing accounted for?

    datagrams.py [COUNT]       10,000,000 by default, half of them plain, half in trains

Another process sends as fast as it can. A datagram is its number, its length and bytes that follow from both, 16 to
1400 in all. The receiver compares each with what it should be, in order, keeps every thousandth for a while, compares
again. At the end: received + dropped by the kernel = sent. Of trains the kernel counts one drop for each that it had
not cut up yet, so for them: missing <= drops x datagrams in a train. Status 1 if anything is not so.
"""

import asyncio
import collections
import multiprocessing
import random
import resource
import socket
import struct
import sys

import poolio

COUNT = 10_000_000
HEADER = struct.Struct("<QI")
SMALLEST, LARGEST = 16, 1400
BLOCK = random.Random(1).randbytes(1 << 16)
SIZES = random.Random(2).choices((16, 64, 64, 200, 512, 1200, LARGEST), k=4096)
TRAIN, TRAIN_SIZE = 50, 1200
UDP_SEGMENT = 103
RECEIVE_QUEUE_BYTES = 4 << 20
KEEP = 100


def size_of(number):
    return SIZES[number % len(SIZES)]


def datagram(number, size):
    start = number * 7919 % (len(BLOCK) - LARGEST)
    return HEADER.pack(number, size) + BLOCK[start:start + size - HEADER.size]


def send(address, count, in_trains, done):
    """In a process of its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        if in_trains:
            sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, TRAIN_SIZE)
            for first in range(0, count, TRAIN):
                sock.send(b"".join([datagram(n, TRAIN_SIZE) for n in range(first, min(first + TRAIN, count))]))
        else:
            for number in range(count):
                sock.send(datagram(number, size_of(number)))
    done.wait()


class Comparing(poolio.DatagramProtocol):
    received = 0
    next_number = 0

    def __init__(self, in_trains):
        self.in_trains = in_trains
        self.kept = collections.deque(maxlen=KEEP)

    def datagrams_received(self, batch):
        for data, _ in batch:
            number = data.read_u64le(0)
            size = TRAIN_SIZE if self.in_trains else size_of(number)
            if number < self.next_number or data != datagram(number, size):
                raise SystemExit(f"wrong after {self.received}: {bytes(data[:32]).hex()}..., {len(data)} bytes")
            self.next_number = number + 1
            self.received += 1
            if number % 1000 == 0:
                self.kept.append((number, data))

    def compare_kept(self):
        for number, data in self.kept:
            if data != datagram(number, TRAIN_SIZE if self.in_trains else size_of(number)):
                raise SystemExit(f"number {number} has changed while it was kept")


async def run(count, in_trains):
    transport, protocol = await poolio.create_datagram_endpoint(
        lambda: Comparing(in_trains), local_addr=("127.0.0.1", 0))
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_QUEUE_BYTES)
    done = multiprocessing.Event()
    sender = multiprocessing.Process(
        target=send, args=(transport.get_extra_info("sockname"), count, in_trains, done), daemon=True)
    sender.start()
    seen, quiet = -1, 0
    while quiet < 20:                   # two seconds without any: the sender has ended, and the queue is empty
        quiet = quiet + 1 if seen == protocol.received and seen else 0
        seen = protocol.received
        protocol.compare_kept()
        await asyncio.sleep(0.1)
    done.set()
    sender.join(10)
    statistics = transport.statistics()
    missing = count - protocol.received
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{'trains' if in_trains else 'plain'}: {count:,} sent, {protocol.received:,} received and compared, "
          f"{missing:,} missing, {statistics.kernel_drops:,} drops counted, {statistics.reads:,} reads, "
          f"peak {peak:,} KiB", flush=True)
    transport.close()
    await asyncio.sleep(0)
    if sender.exitcode != 0:
        raise SystemExit(f"the sender ended with {sender.exitcode}")
    if statistics.received != protocol.received or statistics.truncated or statistics.unplaced:
        raise SystemExit(f"does not add up: {statistics}")
    if not in_trains and missing != statistics.kernel_drops:
        raise SystemExit("received and dropped are not what was sent")
    if in_trains and not statistics.kernel_drops <= missing <= statistics.kernel_drops * TRAIN:
        raise SystemExit("more is missing than was dropped")
    protocol.kept.clear()
    await asyncio.sleep(0)
    pool = poolio.default_pool()
    pool.check()
    if pool.statistics().live_bytes:
        raise SystemExit(f"something is still alive: {pool.statistics()}")


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    poolio.run(run(count // 2, False))
    poolio.run(run(count - count // 2, True))


if __name__ == "__main__":
    main()
