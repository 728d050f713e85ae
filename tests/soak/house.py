"""The house: the server process, which is measured.

Owns its loop, listeners, pools, timers, tasks and kept slices, and the figures: faults, counts, descriptors, memory.
It tells where it listens; at each `settle` on stdin, when all clients are gone, it comes to rest and tells what is
left; any other line ends it, and it tells what is left without a loop.

Refuses to know what a session does with its connection, what the clients are, and what growth is too much.
`__main__` calls be_server() in a process of its own; sessions call what stands under "what sessions ask for".
"""

import asyncio
import collections
import contextlib
import ctypes
import functools
import gc
import itertools
import logging
import math
import os
import random
import resource
import socket
import statistics
import sys
import tempfile
import traceback

from session import BufferSession, Greeter, SoakError
from terms import Contents, Faults, tell

import poolio
from poolio.transport import StreamTransport

FOLDER = os.path.dirname(__file__)
BACKLOG = 4096
SETTLE_SECONDS = 15             # to see that all connections have ended


class Complaints(logging.Handler):
    """What asyncio logs is a fault; with the lines of this folder that it came from, the innermost first."""

    def __init__(self, faults):
        super().__init__(logging.WARNING)
        self.faults = faults

    def emit(self, record):
        stack = traceback.walk_stack(sys._getframe(1))  # numbers only: to look the lines up would cost 5,000 blocks
        places = [(os.path.split(frame.f_code.co_filename), number) for frame, number in stack]
        lines = [f"{name}:{number}" for (folder, name), number in places if folder == FOLDER]
        self.faults.add(f"{record.name} logged {record.getMessage()!r}, from {' < '.join(lines[:4])}")


class House:
    """The server process: its loop, listeners, pools and figures."""

    def __init__(self, options):
        self.options = options
        self.contents = Contents(options.seed)
        self.dice = random.Random(options.seed + 1)
        self.faults = Faults()
        self.counts = collections.Counter()
        modes = ("never", "on_alloc", "on_release")
        self.pools = [poolio.default_pool(), *(poolio.Pool(zeroing=mode) for mode in modes)]
        self.connections, self.victims, self.tasks, self.groups = set(), set(), set(), {}
        self.kept = collections.deque()
        self.under_load = []            # resident memory

    def new_loop(self):
        if self.options.loop == "uvloop":
            import uvloop

            return uvloop.new_event_loop()
        return asyncio.new_event_loop() if self.options.loop == "asyncio" else poolio.new_event_loop()

    # --- what sessions ask for --------------------------------------------------------------------------

    def any_pool(self):
        return self.dice.choice(self.pools)

    def later(self, at_most, action):
        self.loop.call_later(self.dice.uniform(0, at_most), action)

    def spawn(self, work):
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.end_task)
        return task

    def end_task(self, task):
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.faults.add(f"a task has failed: {task.exception()!r}")

    async def connect(self, factory):
        family, address = self.dice.choice(self.addresses)
        if family == socket.AF_UNIX:
            return (await self.net.create_unix_connection(factory, address))[1]
        return (await self.net.create_connection(factory, *address))[1]

    def keep(self, data, start, position):
        """Some of it for a while, as a slice, or moved to memory of its own."""
        if len(self.kept) < 200:
            first = self.dice.randrange(len(data))
            piece = data[first:][:self.dice.randint(1, len(data))]
            if self.dice.random() < 0.2 and not isinstance(piece, bytes):
                piece = piece.detach()
            self.kept.append((self.loop.time() + self.dice.uniform(0.1, 2), piece, start, position + first))

    def look_at_kept(self, now):
        for _ in range(len(self.kept)):
            due, piece, start, position = self.kept.popleft()
            if due > now:
                self.kept.append((due, piece, start, position))
            else:
                self.counts["kept"] += 1
                if piece != self.contents.at(start, position, len(piece)):
                    self.faults.add(f"a kept slice of {len(piece)} bytes at {position} has changed")

    # --- the life of the process ------------------------------------------------------------------------

    async def main(self):
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(self.on_exception)
        logging.getLogger().addHandler(Complaints(self.faults))
        self.net = self.loop if self.options.loop == "poolio" else poolio
        with tempfile.TemporaryDirectory() as folder:
            await self.listen(folder)
            self.descriptors = count_descriptors()
            commands = asyncio.Queue()
            self.loop.add_reader(0, lambda: commands.put_nowait(os.read(0, 100)))
            self.sampling = self.spawn(self.sample())
            tell(addresses=self.addresses, greeters=self.greeters)
            while await commands.get() == b"settle\n":
                await self.settle()
            self.sampling.cancel()
            await self.stop()
            self.loop.remove_reader(0)

    def on_exception(self, loop, context):
        if isinstance(context.get("exception"), SoakError) and "data_received" in context["message"]:
            self.counts["handled"] += 1
        else:
            self.faults.add(f"the loop's exception handler was called: {context!r}")

    async def listen(self, folder):
        self.servers = []
        self.addresses = await self.serve(BufferSession, os.path.join(folder, "sessions"))
        self.greeters = await self.serve(Greeter, os.path.join(folder, "greeters"))

    async def serve(self, protocol, path):
        factory = functools.partial(protocol, self)
        self.servers.append(await self.net.create_unix_server(factory, path, backlog=BACKLOG))
        addresses = [(socket.AF_UNIX, path)]
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with contextlib.suppress(OSError):          # there may be no IPv6
                self.servers.append(await self.net.create_server(factory, host, 0, backlog=BACKLOG))
                addresses.append((family, self.servers[-1].sockets[0].getsockname()[:2]))
        return addresses

    async def stop(self):
        for server in self.servers:
            server.close()
            await asyncio.wait_for(server.wait_closed(), SETTLE_SECONDS)

    async def sample(self):
        for turn in itertools.count():
            await asyncio.sleep(0.05)
            self.look_at_kept(self.loop.time())
            if turn % 10 == 0:
                self.under_load.append(resident_bytes())
                self.check_all(self.dice.sample(list(self.connections), min(200, len(self.connections))))

    def check_all(self, connections):
        try:
            for connection in connections:
                connection.transport.check()
                self.counts["checks"] += 1
            for pool in self.pools:
                pool.check()
        except AssertionError as exc:
            self.faults.add(f"check(): {exc}")

    async def settle(self):
        """All clients are gone: come to rest, then see what is left."""
        under_load, self.under_load = self.under_load, []
        deadline = self.loop.time() + SETTLE_SECONDS
        while (self.connections or self.tasks != {self.sampling} or self.kept) and self.loop.time() < deadline:
            await asyncio.sleep(0.02)
            self.look_at_kept(math.inf)
        await asyncio.sleep(0.2)                        # timers of sessions: 0.03 s at most
        gc.collect()
        self.check_rest()
        with contextlib.suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)            # what glibc keeps is not growth
        tell(
            faults=self.faults.take(), counts=self.counts, descriptors=count_descriptors(), resident=resident_bytes(),
            blocks=sys.getallocatedblocks(), under_load=statistics.median(under_load), peak=max(under_load),
        )

    def check_rest(self):
        counts, add = self.counts, self.faults.add
        for connection in self.connections:
            add(f"still open: {connection.describe()}")
        if counts["made"] != counts["lost"]:
            add(f"connection_made() was called {counts['made']} times, connection_lost() {counts['lost']}")
        if counts["raised"] != counts["handled"]:
            add(f"{counts['raised']} exceptions were raised, {counts['handled']} came to the loop's handler")
        if self.groups or self.victims:
            add(f"{len(self.groups)} groups and {len(self.victims)} victims are left")
        if count_descriptors() != self.descriptors:
            add(f"{count_descriptors()} descriptors at rest, {self.descriptors} before: {list_descriptors()}")
        alive = sum(type(thing) is StreamTransport for thing in gc.get_objects())
        if alive:
            add(f"{alive} transports are alive at rest")
        for pool in self.pools:
            pool.trim()
            figures = pool.statistics()
            if figures.live_bytes or figures.live_buffers or figures.slabs:
                add(f"a pool is not empty at rest: {figures}\n{pool.report()}")
        self.check_all(())


def count_descriptors():
    return len(os.listdir("/proc/self/fd")) - 1


def list_descriptors():
    names = []
    for fd in sorted(map(int, os.listdir("/proc/self/fd"))):
        with contextlib.suppress(OSError):
            names.append(f"{fd}={os.readlink(f'/proc/self/fd/{fd}')}")
    return " ".join(names[:40])


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def be_server(options):
    house = House(options)
    house.new_loop().close()            # libuv keeps a pipe of the first one for ever
    gc.collect()
    before = count_descriptors()
    with asyncio.Runner(loop_factory=house.new_loop) as runner:
        runner.run(house.main())
    del runner, house.loop, house.net, house.servers, house.sampling
    gc.collect()
    if count_descriptors() != before:
        house.faults.add(f"{count_descriptors()} descriptors after the loop, {before} before: {list_descriptors()}")
    tell(faults=house.faults.take())
