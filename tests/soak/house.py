"""The house: the server process, which is measured.

Owns its loop, doors, pools, timers, tasks and kept slices, and what it tells: faults, counts, figures of memory.
It tells where it listens; at each `settle` on stdin, when all clients are gone, it comes to rest and tells what is
left; any other line ends it, and it tells what is left without a loop.

Refuses to know what a session does with its connection, what the clients are, and what growth is too much.
`__main__` calls be_server() in a process of its own; sessions call what stands under "what sessions ask for".
"""

import asyncio
import collections
import contextlib
import functools
import gc
import itertools
import logging
import math
import os
import random
import socket
import statistics
import sys
import traceback

from audited import SoakError, stream_of
from endpoint import BatchEndpoint, PlainEndpoint
from figures import count_descriptors, list_descriptors, resident_bytes, trim_heap
from kit.memory import heap_bytes
from plan import DATAGRAM_WIRES, POOLS, WIRES, Planner
from session import BufferSession, Greeter
from stream import Stream
from terms import SHUTDOWN_SECONDS, Faults, tell
from wire import server_context_of

import poolio
from poolio.wire.datagram import DatagramTransport
from poolio.wire.stream import StreamTransport

FOLDER = os.path.dirname(__file__)
BACKLOG = 4096
SETTLE_SECONDS = 30             # to see that all connections have ended
ON_MEMORYBIO = ("asyncio",)     # the loops on which TLS does not call OpenSSL directly
AFTER_THE_END = ("socket.send() raised exception.", "SSL connection is closed")
MODES = ("never", "on_alloc", "on_release")
LIMITS = (65_536, 1000, 300, 1 << 20)       # of the readers of a door's streams, by pool
HOSTS = {"tcp4": "127.0.0.1", "tcp6": "::1", "tls": "127.0.0.1", "udp4": "127.0.0.1", "udp6": "::1"}


class Complaints(logging.Handler):
    """What asyncio logs is a fault; with the lines of this folder that it came from, the innermost first."""

    def __init__(self, faults, counts):
        super().__init__(logging.WARNING)
        self.faults, self.counts = faults, counts

    def emit(self, record):
        if record.getMessage() in AFTER_THE_END:        # by TLS, whose application is not told at once
            self.counts["writes after the end"] += 1
            return
        stack = traceback.walk_stack(sys._getframe(1))  # numbers only: to look the lines up would cost 5,000 blocks
        places = [(os.path.split(frame.f_code.co_filename), number) for frame, number in stack]
        lines = [f"{name}:{number}" for (folder, name), number in places if folder == FOLDER]
        self.faults.add(f"{record.name} logged {record.getMessage()!r}, from {' < '.join(lines[:4])}")


class House:
    """The server process: its loop, listeners, pools and figures."""

    def __init__(self, options):
        self.options = options
        self.planner = Planner(options.seed)
        self.context = server_context_of(options.folder)
        self.dice = random.Random(options.seed)         # for what belongs to no session
        self.faults = Faults()
        self.counts = collections.Counter()
        self.pools = [poolio.default_pool(), *(poolio.Pool(zeroing=mode) for mode in MODES)]
        self.connections, self.tasks = set(), set()
        self.sources, self.victims = {}, {}             # by opening
        self.endpoints = []
        self.kept = collections.deque()
        self.under_load = []            # resident memory

    def new_loop(self):
        if self.options.loop == "uvloop":
            import uvloop

            return uvloop.new_event_loop()
        return asyncio.new_event_loop() if self.options.loop == "asyncio" else poolio.new_event_loop()

    # --- what sessions ask for --------------------------------------------------------------------------

    def later(self, at_most, action):
        self.loop.call_later(self.dice.uniform(0, at_most), action)

    def spawn(self, work, plan=None):
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(functools.partial(self.end_task, plan))
        return task

    def end_task(self, plan, task):
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.faults.add(f"a task has failed: {task.exception()!r}", plan and plan.number)

    def leave(self, groups, session):
        group = groups.get(session.opening, set())
        group.discard(session)
        if not group:
            groups.pop(session.opening, None)

    async def connect(self, factory, plan):
        """Another connection of the server to itself."""
        family, address = self.address_for(plan)
        if family == socket.AF_UNIX:
            return (await self.net.create_unix_connection(factory, address))[1]
        return (await self.net.create_connection(factory, *address))[1]

    async def open_stream(self, plan):
        family, address = self.address_for(plan)
        if family == socket.AF_UNIX:
            return await poolio.open_unix_connection(address, pool=self.pools[plan.pool])
        return await poolio.open_connection(*address, pool=self.pools[plan.pool])

    def address_for(self, plan):
        addresses = self.addresses
        return addresses.get(f"sessions/{plan.wire}/{plan.pool}") or addresses[f"sessions/unix/{plan.pool}"]

    def keep(self, data, plan, text, position, dice):
        """Some of it for a while, as a slice, or moved to memory of its own. All is drawn, even if there is no room."""
        first, length = dice.randrange(len(data)), dice.randint(1, len(data))
        moves, seconds = dice.random(), dice.random()
        if len(self.kept) < 200:
            piece = data[first:][:length]
            if moves < 0.2 and isinstance(piece, poolio.Buffer):
                piece = piece.detach()
            self.kept.append((self.loop.time() + 0.1 + 2 * seconds, piece, text, position + first, plan.number))

    def look_at_kept(self, now):
        for _ in range(len(self.kept)):
            due, piece, text, position, number = self.kept.popleft()
            if due > now:
                self.kept.append((due, piece, text, position, number))
            else:
                self.counts["kept"] += 1
                if piece != text.at(position, len(piece)):
                    self.faults.add(f"a kept slice of {len(piece)} bytes at {position} has changed", number)

    # --- the life of the process ------------------------------------------------------------------------

    async def main(self):
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(self.on_exception)
        logging.getLogger().addHandler(Complaints(self.faults, self.counts))
        self.net = self.loop if self.options.loop == "poolio" else poolio
        await self.listen()
        self.descriptors = count_descriptors()
        commands = asyncio.Queue()
        self.loop.add_reader(0, lambda: commands.put_nowait(os.read(0, 100)))
        self.sampling = self.spawn(self.sample())
        tell(addresses=self.addresses)
        while await commands.get() == b"settle\n":
            await self.settle()
        self.sampling.cancel()
        await self.stop()
        self.loop.remove_reader(0)

    def on_exception(self, loop, context):
        exc, message = context.get("exception"), context["message"]
        is_read = "data_received" in message or "buffer_updated" in message     # the latter behind TLS
        if isinstance(exc, SoakError | poolio.FrameTooLarge) and is_read:
            self.counts["handled"] += 1
        else:
            self.faults.add(f"the loop's exception handler was called: {context!r}")

    async def listen(self):
        """A door for each kind of connection, wire and pool."""
        self.servers, self.addresses = [], {}
        for number, pool in enumerate(self.pools):
            sessions = functools.partial(BufferSession, self, pool)
            streams = functools.partial(self.new_stream, pool, LIMITS[number])
            for wire in WIRES:
                await self.serve("sessions", wire, number, sessions)
                await self.serve("streams", wire, number, streams)
                await self.serve("greeters", wire, number, functools.partial(Greeter, self, pool))
            await self.serve("sessions", "tls", number, sessions)
            await self.serve("streams", "tls", number, streams)
            for wire in DATAGRAM_WIRES:
                await self.open_endpoint(wire, number, functools.partial(BatchEndpoint, self, pool))
        for wire in DATAGRAM_WIRES:
            await self.open_endpoint(wire, POOLS, functools.partial(PlainEndpoint, self, None))

    def new_stream(self, pool, limit):
        return poolio.StreamProtocol(
            lambda reader, writer: Stream(self, reader, writer, pool).serve(), limit=limit, pool=pool)

    async def serve(self, door, wire, number, factory):
        name = f"{door}/{wire}/{number}"
        if wire == "unix":
            address = os.path.join(self.options.folder, f"{self.options.loop}-{name.replace('/', '-')}")
            self.servers.append(await self.net.create_unix_server(factory, address, backlog=BACKLOG))
            self.addresses[name] = socket.AF_UNIX, address
            return
        with contextlib.suppress(OSError if wire == "tcp6" else ()):        # there may be no IPv6
            context = self.context if wire == "tls" else None
            tls = {} if context is None else {"ssl": context, "ssl_shutdown_timeout": SHUTDOWN_SECONDS}
            self.servers.append(await self.net.create_server(factory, HOSTS[wire], 0, backlog=BACKLOG, **tls))
            sock = self.servers[-1].sockets[0]
            self.addresses[name] = sock.family, sock.getsockname()[:2]

    async def open_endpoint(self, wire, number, factory):
        with contextlib.suppress(OSError if wire == "udp6" else ()):
            sock = socket.socket(socket.AF_UNIX if wire == "unixgram" else socket.AF_INET6 if wire == "udp6" else
                                 socket.AF_INET, socket.SOCK_DGRAM)
            sock.setblocking(False)
            address = os.path.join(self.options.folder, f"{self.options.loop}-{wire}-{number}")
            sock.bind(address if wire == "unixgram" else (HOSTS[wire], 0))
            await self.net.create_datagram_endpoint(factory, sock=sock)
            name = sock.getsockname()
            self.addresses[f"datagrams/{wire}/{number}"] = sock.family, name if wire == "unixgram" else name[:2]

    async def stop(self):
        for server in self.servers:
            server.close()
            await asyncio.wait_for(server.wait_closed(), SETTLE_SECONDS)
        for endpoint in self.endpoints:
            endpoint.transport.close()
        self.endpoints.clear()
        await asyncio.sleep(0)

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
                transport = stream_of(connection.transport)
                if transport is not None:
                    transport.check()
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
        self.planner.flow.cache_clear()
        while count_alive()[StreamTransport] and self.loop.time() < deadline:
            await asyncio.sleep(0.5)                    # TLS gives up a handshake by the clock
        self.check_rest()
        trim_heap()
        tell(
            faults=self.faults.take(), counts=self.counts, descriptors=count_descriptors(), resident=resident_bytes(),
            blocks=sys.getallocatedblocks(), heap=heap_bytes(), under_load=statistics.median(under_load),
            peak=max(under_load), **self.sum_of_datagrams(),
        )

    def sum_of_datagrams(self):
        figures = [endpoint.transport.statistics() for endpoint in self.endpoints]
        return {name: sum(getattr(one, name) for one in figures) for name in ("received", "kernel_drops")}

    def check_rest(self):
        counts, add = self.counts, self.faults.add
        for connection in self.connections:
            add(f"still open: {connection.describe()}", connection.plan and connection.plan.number)
        if counts["made"] != counts["lost"]:
            add(f"connection_made() was called {counts['made']} times, connection_lost() {counts['lost']}")
        if counts["raised"] != counts["handled"]:
            add(f"{counts['raised']} exceptions were raised, {counts['handled']} came to the loop's handler")
        if self.sources or self.victims:
            add(f"{len(self.sources)} sources and {len(self.victims)} groups of victims are left")
        if count_descriptors() != self.descriptors:
            add(f"{count_descriptors()} descriptors at rest, {self.descriptors} before: {list_descriptors()}")
        alive = count_alive()
        if alive[StreamTransport] or alive[DatagramTransport] != len(self.endpoints):
            add(f"{alive[StreamTransport]} transports and {alive[DatagramTransport]} of datagrams are alive at rest")
        for pool in self.pools:
            pool.trim()
            figures = pool.statistics()
            # TLS ends each drain by asking for room that it does not fill: a loop's slab waits for the next read
            if figures.live_bytes or figures.live_buffers or figures.slabs > 1:
                add(f"a pool is not empty at rest: {figures}\n{pool.report()}")
        self.check_all(())


def count_alive():
    gc.collect()
    return collections.Counter(map(type, gc.get_objects()))


def be_server(options):
    if options.loop in ON_MEMORYBIO:
        os.environ["POOLIO_TLS_ENGINE"] = "memorybio"
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
