"""Other threads wake a poolio.EventLoop that sleeps, by one write, and write nothing to one that is awake."""

import asyncio
import os
import re
import threading

import pytest
from kit.sleeping import until_asleep

import poolio
from poolio.wire.reactor import HAS_EPOLL

pytestmark = pytest.mark.skipif(not HAS_EPOLL, reason="poolio.EventLoop needs epoll")


@pytest.fixture
def loop():
    loop = poolio.new_event_loop()
    yield loop
    loop.close()


def wakes():
    """How often any waker of this process was written to: nobody reads them, so each counts."""
    count = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            with open(f"/proc/self/fdinfo/{fd}") as info:
                found = re.search(r"eventfd-count:\s*([0-9a-f]+)", info.read())
        except OSError:
            continue
        count += int(found[1], 16) if found else 0
    return count


def in_thread(function, *arguments):
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    return thread


def test_sleeping_loop_is_woken_by_one_write_for_many_callbacks(loop):
    ran, before = [], wakes()
    loop.native_id = threading.get_native_id()

    def call():
        until_asleep(loop.native_id)
        for number in range(100):
            loop.call_soon_threadsafe(ran.append, number)
        loop.call_soon_threadsafe(loop.stop)

    thread = in_thread(call)
    loop.run_forever()
    thread.join()
    assert ran[0] == 0
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert ran == list(range(100)) and 1 <= wakes() - before <= 5       # the loop may wake and sleep in between


def test_loop_that_is_awake_is_not_written_to(loop):
    ran, before = [], wakes()

    def call_in_thread():
        in_thread(loop.call_soon_threadsafe, ran.append, 1).join()

    for _ in range(10):
        loop.call_soon(call_in_thread)
    loop.call_soon(loop.call_soon, loop.stop)
    loop.run_forever()
    assert ran == [1] * 10 and wakes() == before


def test_loop_that_does_not_run_yet_is_told_before_it_sleeps(loop):
    in_thread(loop.call_soon_threadsafe, loop.stop).join()
    loop.run_forever()


def test_no_call_of_many_threads_is_lost(loop):
    async def ask(number):
        for _ in range(500):
            heard = loop.create_future()
            in_queue.append((heard, loop))
            given.release()
            await heard

    def answer():
        while True:
            given.acquire()
            heard, asker = in_queue.pop()
            if heard is None:
                return
            asker.call_soon_threadsafe(heard.set_result, None)

    in_queue, given = [], threading.Semaphore(0)
    threads = [in_thread(answer) for _ in range(4)]

    async def main():
        await asyncio.wait_for(asyncio.gather(*map(ask, range(5))), 60)

    loop.run_until_complete(main())
    for _ in threads:
        in_queue.append((None, None))
        given.release()
    for thread in threads:
        thread.join()


def test_results_of_executors_wake_the_loop(loop):
    async def main():
        for number in range(200):
            assert await loop.run_in_executor(None, abs, -number) == number
        await loop.shutdown_default_executor()

    loop.run_until_complete(asyncio.wait_for(main(), 60))


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")       # other tests have left threads
def test_child_of_a_fork_is_not_woken_for_its_parent(loop):
    """Nor the parent for its child: each has a waker of its own."""
    def child():
        before = wakes()
        loop.native_id = threading.get_native_id()

        def call():
            until_asleep(loop.native_id)
            loop.call_soon_threadsafe(loop.stop)

        thread = in_thread(call)
        loop.run_forever()
        thread.join()
        return 0 if wakes() == before + 1 else 1

    loop.call_soon(loop.stop)
    loop.run_forever()
    before = wakes()
    pid = os.fork()
    if pid == 0:
        os._exit(child())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert wakes() == before


def test_loop_leaves_no_descriptor():
    before = len(os.listdir("/proc/self/fd"))
    loop = poolio.new_event_loop()
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_woken_loop_that_is_closed_takes_no_call(loop):
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_soon_threadsafe(int)
