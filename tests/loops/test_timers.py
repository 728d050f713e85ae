"""The heap of poolio.EventLoop's timers: exact order, never early, without cancelled ones, open to heapq."""

import asyncio
import heapq
import random
import time
from unittest import mock

import pytest

import poolio
from poolio.wire.reactor import HAS_EPOLL

pytestmark = pytest.mark.skipif(not HAS_EPOLL, reason="poolio.EventLoop needs epoll")


def run_for(loop, seconds):
    loop.call_later(seconds, loop.stop)
    loop.run_forever()


def is_heap(items):
    return all(not items[i] < items[(i - 1) // 2] for i in range(1, len(items)))


@pytest.mark.parametrize("seed", range(30))
def test_any_sequence_of_timers_runs_those_left_in_order(loop, seed):
    own = random.Random(seed)
    live, ran, now = {}, [], [0.0]
    with mock.patch("time.monotonic", lambda: now[0]):
        for number in range(own.choice((10, 100, 1000))):
            if live and own.random() < 0.4:
                live.pop(own.choice(list(live))).cancel()
            else:
                when = own.choice((own.random(), own.randrange(1, 5)))
                live[when, number] = loop.call_at(when, ran.append, (when, number))
            assert len(loop._scheduled) == len(live)
        assert is_heap(loop._scheduled) and all(timer._scheduled for timer in live.values())
        now[0] = 10.0
        run_for(loop, 0)
    assert sorted(ran) == sorted(live)
    assert [when for when, _ in ran] == sorted(when for when, _ in live)
    assert loop._scheduled == [] and not any(timer._scheduled for timer in live.values())


@pytest.mark.parametrize("seed", range(30))
def test_timers_of_the_same_time_run_in_the_order_of_asyncio(seed):
    orders = []
    for new_loop in (asyncio.SelectorEventLoop, poolio.new_event_loop):
        own, order, loop = random.Random(seed), [], new_loop()
        for number in range(40):
            loop.call_at(float(own.randrange(3)), order.append, number)
        run_for(loop, 0)
        loop.close()
        orders.append(order)
    assert orders[0] == orders[1] and len(orders[0]) == 40


@pytest.mark.parametrize("seed", range(20))
def test_others_may_use_heapq_on_the_heap(loop, seed):
    """As nest_asyncio does it; and put asyncio's own handles there."""
    own = random.Random(seed)
    live, ran = [], []
    for _ in range(300):
        what = own.random()
        when = own.random() + 1
        if what < 0.4:
            live.append(loop.call_at(when, ran.append, when))
        elif what < 0.5:
            live.append(asyncio.TimerHandle(when, ran.append, (when,), loop))
            heapq.heappush(loop._scheduled, live[-1])
        elif what < 0.7 and live:
            live.pop(own.randrange(len(live))).cancel()
        elif loop._scheduled:
            handle = heapq.heappop(loop._scheduled)
            if not handle._cancelled:
                live.remove(handle)
            handle.cancel()
        assert is_heap(loop._scheduled)
    run_for(loop, 0)
    assert ran == sorted(timer.when() for timer in live)
    assert loop._scheduled == []


def test_cancelled_timers_leave_no_trace(loop):
    kept = [loop.call_later(1000 + number, int) for number in range(10)]
    for number in range(10_000):
        loop.call_later(number % 100, int).cancel()
    assert len(loop._scheduled) == 10 and loop._timer_cancelled_count == 0
    for timer in kept:
        timer.cancel()
    assert loop._scheduled == []


def test_timer_is_never_early(loop):
    late = []

    def check(when):
        late.append(loop.time() - when)

    for number in range(200):
        when = loop.time() + number * 17e-6
        loop.call_at(when, check, when)
    run_for(loop, 0.01)
    assert len(late) == 200 and min(late) >= -loop._clock_resolution


def test_timer_that_is_due_waits_for_no_event(loop):
    started = time.perf_counter()
    ran = []
    loop.call_later(-5, ran.append, "past")
    loop.call_at(float("-inf"), ran.append, "ever")
    loop.call_later(0, loop.stop)
    loop.run_forever()
    assert ran == ["ever", "past"] and time.perf_counter() - started < 5


def test_timer_that_never_comes_may_be_set(loop):
    timer = loop.call_at(float("inf"), int)
    run_for(loop, 0.001)
    assert timer._scheduled
    timer.cancel()


def test_timer_of_a_closed_loop_may_be_cancelled(loop):
    timers = [loop.call_later(1, int), loop.call_later(2, int)]
    loop.close()
    for timer in timers:
        timer.cancel()
        assert timer.cancelled()


def test_clock_that_does_not_move_still_fires_what_is_due(loop):
    """After a hundred days up the clock's resolution is lost in its rounding."""
    ran = []
    with mock.patch("time.monotonic", lambda: 2.0 ** 40):
        loop.call_at(2.0 ** 40, ran.append, 1)
        loop.call_soon(loop.stop)
        loop.run_forever()
    assert ran == [1]


def test_timers_set_in_a_callback_of_the_same_time_run_in_a_later_turn(loop):
    turns = []

    def again(number):
        turns.append(number)
        if number < 3:
            loop.call_later(0, again, number + 1)
            loop.call_soon(turns.append, "soon")

    loop.call_soon(again, 1)
    run_for(loop, 0.01)
    assert turns == [1, "soon", 2, "soon", 3]
