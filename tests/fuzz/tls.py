"""`make fuzz-tls`: TLS connections of poolio, client or server, whose peer's bytes are changed and cut on their way.

    an honest peer, which is an SSLObject ──> a Mutation ──> a socket ──> poolio, which echoes
                                          <─────────────────────────────

First each split of a handshake and a session into two reads, with nothing changed: all must arrive. Then, until the
time is over, cases that are drawn from the seed and a number. Each may end in an ssl.SSLError, a ConnectionError or an
end; it may not hang, deliver a byte that was not sent there, send one that was not written, raise anything else, or
leave memory behind. The status is 1 if one did, with the command that runs it again.

    python tests/fuzz/tls.py [--seconds 60] [--seed N] [--only NUMBER] [--what splits,drawn]
                             [--engines openssl,memorybio]
"""

import argparse
import asyncio
import contextlib
import faulthandler
import gc
import itertools
import os
import pathlib
import random
import socket
import ssl
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
sys.path.insert(0, str(pathlib.Path(__file__).parent))
from kit.pairs import PooledRecorder, Recorder, RoomRecorder
from kit.wires import _authority
from mutation import Mutation, pieces_of, records_of

import poolio

PATIENCE = 20                               # seconds until a case is taken for hanging
GIVES_UP = 0.01                             # seconds that a peer waits after its bytes were changed
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
SIDES = ("server", "client")                # what poolio is
FACTORIES = (PooledRecorder, Recorder, RoomRecorder)
ALLOWED = (ssl.SSLError, ConnectionError)
TEXT = random.Random(0).randbytes(100_000)


def contexts(version):
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _authority.issue_cert("localhost").configure_cert(server)
    _authority.configure_trust(client)
    for context in (server, client):
        context.minimum_version = context.maximum_version = version
    return server, client


CONTEXTS = {version: contexts(version) for version in VERSIONS}


class Fault(Exception):
    """poolio has done what it may not do."""


def echoing(factory, is_planted):
    class Echo(factory):
        def data_received(self, data):
            super().data_received(data)
            self.transport.write(bytes(data) if not is_planted else bytes(data).swapcase())

    return Echo()


class Peer:
    """The honest side: it shakes hands, sends `messages`, reads their echo, and says goodbye if it `is_polite`."""

    is_over = False

    def __init__(self, sock, side, version, messages, is_polite):
        server, client = CONTEXTS[version]
        self.sock, self.loop = sock, asyncio.get_running_loop()
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context, options = (client, {"server_hostname": "localhost"}) if side == "server" else (
            server, {"server_side": True})
        self.object = context.wrap_bio(self.incoming, self.outgoing, **options)
        self.messages, self.is_polite = messages, is_polite
        self.echo = bytearray()
        self.flights = []                   # what it has sent, before it was changed

    async def play(self, mutation, cut):
        """What the mutation makes of a flight is sent, in the pieces that `cut(bytes)` makes of it."""
        self.mutation, self.cut = mutation, cut
        size = sum(map(len, self.messages))
        try:
            while not self._try(self.object.do_handshake):
                await self._flush()
                await self._hear()
            for message in self.messages:
                self.object.write(message)
                await self._flush()
            while len(self.echo) < size:
                if not self._try(lambda: self.echo.extend(self.object.read(65_536) or self._over())):
                    await self._hear()
            if self.is_polite:
                self._try(self.object.unwrap)
        except (ssl.SSLError, EOFError, ConnectionError):
            pass                            # of poolio's alert, its end, or of our own change
        with contextlib.suppress(EOFError, ConnectionError):
            await self._flush()
        with contextlib.suppress(EOFError, OSError):
            self.is_over = True
            self.sock.shutdown(socket.SHUT_WR)
            while await self._hear():
                pass

    def _over(self):
        raise EOFError

    def _try(self, step):
        try:
            step()
        except ssl.SSLWantReadError:
            return False
        return True

    async def _flush(self):
        flight = self.outgoing.read()
        if not flight or self.mutation.ends:
            return
        self.flights.append(flight)
        for piece in self.cut(self.mutation.of(flight)):
            await self.loop.sock_sendall(self.sock, piece)
            await asyncio.sleep(0)
        if self.mutation.ends:
            self._over()

    async def _hear(self):
        """After a change poolio may wait for what will never come: then its peer gives up."""
        try:
            async with asyncio.timeout(GIVES_UP if self.mutation.is_done and not self.is_over else None):
                data = await self.loop.sock_recv(self.sock, 65_536)
        except TimeoutError:
            self._over()
        if not data:
            self._over()
        self.incoming.write(data)
        return data


class Case:
    """One connection. `describe` says what it was."""

    is_planted = False

    def __init__(self, engine, version, side, factory, messages, is_polite=True):
        self.engine, self.version, self.side, self.factory = engine, version, side, factory
        self.messages, self.is_polite = messages, is_polite
        self.errors = []

    def __repr__(self):
        return (f"{self.engine} as {self.side}, {self.version.name}, {self.factory.__name__}, "
                f"messages of {[len(message) for message in self.messages]}")

    async def run(self, mutation, cut):
        """The honest bytes that the peer has sent."""
        os.environ["POOLIO_TLS_ENGINE"] = self.engine
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.errors.append(context))
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        protocol = echoing(self.factory, self.is_planted)
        server, client = CONTEXTS[self.version]
        if self.side == "server":
            connecting = loop.connect_accepted_socket(lambda: protocol, ours, ssl=server, ssl_shutdown_timeout=PATIENCE)
        else:
            connecting = loop.create_connection(
                lambda: protocol, sock=ours, ssl=client, server_hostname="localhost", ssl_shutdown_timeout=PATIENCE)
        connecting = asyncio.ensure_future(connecting)
        peer = Peer(theirs, self.side, self.version, self.messages, self.is_polite)
        with theirs:
            playing = asyncio.ensure_future(peer.play(mutation, cut))
            await self._end(connecting, playing, protocol)
        self._judge(protocol, peer)
        return peer

    async def _end(self, connecting, playing, protocol):
        try:
            async with asyncio.timeout(PATIENCE):
                self.connect_error = await self._error_of(connecting)
                if self.connect_error is None:
                    self.end_error = await protocol.ended
                await playing
        except TimeoutError:
            playing.cancel()
            raise Fault(f"it hangs: {protocol.calls}, {getattr(protocol, 'transport', None)!r}") from None

    async def _error_of(self, connecting):
        try:
            await connecting
        except Exception as exc:
            return exc
        return None

    def _judge(self, protocol, peer):
        sent = b"".join(self.messages)
        for what, got in (("delivered", protocol.received), ("echoed", peer.echo)):
            if got != sent[:len(got)]:
                raise Fault(f"wrong bytes were {what}, or more than were sent")
        errors = [self.connect_error, *(context.get("exception") for context in self.errors)]
        if self.connect_error is None:
            errors.append(self.end_error)
            if protocol.calls[0] != "made" or protocol.calls.count("lost") != 1:
                raise Fault(f"its protocol was told {protocol.calls}")
        for exc in errors:
            if exc is not None and not isinstance(exc, ALLOWED):
                raise Fault(f"it has raised {exc!r}") from exc

    def must_have_arrived(self):
        if self.connect_error is not None or self.end_error is not None:
            raise Fault(f"nothing was changed, and it has raised {self.connect_error or self.end_error!r}")


def drawn(dice, engines):
    size = dice.choice((1, 100, 5_000, 40_000))
    messages = [TEXT[:dice.randint(1, size)] for _ in range(dice.randint(1, 4))]
    return Case(dice.choice(engines), dice.choice(VERSIONS), dice.choice(SIDES), dice.choice(FACTORIES), messages,
                dice.random() < 0.8)


class Unchanged:
    is_done = ends = False

    def of(self, flight):
        return flight


class Fuzzer:
    def __init__(self, options):
        self.options = options
        self.engines = options.engines.split(",")
        self.counts = dict.fromkeys(("cases", "ended by a TLS error", "handshake failed", "went well"), 0)

    async def one(self, number):
        """The case of this number. Its splices come from a session of its own, so that it can be run alone."""
        dice = random.Random(f"{self.options.seed}/{number}")
        case = drawn(dice, self.engines)
        model = await case.run(Unchanged(), lambda flight: [flight])
        case.must_have_arrived()
        flights = model.flights
        records = [flight[start:stop] for flight in flights for start, stop in records_of(flight)]
        mutation = Mutation(dice, sum(map(len, flights)), records)
        try:
            await case.run(mutation, lambda data: pieces_of(data, dice))
            if mutation.kind == "none":
                case.must_have_arrived()
        except Fault as fault:
            raise Fault(f"{case!r}, {mutation!r}: {fault}") from fault
        self._count(case)

    def _count(self, case):
        self.counts["cases"] += 1
        if case.connect_error is not None:
            self.counts["handshake failed"] += 1
        elif case.end_error is not None:
            self.counts["ended by a TLS error"] += 1
        else:
            self.counts["went well"] += 1

    async def splits(self, engine, version, side, factory):
        """A handshake and a session, once for each place where they may be cut into two reads."""
        for place in itertools.count(1):
            case = Case(engine, version, side, factory, [TEXT[:10], TEXT[:1]])
            passed = 0

            def cut(flight, place=place):
                nonlocal passed
                at, passed = place - passed, passed + len(flight)
                return [flight[:at], flight[at:]] if 0 < at < len(flight) else [flight]

            try:
                await case.run(Unchanged(), cut)
                case.must_have_arrived()
            except Fault as fault:
                raise Fault(f"{case!r}, cut at {place}: {fault}") from fault
            self._count(case)
            if place >= passed:
                return


def run_alone(work):
    """On a loop of its own; then nothing of it may be left."""
    with asyncio.Runner(loop_factory=poolio.new_event_loop) as runner:
        runner.run(work)
    gc.collect()
    pool = poolio.default_pool()
    pool.check()
    if pool.statistics().live_buffers:
        raise Fault(f"memory is left: {pool.statistics()}")


def all_splits(fuzzer):
    for engine, version, side in itertools.product(fuzzer.engines, VERSIONS, SIDES):
        run_alone(fuzzer.splits(engine, version, side, PooledRecorder))
    print(f"each split: {fuzzer.counts['cases']} connections", flush=True)


def drawn_cases(fuzzer, seconds):
    end = time.monotonic() + seconds
    for first in itertools.count(0, 100):
        async def hundred(first=first):
            for number in range(first, first + 100):
                fuzzer.number = number
                await fuzzer.one(number)
                if time.monotonic() > end:
                    return

        run_alone(hundred())
        if time.monotonic() > end:
            return


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", default=str(random.SystemRandom().randrange(1 << 32)))
    parser.add_argument("--only", type=int)
    parser.add_argument("--what", default="splits,drawn")
    parser.add_argument("--engines", default="openssl,memorybio")
    parser.add_argument("--plant", action="store_true", help="echo wrong bytes: this has to be found")
    options = parser.parse_args()
    faulthandler.enable()
    Case.is_planted = options.plant
    print(f"seed {options.seed}", flush=True)
    fuzzer = Fuzzer(options)
    fuzzer.number = None
    try:
        if options.only is not None:
            fuzzer.number = options.only
            run_alone(fuzzer.one(options.only))
        else:
            if "splits" in options.what:
                all_splits(fuzzer)
            if "drawn" in options.what:
                drawn_cases(fuzzer, options.seconds)
    except Fault as fault:
        again = "--what splits" if fuzzer.number is None else f"--only {fuzzer.number}"
        sys.exit(f"{fault}\nagain: {sys.executable} {sys.argv[0]} --seed {options.seed} {again}")
    print(", ".join(f"{count} {what}" for what, count in fuzzer.counts.items()))


if __name__ == "__main__":
    main()
