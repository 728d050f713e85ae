"""CPython's own asyncio tests on poolio.EventLoop: does anything fail that passes on the standard loop?

    cpython.py [MODULE...]         run on both loops, compare; status 1 if poolio.EventLoop fails where asyncio doesn't.
                                   MODULE:WORD runs only the tests with this word in their names
    cpython.py --loop NAME MODULE  run one module on one loop ("asyncio" or "poolio"), print its results as JSON

The tests are those of the interpreter that runs this (its `test` package). Wherever they make a loop, directly or by
the policy, they get a poolio.EventLoop instead; a selector that they pass is closed. Each module has a process of its
own. A run in which no poolio.EventLoop was made is a failure too: it has shown nothing.
"""

import argparse
import asyncio
import asyncio.unix_events
import concurrent.futures
import importlib
import json
import subprocess
import sys
import unittest

MODULES = (
    "test_events", "test_streams", "test_buffered_proto", "test_sock_lowlevel", "test_sendfile", "test_server",
    "test_sslproto", "test_unix_events", "test_base_events:datagram", "test_base_events:slow_callbacks", "test_tasks",
    "test_futures2", "test_locks", "test_queues", "test_timeouts", "test_taskgroups", "test_subprocess", "test_context",
    "test_waitfor", "test_threads", "test_ssl",
)
# Tests that look into asyncio's own transports: since CPython 3.14 one hangs on any other, as it asks for
# `_read_ready_cb`, and one wants to see SSLProtocol.connection_made() called (the tests of poolio look for its cycles).
LEFT_OUT = {
    "test_ssl": "test_remote_shutdown_receives_trailing_data_on_slow_socket",
    "test_sslproto": "test_create_connection_ssl_failed_certificate_no_cycles",
}
DEADLINE_SECONDS = 280


def install_poolio():
    """Every loop that a test makes from now on is ours; returns a list that counts them."""
    from poolio import EventLoop

    made = []

    class SelectorEventLoop(EventLoop):
        def __init__(self, selector=None):
            if selector is not None:
                selector.close()
            made.append(None)
            super().__init__()

    asyncio.SelectorEventLoop = asyncio.unix_events.SelectorEventLoop = SelectorEventLoop
    asyncio.EventLoop = SelectorEventLoop       # its other name, since 3.13
    asyncio.unix_events._UnixDefaultEventLoopPolicy._loop_factory = SelectorEventLoop
    return made


def run_module(loop, name):
    made = install_poolio() if loop == "poolio" else None
    name, _, word = name.partition(":")
    module = importlib.import_module(f"test.test_asyncio.{name}")
    for case in vars(module).values():
        if isinstance(case, type) and LEFT_OUT.get(name) in vars(case):
            setattr(case, LEFT_OUT[name], unittest.skip("it needs asyncio's own transport")(lambda self: None))
    loader = unittest.TestLoader()
    loader.testNamePatterns = [f"*{word}*"] if word else None
    suite = loader.loadTestsFromModule(module)
    result = unittest.TextTestRunner(stream=sys.stderr, verbosity=2).run(suite)
    return {
        "run": result.testsRun,
        "skipped": sorted(test.id() for test, _ in result.skipped),
        "failed": {test.id(): text for test, text in result.failures + result.errors},
        "loops": None if made is None else len(made),
    }


def results_of(loop, name):
    command = [sys.executable, __file__, "--loop", loop, name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS)
        return json.loads(done.stdout)
    except subprocess.TimeoutExpired as expired:
        said = (expired.stderr or b"").decode(errors="replace").splitlines()[-3:]
        return {"run": 0, "skipped": [], "failed": {f"{name} (hangs)": "\n".join(said)}, "loops": 0}
    except json.JSONDecodeError:
        return {"run": 0, "skipped": [], "failed": {f"{name} (dies)": done.stderr[-3000:]}, "loops": 0}


def compare(names):
    worse = 0
    for name in names:
        with concurrent.futures.ThreadPoolExecutor() as both:      # mostly they wait
            theirs, ours = both.map(results_of, ("asyncio", "poolio"), (name, name))
        new = {test: text for test, text in ours["failed"].items() if test not in theirs["failed"]}
        skipped = set(ours["skipped"]) - set(theirs["skipped"])
        print(f"{name}: {ours['run']} run on {ours['loops']} loops, {len(ours['skipped'])} skipped; failed: "
              f"asyncio {len(theirs['failed'])}, poolio {len(ours['failed'])}, only poolio {len(new)}", flush=True)
        for test, text in sorted(new.items()):
            print(f"--- {test}\n{text}")
        for test in sorted(skipped):
            print(f"--- {test}: skipped on poolio.EventLoop only")
        if ours["run"] != theirs["run"] or not ours["loops"]:
            print(f"--- {name}: asyncio ran {theirs['run']} tests, poolio {ours['run']} on {ours['loops']} loops")
            worse += 1
        worse += len(new) + len(skipped)
    return worse


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loop", choices=("asyncio", "poolio"))
    parser.add_argument("modules", nargs="*", metavar="MODULE", default=MODULES)
    arguments = parser.parse_args()
    if arguments.loop:
        print(json.dumps(run_module(arguments.loop, arguments.modules[0])))
        return 0
    return 1 if compare(arguments.modules) else 0


if __name__ == "__main__":
    sys.exit(main())
