"""Sessions of all kinds, opened, used and dropped at random: is every byte right, and is nothing left behind?

    python tests/soak [--seconds 600] [--connections 2000] [--loops poolio,asyncio,uvloop] [--kinds ...] [--seed N]
    python tests/soak --seed N --loops LOOP --only NUMBER        a session that has failed, alone

Status 1 and the reasons if anything is wrong, with the command that has the same session again. For each loop two
processes, all at once: the server, which is measured (house.py, session.py, framed.py, stream.py, endpoint.py), and the
clients, which are plain nonblocking sockets and Python's ssl (crowd.py, link.py, flow.py). On `poolio` the loop is
poolio.EventLoop, and its own methods serve and connect; on the others poolio.create_server() and the like do, on that
loop. What happens is drawn from the seed and a session's number (plan.py); of these kinds:

    protocol      poolio.Protocol, asyncio.Protocol, asyncio.BufferedProtocol, over TCP, unix sockets and TLS, to
                  their end by whoever and however; proxies, broadcasts, callbacks that abort others
    frames        every codec, by FramedProtocol and by feed()
    streams       StreamReader and StreamWriter: every method, frames(), lines(), start_tls(), relay(), hand_over()
    datagrams     UDP and unix sockets, every way to send

The run has four quarters. In each the crowd is kept at its size; then all of its connections end, and the server comes
to rest. Checked then:

    contents      every byte received, on both sides; what a kept slice shows a while later; nothing after abort()
    ends          whoever the server closes gets all that was written before; half-closes are answered in full; no
                  connection is reset or closed that should not be
    callbacks     connection_made and connection_lost once each, all in order, none while paused or after an end
    datagrams     received and dropped by the kernel are what was sent
    memory        every pool empty and sound, no slab left after trim(), no transport alive; memory at rest
    descriptors   as many as before the first connection; in the end as many as before there was a loop
    silence       nothing on stderr (ResourceWarnings are shown) or from asyncio's logger, no call of the loop's
                  exception handler but for what was raised on purpose
    coverage      each kind and each behaviour has happened

Each wait is bounded: a connection that does not end is reported, and a process that hangs shows its traceback.

This file owns the options, the processes' beginning, coverage and the last word. It runs itself with --role as each
child; `make soak` runs it; nothing imports it.
"""

import argparse
import collections
import concurrent.futures
import faulthandler
import json
import os
import random
import resource
import sys
import tempfile

from crowd import be_clients
from house import be_server
from judge import QUARTERS, Judge, seconds_on_top
from plan import DATAGRAM_WIRES, GROUPS, TLS, WIRES, How, Kind
from script import METHODS, Rest
from wire import make_certificates

LOOPS = ("poolio", "asyncio", "uvloop")
# what a short run has seen, too, of each group of kinds; counted by the servers
BEHAVIOURS = {
    "protocol": (*(kind.name for kind in GROUPS["protocol"] if kind < Kind.GREETED), Kind.SINK.name, Kind.VICTIM.name,
                 "raised", "broadcast", "proxied", "set_protocol", "half-closed", "close in connection_made",
                 "abort in connection_made", "write_eof in connection_made"),
    "frames": (*(kind.name for kind in GROUPS["frames"]), "FramedProtocol", "frames"),
    "streams": (*(f"stream {method}" for method in METHODS), *(f"then {rest.name}" for rest in Rest), "start_tls"),
    "datagrams": ("datagrams", "batches", "asyncio.DatagramProtocol", *(f"answered {how.name}" for how in How)),
}
WIRES_OF = {
    "protocol": (*WIRES, "tls"), "frames": (*WIRES, "tls"), "streams": (*WIRES, *TLS), "datagrams": DATAGRAM_WIRES,
}
# what some load and this many connections bring: the rarest comes 15 times in 72,000
RARE_CONNECTIONS = 30_000
RARE = ("killed", "kept", "checks", "pause_reading", "pause_writing", "abort in pause_writing",
        "abort in resume_writing", "streams cut off")


def run(options):
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        make_certificates(folder)
        judges = [
            Judge(argparse.Namespace(**vars(options), folder=folder, first=first, loop=loop), command_for(options))
            for first, loop in enumerate(options.loops)]
        with concurrent.futures.ThreadPoolExecutor(len(judges)) as threads:
            list(threads.map(Judge.run, judges))
    return give_verdict(options, judges)


def command_for(options):
    def command(loop, number):
        plant = " --plant" * options.plant
        program = os.path.relpath(sys.argv[0])
        return f"{sys.executable} {program} --seed {options.seed} --loops {loop} --only {number}{plant}"
    return command


def give_verdict(options, judges):
    failed = any(judge.failed for judge in judges)
    counts = collections.Counter()
    for judge in judges:
        for source in [*judge.done[-1:], *judge.rests[-1:]]:
            counts.update(source["counts"])
    print("counted:", ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())))
    if options.only is None and not failed:
        missing = what_is_missing(options, counts)
        if missing:
            failed = True
            print(f"FAULT never happened, run longer or with more connections: {', '.join(missing)}")
    print(f"loops {','.join(options.loops)}, seed {options.seed}: {'FAILED' if failed else 'passed'}")
    return 1 if failed else 0


def what_is_missing(options, counts):
    names = [name for group in options.kinds for name in (*BEHAVIOURS[group], *WIRES_OF[group])]
    if counts["made"] >= RARE_CONNECTIONS and "protocol" in options.kinds:
        names += RARE
    return sorted({name for name in names if not counts[name]})


def several(choices):
    def parse(text):
        chosen = text.split(",")
        for name in chosen:
            if name not in choices:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(choices)}")
        return chosen
    return parse


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, help="of load; coming to rest is on top; 600, with --only 0")
    parser.add_argument("--connections", type=int, help="open at once, on all loops together; 2000, with --only 1")
    parser.add_argument("--least", type=int, default=0, help="sessions a loop, however long it takes")
    parser.add_argument("--loops", type=several(LOOPS), default=LOOPS, help=f"of {','.join(LOOPS)}; all")
    parser.add_argument("--kinds", type=several(GROUPS), default=tuple(GROUPS), help=f"of {','.join(GROUPS)}; all")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--only", type=int, metavar="NUMBER", help="this session and no other, without load beside it")
    parser.add_argument("--plant", action="store_true", help="a wrong byte in the model of a session: has to be found")
    for name in ("role", "told"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    options = parser.parse_args()
    alone = options.only is not None
    options.seconds = (0 if alone else 600) if options.seconds is None else options.seconds
    options.connections = (1 if alone else 2000) if options.connections is None else options.connections
    options.least = max(options.least, int(alone))
    return options


def allow_descriptors(options):
    needed = 4 * options.connections + 400              # a proxied connection takes three
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SystemExit(f"{needed} descriptors are needed and the hard limit is {hard}")
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def main():
    options = parse()
    if options.role is None:
        return run(options)
    told = argparse.Namespace(**json.loads(options.told))
    told.step = len(told.loops)
    told.connections = max(1, told.connections // told.step)
    allow_descriptors(told)
    faulthandler.dump_traceback_later(told.seconds + seconds_on_top(QUARTERS) - 20, exit=True)
    {"server": be_server, "clients": be_clients}[options.role](told)
    faulthandler.cancel_dump_traceback_later()
    return 0


if __name__ == "__main__":
    sys.exit(main())
