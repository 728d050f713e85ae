"""The judge: one loop's pair of processes, asked quarter by quarter, and what is wrong with what they tell.

Owns the processes and the verdict on them: their faults, growth between quarters, datagrams that do not add up.

Refuses to know sockets, loops and what a fault is about. `__main__` has one for each loop.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading

from crowd import GRACE_SECONDS
from house import SETTLE_SECONDS

FOLDER = os.path.dirname(os.path.abspath(__file__))
QUARTERS = 4
SLOW_SECONDS = 60                   # for what a quarter takes longer to have its least sessions, and to start

# At rest, when all connections are gone and pools and malloc are trimmed. Resident memory is what a peak has left in
# malloc's and Python's heaps, by chance 1 to 5 MB more than after the first quarter; a leak of 250 bytes a session is
# above 16 MB after 64,000. Python's own blocks and malloc's bytes in use are no chance: from the second quarter to the
# last they grow by what caches still take, and by an object lost with each tenth session, or 16 bytes with each one.
RESIDENT_GROWTH = 16 << 20
BLOCKS, BLOCKS_A_SESSION = 2000, 0.1
HEAP_BYTES, HEAP_BYTES_A_SESSION = 128 << 10, 16

GROWING = {"resident": "resident memory", "blocks": "the number of Python's blocks", "heap": "what malloc has in use"}


def seconds_on_top(quarters):
    """After which nothing of this is still slow, but hangs."""
    return quarters * (SETTLE_SECONDS + GRACE_SECONDS + SLOW_SECONDS) + 30


class Child:
    """One of the two processes: a line asks, a line of JSON answers."""

    def __init__(self, role, options, **more):
        self.role = role
        self.errors = tempfile.TemporaryFile()      # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-W", "always::ResourceWarning", FOLDER, "--role", role,
             "--told", json.dumps(vars(options) | more)],
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


class Judge:
    """command_for(loop, number) is the command that has a session again."""

    def __init__(self, options, command_for):
        self.options, self.command_for = options, command_for
        self.failed = False
        self.done = []              # what the clients say of each quarter
        self.rests = []             # what the server says after it

    def fault(self, text, number=None):
        self.failed = True
        again = "" if number is None else f"\n    again: {self.command_for(self.options.loop, number)}"
        print(f"FAULT {self.options.loop}: {text}{again}", flush=True)

    def run(self):
        quarters = QUARTERS if self.options.only is None else 1
        children = [Child("server", self.options)]
        watchdog = threading.Timer(
            self.options.seconds + seconds_on_top(quarters), lambda: [child.process.kill() for child in children])
        watchdog.start()
        try:
            children.append(Child("clients", self.options, **children[0].hear()))
            for quarter in range(1, quarters + 1):
                self.run_quarter(quarter, quarters, *children)
            for text, number in children[0].ask("end")["faults"]:
                self.fault(f"at the end, server: {text}", number)
            if quarters == QUARTERS:
                self.judge_growth()
        except ChildProcessError as exc:
            self.fault(str(exc))
        finally:
            for child in reversed(children):
                for text in child.end():
                    self.fault(text)
            watchdog.cancel()
        return self

    def run_quarter(self, quarter, quarters, server, clients):
        self.done.append(clients.ask(f"{self.options.seconds / quarters} {self.options.least // quarters}"))
        self.rests.append(server.ask("settle"))
        done, rest = self.done[-1], self.rests[-1]
        for who, said in (("clients", done), ("server", rest)):
            for text, number in said["faults"]:
                self.fault(f"quarter {quarter}, {who}: {text}", number)
        self.judge_datagrams(quarter, done, rest)
        print(
            f"{self.options.loop}, quarter {quarter}, so far: {done['opened']:,} connections, "
            f"{done['bytes'] / 1e6:,.0f} MB compared by clients, {rest['counts'].get('bytes', 0) / 1e6:,.0f} by the "
            f"server; resident MB under load "
            f"{rest['under_load'] / 1e6:.1f} (peak {rest['peak'] / 1e6:.1f}), at rest {rest['resident'] / 1e6:.1f}; at "
            f"rest {rest['blocks']:,} blocks, {rest['heap']:,} bytes of malloc's, {rest['descriptors']} descriptors",
            flush=True,
        )

    def judge_datagrams(self, quarter, done, rest):
        counts, came, drops = done["counts"], rest["received"], rest["kernel_drops"]
        sent = counts.get("datagrams sent", 0)
        if sent != came + drops:
            self.fault(f"quarter {quarter}: {sent} datagrams were sent, {came} received, {drops} dropped")
        # an answer may be as many datagrams as fit into the longest
        missing, most = counts.get("unanswered", 0), drops * 64 + counts.get("answers dropped", 0)
        if missing > most:
            self.fault(f"quarter {quarter}: {missing} answers are missing, and at most {most} were dropped")

    def judge_growth(self):
        first, second, last = self.rests[0], self.rests[1], self.rests[-1]
        known = last["blocks"] > 0              # else PYTHONMALLOC=malloc: a debugging allocator keeps what it likes
        sessions = self.done[-1]["opened"] - self.done[1]["opened"]
        for name, before, most in (
            ("resident", first, RESIDENT_GROWTH),
            ("blocks", second, BLOCKS + sessions * BLOCKS_A_SESSION),
            ("heap", second, HEAP_BYTES + sessions * HEAP_BYTES_A_SESSION),
        ):
            if known and last[name] > before[name] + most:
                self.fault(
                    f"{GROWING[name]} at rest has grown from {before[name]:,} to {last[name]:,}; {sessions} sessions "
                    "since the second quarter")
