"""A poolio.EventLoop with timers sleeps without a timeout: an alarm of the kernel's is set once, and rings in time."""

import asyncio
import gc
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from kit.sleeping import until_asleep

import poolio
from poolio.wire.reactor import HAS_EPOLL

pytestmark = pytest.mark.skipif(not HAS_EPOLL, reason="poolio.EventLoop needs epoll")
FAR = 60.0
AWAY = 0.2                      # seconds: more than NEAR of alarm.pyx
others = set()                  # the alarms that were there before the test
served = []                     # transports


@pytest.fixture
def loop():
    global others
    gc.collect()
    others = set(all_alarms())
    loop = poolio.new_event_loop()
    yield loop
    for transport in served:
        transport.abort()
    served.clear()
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()


class Served(poolio.Protocol):
    """A protocol of a server, whose connection the fixture closes."""

    def connection_made(self, transport):
        super().connection_made(transport)
        served.append(transport)


def alarms():
    """The seconds until each alarm rings that was made since the test began; 0: it is not set."""
    return [seconds for fd, seconds in all_alarms().items() if fd not in others]


def all_alarms():
    """Descriptor -> seconds."""
    seconds = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            with open(f"/proc/self/fdinfo/{fd}") as info:
                found = re.search(r"it_value: \((\d+), (\d+)\)", info.read())
        except OSError:
            continue
        if found:
            seconds[fd] = int(found[1]) + int(found[2]) / 1e9
    return seconds


async def asleep():
    """Let the loop sleep until another thread wakes it. Returns the timeout of its sleep in milliseconds; -1: none."""
    return await asyncio.get_running_loop().run_in_executor(None, until_asleep, threading.get_native_id())


def test_loop_without_timers_sleeps_without_timeout_or_alarm(loop):
    assert loop.run_until_complete(asleep()) == -1
    assert alarms() == [0]


def test_alarm_is_set_to_the_first_timer_and_kept_when_that_is_cancelled(loop):
    async def main():
        far, farther = loop.call_later(FAR, int), loop.call_later(2 * FAR, int)
        assert await asleep() == -1
        [first] = alarms()
        assert FAR - 30 < first <= FAR
        far.cancel()
        await asleep()
        [second] = alarms()
        assert second <= first
        farther.cancel()

    loop.run_until_complete(main())


def test_alarm_is_set_again_for_a_timer_that_comes_first(loop):
    async def main():
        loop.call_later(FAR, int)
        await asleep()
        started = loop.time()
        await asyncio.sleep(AWAY)
        assert loop.time() >= started + AWAY
        await asleep()
        [left] = alarms()
        assert FAR - 30 < left <= FAR

    loop.run_until_complete(asyncio.wait_for(main(), 2 * FAR))


def test_alarm_for_a_timer_that_was_given_up_runs_nothing_and_later_ones_come_in_order(loop):
    came = []

    async def main():
        started = loop.time()
        given_up = loop.call_at(started + 1, came.append, "given up")
        await asleep()
        given_up.cancel()
        for number in (3, 1, 2):
            when = started + 1 + number / 10
            loop.call_at(when, lambda number, when: came.append((number, loop.time() >= when)), number, when)
        while len(came) < 3:
            await asyncio.sleep(AWAY)

    loop.run_until_complete(asyncio.wait_for(main(), 30))
    assert came == [(1, True), (2, True), (3, True)]


@pytest.mark.parametrize("how", ["raises", "runs the loop"])
def test_alarm_whose_ring_is_lost_is_set_again(loop, how):
    """One pass finds a connection and the alarm. The connection's callback comes first and lets the rest be dropped."""
    class Dropping(Served):
        def data_received(self, data):
            if how == "raises":
                raise SystemExit
            ran = loop.time() + AWAY
            loop.call_at(ran, int)
            while loop.time() < ran:
                loop._run_once()

    async def main():
        server = await poolio.create_server(Dropping, "127.0.0.1", 0)
        with socket.create_connection(server.sockets[0].getsockname()) as client:
            loop.call_later(AWAY, int)
            await asleep()
            client.sendall(b"first")
            time.sleep(2 * AWAY)                # the loop sees neither
            await asyncio.sleep(AWAY)
        server.close()

    watch = threading.Timer(30, lambda: loop.call_soon_threadsafe(loop.stop))
    watch.start()
    try:
        if how == "raises":
            with pytest.raises(SystemExit):
                loop.run_until_complete(main())
        else:
            loop.run_until_complete(main())
        loop.run_until_complete(asyncio.sleep(AWAY))        # RuntimeError if it was stopped
        assert watch.is_alive()
    finally:
        watch.cancel()


@pytest.mark.parametrize("when", [1e10, 1e20])
def test_timer_beyond_all_times_is_waited_for_a_day_at_a_time(loop, when):
    async def main():
        loop.call_later(when, int)
        assert await asleep() == -1
        [left] = alarms()
        assert 86_000 < left <= 86_400

    loop.run_until_complete(main())


@pytest.mark.parametrize("seconds", [0.01, AWAY])
def test_timer_that_a_transport_callback_sets_ends_the_sleep(loop, seconds):
    """Its callback runs within select(), which has its deadline already."""
    class Setting(Served):
        def data_received(self, data):
            loop.call_later(seconds, ended.set_result, bytes(data))

    async def main():
        nonlocal ended
        ended = loop.create_future()
        server = await poolio.create_server(Setting, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        loop.call_later(FAR, int)
        await asleep()
        writer.write(b"ring")
        assert await ended == b"ring"
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    ended = None
    loop.run_until_complete(asyncio.wait_for(main(), 30))


def test_loops_have_alarms_of_their_own(loop):
    other = poolio.new_event_loop()
    thread = threading.Thread(target=other.run_forever)
    thread.start()
    try:
        loop.call_later(FAR, int)
        loop.run_until_complete(asleep())
        other.call_soon_threadsafe(other.call_later, AWAY, other.stop)
        thread.join(30)
        assert not thread.is_alive()
        assert sorted(map(bool, alarms())) == [False, True]
    finally:
        other.call_soon_threadsafe(other.stop)
        thread.join()
        other.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")       # other tests have left threads
def test_child_of_a_fork_leaves_the_alarm_of_its_parent_alone(loop):
    loop.call_later(FAR, int)
    loop.run_until_complete(asleep())
    [before] = alarms()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(30)
            loop.call_later(AWAY, loop.stop)
            loop.run_forever()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    [after] = alarms()
    assert FAR - 30 < after <= before <= FAR


def test_near_deadline_is_left_to_epoll(loop):
    async def main():
        waking = loop.run_in_executor(None, until_asleep, threading.get_native_id())
        while not waking.done():
            await asyncio.sleep(0.04)
        return waking.result()

    assert 0 <= loop.run_until_complete(main()) <= 40
    assert alarms() == [0]


def test_alarm_is_closed_with_its_loop():
    gc.collect()
    before = all_alarms()
    loop = poolio.new_event_loop()
    assert len(all_alarms()) == len(before) + 1
    loop.close()
    assert all_alarms().keys() == before.keys()


FORBIDDEN = """
    import ctypes, platform, struct
    NUMBER = {"x86_64": 283, "aarch64": 85}[platform.machine()]         # of timerfd_create
    LOAD_NUMBER, IF_EQUAL, RETURN = 0x20, 0x15, 0x06                    # of the kernel's filters (seccomp, BPF)
    REFUSE_WITH_EPERM, ALLOW = 0x00050001, 0x7FFF0000
    SET_NO_NEW_PRIVILEGES, SET_SECCOMP, MODE_FILTER = 38, 22, 2         # of prctl
    steps = [(LOAD_NUMBER, 0, 0, 0), (IF_EQUAL, 0, 1, NUMBER), (RETURN, 0, 0, REFUSE_WITH_EPERM), (RETURN, 0, 0, ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for arguments in ((SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0), (SET_SECCOMP, MODE_FILTER, program, 0, 0)):
        if prctl(*arguments) != 0:
            print("no filter")
            raise SystemExit

    import asyncio, os
    import poolio

    async def main():
        assert not any("timerfd" in os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd"))
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe()
        came = asyncio.Event()
        loop.add_reader(reading, came.set)
        loop.call_later(0.1, os.write, writing, b"x")
        await came.wait()
        await asyncio.sleep(0.1)
        print("timers came")

    poolio.run(main())
"""


def test_loop_whose_sandbox_forbids_alarms_has_timeouts():
    program = textwrap.dedent(FORBIDDEN)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    if done.stdout == "no filter\n":
        pytest.skip("the kernel takes no filter of system calls here")
    assert (done.stdout, done.stderr, done.returncode) == ("timers came\n", "", 0)
