"""Thousands of connections, opened, used and dropped at random: is every byte right, and is nothing left behind?

    python tests/soak [--seconds 60] [--connections 2000] [--loop poolio|asyncio|uvloop] [--seed N]

Status 1 and the reasons if anything is wrong. Three processes: this one, which only asks and judges; the server, which
is measured (house.py, session.py); the clients, which drive plain nonblocking sockets, TCP and unix (crowd.py,
link.py). On `poolio` the loop is poolio.EventLoop, and its own methods serve and connect; on the others
poolio.create_server() and the like do, on that loop.

The run has four quarters. In each the crowd is kept at its size; then all of its connections end, and the server comes
to rest. Checked then:

    contents      every byte received, on both sides; what a kept slice shows a while later; nothing after abort()
    ends          whoever the server closes gets all that was written before; half-closes are answered in full; no
                  connection is reset or closed that should not be
    callbacks     connection_made and connection_lost once each, all in order, none while paused or after an end
    memory        every pool empty and sound, no slab left after trim(), no transport alive; memory at rest
    descriptors   as many as before the first connection; in the end as many as before there was a loop
    silence       nothing on stderr (ResourceWarnings are shown) or from asyncio's logger, no call of the loop's
                  exception handler but for the SoakErrors raised on purpose
    coverage      each behaviour has happened

Each wait is bounded: a connection that does not end is reported, and a process that hangs shows its traceback.

This file owns the options, the processes and the verdict: growth between quarters, and coverage. It refuses to know
sockets, loops and what a fault is about. `make soak` runs it, and it runs itself with --role as each child; nothing
imports it.
"""

import argparse
import contextlib
import faulthandler
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading

from crowd import GRACE_SECONDS, be_clients
from house import SETTLE_SECONDS, be_server
from terms import Kind

FOLDER = os.path.dirname(__file__)
QUARTERS = 4
EXTRA_SECONDS = QUARTERS * (SETTLE_SECONDS + GRACE_SECONDS) + 30

# Memory at rest, when all connections are gone and pools and malloc are trimmed. Resident memory is what a peak has
# left in malloc's and Python's heaps, by chance 1 to 5 MB more than after the first quarter; a leak of 250 bytes a
# connection would be above 16 MB within a minute. Python's own blocks are no chance: from the second quarter to the
# last they grow by one for some hundred connections, and an object lost with each tenth connection is too much.
RESIDENT_GROWTH = 16 << 20
BLOCKS_A_CONNECTION = 0.1


class Child:
    """One of the two processes: a line asks, a line of JSON answers."""

    def __init__(self, role, options, **more):
        self.role = role
        self.errors = tempfile.TemporaryFile()      # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-W", "always::ResourceWarning", FOLDER, "--role", role,
             *(f"--{name}={getattr(options, name)}" for name in ("seconds", "connections", "loop", "seed")),
             *(f"--{name}={json.dumps(value)}" for name, value in more.items())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
        )

    def ask(self, line):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"{line}\n")
            self.process.stdin.flush()
        return self.hear()

    def hear(self):
        line = self.process.stdout.readline()
        if not line:
            raise ChildProcessError(f"the {self.role} process has ended or was stopped before it answered")
        return json.loads(line)

    def end(self):
        """Its status and what it wrote to stderr, as faults."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(SETTLE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
        status = self.process.wait()
        self.process.stdout.close()
        self.errors.seek(0)
        said = self.errors.read().decode(errors="replace")
        self.errors.close()
        if status:
            yield f"the {self.role} process ended with status {status}"
        if said:
            yield f"the {self.role} process wrote to stderr:\n{said[:8000]}"


BEHAVIOURS = (
    *(kind.name for kind in Kind if kind < Kind.GREETED), "raised", "killed", "broadcast", "proxied", "kept", "checks",
    "pause_reading", "pause_writing", "half-closed", "set_protocol",
    "abort in pause_writing", "abort in resume_writing",
    "close in connection_made", "abort in connection_made", "write_eof in connection_made",
)


class Judge:
    def __init__(self, options):
        self.options = options
        self.faults = []
        self.done = []              # what the clients say of each quarter
        self.rests = []             # what the server says after it

    def run(self):
        children = [Child("server", self.options)]
        watchdog = threading.Timer(
            self.options.seconds + EXTRA_SECONDS, lambda: [child.process.kill() for child in children])
        watchdog.start()
        try:
            children.append(Child("clients", self.options, **children[0].hear()))
            for quarter in range(1, QUARTERS + 1):
                self.run_quarter(quarter, *children)
            self.faults += children[0].ask("end")["faults"]
            self.judge_growth()
        except ChildProcessError as exc:
            self.faults.append(str(exc))
        finally:
            for child in reversed(children):
                self.faults += child.end()
            watchdog.cancel()
        return self.verdict()

    def run_quarter(self, quarter, server, clients):
        self.done.append(clients.ask(self.options.seconds / QUARTERS))
        self.rests.append(server.ask("settle"))
        done, rest = self.done[-1], self.rests[-1]
        for who, said in (("clients", done), ("server", rest)):
            self.faults += [f"quarter {quarter}, {who}: {text}" for text in said["faults"]]
        print(
            f"quarter {quarter}, so far: {done['opened']:,} connections, {done['messages']:,} messages, "
            f"{done['bytes'] / 1e6:,.0f} MB compared by clients; server's resident MB under load "
            f"{rest['under_load'] / 1e6:.1f} (peak {rest['peak'] / 1e6:.1f}), at rest {rest['resident'] / 1e6:.1f}; "
            f"at rest {rest['blocks']:,} blocks, {rest['descriptors']} descriptors", flush=True,
        )

    def judge_growth(self):
        first, second, last = self.rests[0], self.rests[1], self.rests[-1]
        known = last["blocks"] > 0              # else PYTHONMALLOC=malloc: a debugging allocator keeps what it likes
        if known and last["resident"] > first["resident"] + RESIDENT_GROWTH:
            self.faults.append(f"resident memory at rest has grown from {first['resident']} to {last['resident']}")
        connections = self.done[-1]["opened"] - self.done[1]["opened"]
        if last["blocks"] > second["blocks"] + connections * BLOCKS_A_CONNECTION:
            self.faults.append(
                f"Python's blocks have grown from {second['blocks']} to {last['blocks']} by {connections} connections")
        missing = [name for name in BEHAVIOURS if not last["counts"].get(name)]
        if missing:
            self.faults.append(f"never happened, run longer or with more connections: {', '.join(missing)}")

    def verdict(self):
        if self.rests:
            print("server:", ", ".join(f"{name} {count:,}" for name, count in self.rests[-1]["counts"].items()))
        for fault in self.faults:
            print(f"FAULT {fault}")
        print(f"loop {self.options.loop}, seed {self.options.seed}: {'FAILED' if self.faults else 'passed'}")
        return 1 if self.faults else 0


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="of load; coming to rest is on top")
    parser.add_argument("--connections", type=int, default=2000, help="open at once")
    parser.add_argument("--loop", choices=("poolio", "asyncio", "uvloop"), default="poolio")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--role", choices=("server", "clients"), help=argparse.SUPPRESS)
    for name in ("addresses", "greeters"):
        parser.add_argument(f"--{name}", type=json.loads, help=argparse.SUPPRESS)
    return parser.parse_args()


def allow_descriptors(options):
    needed = 4 * options.connections + 100              # a proxied connection takes three
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SystemExit(f"{needed} descriptors are needed and the hard limit is {hard}")
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def main():
    options = parse()
    if options.role is None:
        return Judge(options).run()
    allow_descriptors(options)
    faulthandler.dump_traceback_later(options.seconds + EXTRA_SECONDS - 10, exit=True)
    {"server": be_server, "clients": be_clients}[options.role](options)
    faulthandler.cancel_dump_traceback_later()
    return 0


if __name__ == "__main__":
    sys.exit(main())
