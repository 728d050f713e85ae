"""What others lean on in a loop of asyncio's holds for the compiled queue and turn of poolio.EventLoop."""

import asyncio
import collections
import contextvars
import functools
import gc
import logging
import signal
import threading
import time
import weakref
from unittest import mock

import pytest

import poolio
from poolio.wire.reactor import HAS_EPOLL

pytestmark = pytest.mark.skipif(not HAS_EPOLL, reason="poolio.EventLoop needs epoll")


def turn(loop):
    """One turn, which does not wait."""
    loop.call_soon(loop.stop)
    loop.run_forever()


# --- the queue --------------------------------------------------------------------------------------------------

def test_callbacks_of_a_turn_are_those_that_were_scheduled_before_it(either):
    ran = []
    either.call_soon(lambda: either.call_soon(ran.append, "next turn"))
    either.call_soon(ran.append, "this turn")
    turn(either)
    assert ran == ["this turn"]
    turn(either)
    assert ran == ["this turn", "next turn"]


@pytest.mark.parametrize("arguments", [(), (1,), (1, 2), ((1, 2),), (None,), (1, 2, 3, 4, 5)], ids=repr)
def test_callback_gets_its_arguments_as_they_were_given(either, arguments):
    got = []
    either.call_soon(lambda *args: got.append(args), *arguments)
    either.call_later(0, lambda *args: got.append(args), *arguments)
    either.call_soon_threadsafe(lambda *args: got.append(args), *arguments)
    time.sleep(0.001)
    turn(either)
    assert got == [arguments] * 3


def test_arguments_by_name_are_taken(either):
    got = []
    either.call_soon(callback=functools.partial(got.append, "soon"), context=contextvars.copy_context())
    either.call_later(delay=0, callback=functools.partial(got.append, "later"))
    either.call_at(callback=functools.partial(got.append, "at"), when=either.time())
    time.sleep(0.001)
    turn(either)
    assert sorted(got) == ["at", "later", "soon"]


@pytest.mark.parametrize("call", [
    lambda loop: loop.call_soon(), lambda loop: loop.call_soon(int, nonsense=1), lambda loop: loop.call_later(1),
    lambda loop: loop.call_later(None, int), lambda loop: loop.call_at(None, int),
    lambda loop: loop.call_later("x", int), lambda loop: loop.call_soon_threadsafe(),
])
def test_wrong_arguments_are_type_errors(either, call):
    with pytest.raises(TypeError):
        call(either)


def test_time_that_is_no_number_is_a_type_error(loop):
    """asyncio finds out when it compares two timers."""
    with pytest.raises(TypeError):
        loop.call_at("x", int)


def test_callback_runs_in_its_context(either):
    variable = contextvars.ContextVar("variable", default="none")
    got = []
    given = contextvars.copy_context()
    given.run(variable.set, "given")
    variable.set("current")
    either.call_soon(lambda: got.append(variable.get()))
    either.call_soon(lambda: got.append(variable.get()), context=given)
    either.call_later(0, lambda: got.append(variable.get()), context=given)
    variable.set("later")
    time.sleep(0.001)
    turn(either)
    assert got == ["current", "given", "given"]


def test_context_that_is_entered_is_an_error_of_that_callback(either, caplog):
    errors = []
    either.set_exception_handler(lambda loop, context: errors.append(context))
    context = contextvars.copy_context()
    either.call_soon(int, context=context)
    context.run(turn, either)
    assert "cannot enter context" in str(errors) + caplog.text      # since CPython 3.12 the handler runs there, too


def test_exception_goes_to_the_handler_and_the_rest_runs(either):
    errors, ran = [], []
    either.set_exception_handler(lambda loop, context: errors.append(context))
    handle = either.call_soon([].index, 5)
    either.call_soon(ran.append, "rest")
    turn(either)
    assert set(errors[0]) == {"message", "exception", "handle"}
    assert errors[0]["message"].startswith("Exception in callback list.index(") and errors[0]["handle"] is handle
    assert isinstance(errors[0]["exception"], ValueError) and ran == ["rest"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_exception_that_ends_programs_leaves_the_loop_and_the_rest_runs_later(either, kind):
    ran = []
    either.call_soon(mock.Mock(side_effect=kind))
    either.call_soon(ran.append, "rest")
    with pytest.raises(kind):
        either.run_forever()
    assert ran == [] and not either.is_running()
    turn(either)
    assert ran == ["rest"]


def test_queue_may_be_looked_at_and_appended_to(either):
    ran = []
    own = either.call_soon(ran.append, "own")
    assert list(either._ready) == [own] and len(either._ready) == 1
    either._ready.append(asyncio.Handle(ran.append, ("appended",), either))
    either._ready.appendleft(asyncio.TimerHandle(0, ran.append, ("first",), either))
    dropped = asyncio.Handle(ran.append, ("dropped",), either)
    dropped.cancel()
    either._ready.append(dropped)
    turn(either)
    assert ran == ["first", "own", "appended"]


def test_queue_of_another_class_is_used(loop):
    class Queue(collections.deque):
        appended = 0

        def append(self, item):
            self.appended += 1
            super().append(item)

    loop._ready = Queue()
    ran = []
    loop.call_soon(ran.append, 1)
    turn(loop)
    assert ran == [1] and loop._ready.appended == 2


def test_closed_loop_takes_no_callback(loop):
    loop.close()
    for call in (loop.call_soon, loop.call_soon_threadsafe, functools.partial(loop.call_later, 1),
                 functools.partial(loop.call_at, 1.0)):
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            call(int)
    coroutine = asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.create_task(coroutine)
    coroutine.close()


def test_callback_and_arguments_end_with_the_turn(loop):
    class Thing:
        def __call__(self, *others):
            pass

    things = [Thing() for _ in range(3)]
    ends = [weakref.ref(thing) for thing in things]
    loop.call_soon(things[0], things[1])
    kept = loop.call_later(1000, things[2])
    del things
    turn(loop)
    assert [end() is None for end in ends] == [True, True, False]
    kept.cancel()
    assert ends[2]() is None


def test_loop_that_nobody_closed_and_its_handles_are_collected():
    loop = poolio.new_event_loop()
    loop.circle = [loop.call_soon(int, loop), loop.call_later(10, int, loop)]
    loop._ready.append(loop.circle)
    end = weakref.ref(loop)
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        del loop
        gc.collect()
    gc.collect()                # the warning, too, that was recorded: it holds the loop
    assert end() is None


# --- turns ------------------------------------------------------------------------------------------------------

def chain(loop, count, ran):
    def step(number):
        ran.append(number)
        if number < count:
            loop.call_soon(step, number + 1)
    loop.call_soon(step, 1)


def test_run_once_makes_one_turn(either):
    ran = []
    chain(either, 10, ran)
    either._run_once()
    assert ran == [1]
    either._run_once()
    assert ran == [1, 2]


def test_run_once_in_a_callback_makes_one_turn(loop):
    """As nest_asyncio does it."""
    ran, seen = [], []
    chain(loop, 100, ran)

    def nested():
        before = len(ran)
        loop._run_once()
        seen.append(len(ran) - before)

    loop.call_soon(nested)
    turn(loop)
    assert seen == [1]


def test_stop_ends_the_loop_after_this_turn(either):
    ran = []
    chain(either, 100, ran)
    either.call_soon(either.stop)
    either.call_soon(ran.append, "same turn")
    either.run_forever()
    assert ran == [1, "same turn"]


def test_descriptor_that_a_callback_makes_ready_comes_before_what_is_scheduled_later(either):
    import socket
    ours, theirs = socket.socketpair()
    ran = []
    either.add_reader(ours, lambda: (ran.append("read"), either.remove_reader(ours)))
    either.call_soon(lambda: (theirs.send(b"x"), chain(either, 5, ran)))
    either.call_later(0.01, either.stop)
    either.run_forever()
    ours.close()
    theirs.close()
    assert ran == [1, "read", 2, 3, 4, 5]


def test_signal_handler_runs_while_callbacks_follow_each_other(loop):
    ran = []

    def spin():
        if not ran:
            loop.call_soon(spin)

    loop.add_signal_handler(signal.SIGUSR1, lambda: (ran.append("signal"), loop.stop()))
    loop.call_soon(spin)
    loop.call_soon(signal.raise_signal, signal.SIGUSR1)
    started = time.perf_counter()
    loop.run_forever()
    loop.remove_signal_handler(signal.SIGUSR1)
    assert ran == ["signal"] and time.perf_counter() - started < 5


def test_interrupt_leaves_a_loop_whose_callbacks_follow_each_other(loop):
    def spin():
        loop.call_soon(spin)

    loop.call_soon(spin)
    loop.call_soon(signal.raise_signal, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()


# --- who replaces methods is obeyed -----------------------------------------------------------------------------

REPLACED = ("call_soon", "call_at", "call_later", "time", "_run_once", "_add_callback", "_process_events", "_call_soon",
            "_check_closed", "_write_to_self")


def counting(original, calls):
    def replacement(self, *args, **options):
        calls.append(original)
        return original(self, *args, **options)
    return replacement


def use_all(loop):
    """Something that makes asyncio's loop call each of them."""
    loop.call_later(0, int)
    loop.call_soon(int)
    loop.call_soon_threadsafe(int)
    loop.call_soon(loop.stop)
    loop.run_forever()


@pytest.mark.parametrize("name", REPLACED)
@pytest.mark.parametrize("how", ["subclass", "instance", "class patched later", "in a turn"])
def test_replaced_method_is_called_as_by_asyncio(name, how):
    counts = []
    for base in (asyncio.SelectorEventLoop, poolio.EventLoop):
        calls = []

        class Loop(base):
            pass

        replacement = counting(getattr(base, name), calls)

        if how == "subclass":
            setattr(Loop, name, replacement)
        loop = Loop()
        use_all(loop)
        before = len(calls)
        if how == "instance":
            setattr(loop, name, functools.partial(replacement, loop))
        elif how == "class patched later":
            setattr(Loop, name, replacement)
        elif how == "in a turn":
            loop.call_soon(setattr, Loop, name, replacement)
            turn(loop)
            before = len(calls)
        use_all(loop)
        loop.close()
        counts.append((before, len(calls)))
    if name == "_process_events":           # asyncio calls it in each turn
        assert counts[1][1] > counts[1][0]
    elif name == "time":                    # how often it is asked is not promised
        assert counts[0][1] > counts[0][0] and counts[1][1] > counts[1][0]
    else:
        assert counts[0] == counts[1] and counts[0][1] > counts[0][0]


@pytest.mark.parametrize("patch", [
    lambda loop, clock: mock.patch.object(loop, "time", clock),
    lambda loop, clock: mock.patch.object(type(loop), "time", lambda self: clock()),
    lambda loop, clock: mock.patch("time.monotonic", clock),
], ids=["instance", "class", "module"])
def test_time_that_a_test_replaces_is_obeyed(either, patch):
    now, ran = [500.0], []
    with patch(either, lambda: now[0]):
        assert either.time() == 500.0
        assert either.call_later(60, ran.append, "a minute later").when() == 560.0
        turn(either)
        now[0] = 559.9
        turn(either)
        assert ran == []
        now[0] = 560.0
        turn(either)
        assert ran == ["a minute later"]
    assert abs(either.time() - time.monotonic()) < 1


def test_time_is_that_of_the_module(loop):
    for _ in range(1000):
        before, now, after = time.monotonic(), loop.time(), time.monotonic()
        assert before <= now <= after


def test_class_of_a_loop_may_be_changed(loop):
    """As looptime does it."""
    class Slower(type(loop)):
        def time(self):
            return super().time() / 2

    loop.call_soon(int)
    turn(loop)
    loop.__class__ = Slower
    handle = loop.call_later(0, int)
    assert handle.when() < time.monotonic() * 0.6


def test_run_of_handles_that_a_program_replaces_is_obeyed(loop):
    """As aiodebug does it."""
    seen = []
    original = asyncio.Handle._run

    def replacement(self):
        seen.append(self._callback)
        return original(self)

    loop.call_soon(int)
    loop.call_later(0, float)
    with mock.patch.object(asyncio.Handle, "_run", replacement):
        time.sleep(0.001)
        turn(loop)
    turn(loop)
    assert seen == [int, loop.stop, float]


def test_replaced_task_and_future_classes_are_used(loop):
    """As nest_asyncio does it."""
    with mock.patch("asyncio.tasks.Task", asyncio.tasks._PyTask), \
            mock.patch("asyncio.futures.Future", asyncio.futures._PyFuture):
        task, future = loop.create_task(asyncio.sleep(0)), loop.create_future()
        assert type(task) is asyncio.tasks._PyTask and type(future) is asyncio.futures._PyFuture
        loop.run_until_complete(task)


def test_task_factory_name_and_context_are_used(either):
    made = []

    def factory(loop, coro, **options):
        made.append(options)
        return asyncio.Task(coro, loop=loop, **options)

    context = contextvars.copy_context()
    named = either.create_task(asyncio.sleep(0), name="named", context=context)
    assert named.get_name() == "named"
    either.set_task_factory(factory)
    given = either.create_task(asyncio.sleep(0), context=context)
    either.run_until_complete(asyncio.gather(named, given))
    assert made[0]["context"] is context


# --- debug mode -------------------------------------------------------------------------------------------------

def test_debug_mode_names_the_callback_that_took_long(either, caplog):
    either.set_debug(True)
    either.slow_callback_duration = 0.005
    either.call_soon(time.sleep, 0.01)
    either.call_later(0, time.sleep, 0.01)
    time.sleep(0.001)
    with caplog.at_level(logging.WARNING, "asyncio"):
        turn(either)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2 and lines[0].startswith("Executing <Handle sleep(0.01)")
    assert lines[1].startswith("Executing <TimerHandle when=") and "created at" in lines[1]


def test_debug_mode_refuses_calls_from_other_threads_and_coroutines(either):
    either.set_debug(True)
    errors = []

    def call():
        for each in (either.call_soon, functools.partial(either.call_later, 1), functools.partial(either.call_at, 1.0)):
            try:
                each(int)
            except RuntimeError as exc:
                errors.append(str(exc).split()[0])

    def in_thread():
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()

    either.call_soon(in_thread)
    turn(either)
    assert errors == ["Non-thread-safe"] * 3
    for each in (either.call_soon, either.call_soon_threadsafe, functools.partial(either.call_later, 1)):
        with pytest.raises(TypeError, match="coroutines cannot be used with"):
            each(turn_async)


async def turn_async():
    """A coroutine function, which nobody may schedule as a callback."""


def test_debug_mode_keeps_where_a_handle_was_made(either):
    either.set_debug(True)
    handles = [either.call_soon(int), either.call_later(1, int), either.call_at(1.0, int)]
    handles.append(either.call_soon_threadsafe(int))
    for handle in handles:
        last = handle._source_traceback[-1]
        assert (last.filename, last.name) == (__file__, "test_debug_mode_keeps_where_a_handle_was_made")
        assert f"created at {__file__}:{last.lineno}" in repr(handle)
    either.set_debug(False)
    assert either.call_soon(int)._source_traceback is None
