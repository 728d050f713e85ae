"""Handles of poolio.EventLoop are asyncio's handles to whoever uses them; where threads cancel them, too."""

import asyncio
import contextvars
import sys
import weakref

import pytest

import poolio
from poolio.wire.reactor import HAS_EPOLL

pytestmark = pytest.mark.skipif(not HAS_EPOLL, reason="poolio.EventLoop needs epoll")


def callback(*arguments):
    """Something that a handle calls."""


def test_handle_is_asyncios(either):
    soon, later = either.call_soon(callback), either.call_later(1, callback)
    assert isinstance(soon, asyncio.Handle) and not isinstance(soon, asyncio.TimerHandle)
    assert isinstance(later, asyncio.Handle) and isinstance(later, asyncio.TimerHandle)
    assert (soon.__class__, later.__class__) == (asyncio.Handle, asyncio.TimerHandle)
    assert weakref.ref(soon)() is soon


def test_handle_has_asyncios_attributes(either):
    context = contextvars.copy_context()
    handle = either.call_soon(callback, 1, context=context)
    timer = either.call_at(5.5, callback, 1, 2)
    assert (handle._callback, handle._args, handle._context, handle._loop) == (callback, (1,), context, either)
    assert (handle._cancelled, handle.cancelled(), handle._source_traceback, handle._repr) == (False, False, None, None)
    assert (timer._when, timer.when(), timer._scheduled, timer._args) == (5.5, 5.5, True, (1, 2))
    handle.cancel()
    assert (handle._callback, handle._args, handle._cancelled, handle.cancelled()) == (None, None, True, True)
    if sys.version_info >= (3, 12):
        assert handle.get_context() is context


@pytest.mark.parametrize("debug", [False, True])
def test_handle_describes_itself_as_asyncios_does(debug):
    texts = []
    for new_loop in (asyncio.SelectorEventLoop, poolio.new_event_loop):
        loop = new_loop()
        loop.set_debug(debug)
        handles = [loop.call_soon(callback, 1, "x"), loop.call_at(12.5, callback), loop.call_soon(callback)]
        handles[2].cancel()
        texts.append([repr(handle) for handle in handles])
        loop.close()
    assert texts[0] == texts[1]
    assert texts[0][1].startswith("<TimerHandle when=12.5 callback(")


def test_timers_are_compared_as_asyncios(either):
    early, late = either.call_at(1.0, callback), either.call_at(2.0, callback)
    same, other = either.call_at(1.0, callback), either.call_at(1.0, callback, 5)
    theirs = asyncio.TimerHandle(1.0, callback, (), either)
    assert early < late and late > early and early <= late and late >= early and early != late
    assert early == same and early <= same and early >= same and not early < same
    assert early != other and not early <= other and not early >= other
    assert early == theirs and theirs == early and theirs < late and not late < theirs and theirs <= early
    assert hash(early) == hash(same) == hash(theirs) == hash(1.0)
    assert early != 1.0
    with pytest.raises(TypeError):
        assert early < 1.0


def test_cancelled_handle_does_not_run_and_may_be_cancelled_again(either):
    ran = []
    handle = either.call_soon(ran.append, 1)
    later = either.call_later(0, ran.append, 2)
    for each in (handle, later):
        each.cancel()
        each.cancel()
    either.call_later(0.001, either.stop)
    either.run_forever()
    assert ran == []


def test_handle_that_cancels_itself_while_it_runs_is_fine(either):
    ran, handles, errors = [], [], []
    either.set_exception_handler(lambda loop, context: errors.append(context["message"]))

    def cancels(*arguments):
        handles[len(ran)].cancel()
        ran.append(arguments)
        raise ValueError

    handles += [either.call_soon(cancels, object(), 2), either.call_soon(cancels, 3), either.call_later(0, cancels)]
    either.call_later(0.001, either.stop)
    either.run_forever()
    assert len(ran) == 3 and errors == ["Exception in callback None()"] * 3


def test_handles_of_one_class_are_used_again_for_the_other(loop):
    for round_ in range(50):
        handles = [
            loop.call_soon(callback, round_), loop.call_later(1000, callback, round_, 1), loop.call_soon(callback)]
        assert [type(handle).__name__ for handle in handles] == ["Handle", "TimerHandle", "Handle"]
        assert [handle._args for handle in handles] == [(round_,), (round_, 1), ()]
        assert not any(handle.cancelled() for handle in handles)
        for handle in handles:
            handle.cancel()
        loop.call_soon(loop.stop)
        loop.run_forever()


@pytest.mark.skipif(sys.version_info < (3, 14), reason="since CPython 3.14 such a handle has a lock")
def test_handle_of_call_soon_threadsafe_is_the_one_that_threads_may_cancel(loop):
    assert type(loop.call_soon_threadsafe(callback)) is asyncio.events._ThreadSafeHandle
