"""Owns a link between two network namespaces that loses, delays, reorders and duplicates real packets.

Each side is a namespace with a tun device; what the kernel sends into one is read here and written into the other, or
not, as a seeded random generator says. So the kernel's own TCP retransmits, on any machine with /dev/net/tun, also
where the netem module is missing. Sockets are made in a namespace, and are used anywhere.

Needs root. Namespaces and devices end with the last socket and descriptor that holds them. Called by
faults/test_link.py.
"""

import ctypes
import fcntl
import heapq
import os
import random
import select
import socket
import struct
import threading
import time

TUNSETIFF, SIOCSIFADDR, SIOCSIFNETMASK, SIOCSIFFLAGS, SIOCSIFMTU = 0x400454CA, 0x8916, 0x891C, 0x8914, 0x8922
IFF_TUN_NO_PI = 0x1001
IFF_UP_RUNNING = 0x41
CLONE_NEWNET = 0x40000000
MTU = 1500


def why_not() -> str | None:
    """Why this machine can't have a link; None if it can."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "network namespaces need root"
    try:
        _Side("10.77.0.1").close()
    except OSError as exc:
        return f"no namespace with a tun device on this machine: {exc}"
    return None


class _Side:
    """A namespace with one device; each socket is made in a thread of its own, which enters the namespace."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.tun = self._inside(self._create)

    def _inside(self, function, namespace=None):
        results = []

        def enter():
            try:
                libc = ctypes.CDLL(None, use_errno=True)
                done = libc.unshare(CLONE_NEWNET) if namespace is None else libc.setns(namespace, CLONE_NEWNET)
                if done != 0:
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
                results.append(function())
            except OSError as exc:
                results.append(exc)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if isinstance(results[0], OSError):
            raise results[0]
        return results[0]

    def _create(self) -> int:
        self.namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"link", IFF_TUN_NO_PI))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            for request, address in ((SIOCSIFADDR, self.address), (SIOCSIFNETMASK, "255.255.255.0")):
                fcntl.ioctl(control, request, struct.pack(
                    "16sHH4s16x", b"link", socket.AF_INET, 0, socket.inet_aton(address)))
            fcntl.ioctl(control, SIOCSIFMTU, struct.pack("16si20x", b"link", MTU))
            fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", b"link", IFF_UP_RUNNING))
        return tun

    def socket(self, kind: int) -> socket.socket:
        """In this namespace, bound to its address; it does not block."""
        sock = self._inside(lambda: socket.socket(socket.AF_INET, kind), self.namespace)
        sock.setblocking(False)
        sock.bind((self.address, 0))
        return sock

    def close(self) -> None:
        os.close(self.tun)
        os.close(self.namespace)


class Link:
    """In a `with`: `left` and `right` make sockets. Shares of all packets, and seconds.

    lost, duplicated   of each packet
    late               of those that wait for `delay` more, and so are overtaken
    delay              of each packet, one way
    """

    def __init__(self, seed=1, lost=0.0, duplicated=0.0, late=0.0, delay=0.0) -> None:
        self.random = random.Random(seed)
        self.lost, self.duplicated, self.late, self.delay = lost, duplicated, late, delay
        self.counts = {"sent": 0, "lost": 0, "duplicated": 0, "late": 0}
        self.is_cut = False
        self.waiting: list[tuple[float, int, int, bytes]] = []
        self.number = 0

    def __enter__(self):
        self.left, self.right = _Side("10.77.0.1"), _Side("10.77.0.2")
        self.wake, self.woken = os.pipe()
        self.thread = threading.Thread(target=self._forward, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *exc_info):
        os.close(self.woken)
        self.thread.join()
        os.close(self.wake)
        self.left.close()
        self.right.close()

    def _forward(self) -> None:
        other = {self.left.tun: self.right.tun, self.right.tun: self.left.tun}
        while True:
            timeout = max(self.waiting[0][0] - time.monotonic(), 0) if self.waiting else None
            readable, _, _ = select.select([*other, self.wake], [], [], timeout)
            if self.wake in readable:
                return
            for tun in readable:
                self._meet(os.read(tun, 65536), other[tun])
            while self.waiting and self.waiting[0][0] <= time.monotonic():
                _, _, tun, packet = heapq.heappop(self.waiting)
                os.write(tun, packet)

    def _meet(self, packet: bytes, tun: int) -> None:
        """Decide what happens to a packet, and count it then. Only IPv4: the rest is the kernels' own talk."""
        if packet[0] >> 4 != 4:
            return
        copies = 1 + (self.random.random() < self.duplicated)
        if self.is_cut or self.random.random() < self.lost:
            self.counts["lost"] += 1
            copies = 0
        for number in range(copies):
            at = time.monotonic() + self.delay
            if self.random.random() < self.late:
                at += self.delay
                self.counts["late"] += 1
            self.counts["duplicated"] += number
            self.number += 1
            heapq.heappush(self.waiting, (at, self.number, tun, packet))
        self.counts["sent"] += 1
