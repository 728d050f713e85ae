"""Owns random programs for a loop, and the log of what they did: the same seed gives the same program on every loop.

It knows asyncio only. Called by loops/test_core_order.py.

A program is a tree of callbacks and tasks. Each node has a random source of its own, made of the seed and of its
number, and numbers are given in the order in which nodes are made. So as long as two loops run things in the same order
they run the same program, and the first difference of order is a difference of the logs.

Time is the program's: a callback that runs in each turn moves time.monotonic() on. So the loop never sleeps, and a log
also says in which turn each thing ran.
"""

import asyncio
import contextvars
import inspect
import random
import socket
import sys
import threading
import time
from contextlib import suppress
from unittest import mock

TICK = 0.001
SHORT, LONG = 40, 400           # turns

_mark = contextvars.ContextVar("mark", default=0)


class Program:
    """One run of the program of a seed. `log` has everything that happened, in order."""

    def __init__(self, seed, new_loop, *, turns=SHORT, with_sockets=None, with_ties=False, debug=None):
        self.seed, self.turns_left = seed, turns
        self.random = random.Random(f"{seed} top")
        self.with_ties = with_ties                      # many timers of the same time, and none is cancelled
        self.with_sockets = self.random.random() < 0.5 if with_sockets is None else with_sockets
        self.debug = self.random.random() < 0.2 if debug is None else debug
        self.is_eager = sys.version_info >= (3, 12) and self.random.random() < 0.3
        self.new_loop = new_loop
        self.is_over = False
        self.now, self.turn, self.count = 1000.0, 0, 0
        self.log, self.handles, self.timers, self.futures, self.tasks = [], [], [], [], []
        self.sockets, self.threads = [], []

    def note(self, *what):
        self.log.append((self.turn, _mark.get(), *what))

    # --- the run ------------------------------------------------------------------------------------------

    def run(self):
        with mock.patch.object(time, "monotonic", lambda: self.now):
            self.loop = self.new_loop()
            try:
                return self.run_on_loop()
            finally:
                for pair in self.sockets:
                    self.loop.remove_reader(pair[0])
                    for sock in pair:
                        sock.close()
                self.loop.close()

    def run_on_loop(self):
        self.loop.set_debug(self.debug)
        self.loop.slow_callback_duration = 1e9
        self.loop.set_exception_handler(self.on_error)
        if self.is_eager:
            self.loop.set_task_factory(asyncio.eager_task_factory)
        if self.with_sockets:
            for number in range(3):
                self.watch(number)
        self.loop.call_soon(self.tick)
        for _ in range(4):
            self.handles.append(self.loop.call_soon(self.step, self.new_number()))
        while self.turns_left > 0:
            try:
                self.loop.run_forever()
                self.note("stopped")
            except (KeyboardInterrupt, SystemExit) as exc:
                self.note("left by", type(exc).__name__)
                self.loop.call_soon(self.tick)
        return self.end()

    def tick(self):
        self.turn += 1
        self.now += TICK
        self.turns_left -= 1
        if self.turns_left <= 0:
            self.loop.stop()
        else:
            self.ticking = self.loop.call_soon(self.tick)
            if self.turn % 4 == 0 and not self.is_over:
                self.step(self.new_number())            # the program does not die out

    def end(self):
        """Note how it ends; then cancel what is left until nothing is, which is not noted."""
        self.note("end", [(task.done(), task.done() and task.cancelled()) for task in self.tasks])
        self.log, log = [], self.log
        self.is_over = True
        for _ in range(100):
            tasks = asyncio.all_tasks(self.loop)
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            self.turns_left = 5
            self.loop.call_soon(self.tick)
            with suppress(KeyboardInterrupt, SystemExit):       # a task that has left by one, and whoever waits for it
                self.loop.run_forever()
        for future in [*self.futures, *self.tasks]:
            if future.done() and not future.cancelled():
                future.exception()
        assert not asyncio.all_tasks(self.loop)
        return log

    def on_error(self, loop, context):
        if "handle" in context:             # and not of something that is collected
            self.note("error", repr(context["exception"]))

    def watch(self, number):
        pair = socket.socketpair()
        for sock in pair:
            sock.setblocking(False)
        self.sockets.append(pair)
        self.loop.add_reader(pair[0], self.readable, number)

    def readable(self, number):
        size = len(self.sockets[number][0].recv(2))
        self.note("read", number, size)
        self.step(self.new_number())

    # --- nodes --------------------------------------------------------------------------------------------

    def new_number(self):
        self.count += 1
        return self.count

    def step(self, number):
        """A callback: a few random actions."""
        own = random.Random(f"{self.seed} {number}")
        self.note("step", number)
        if self.is_over:
            return
        _mark.set(number)
        for _ in range(own.choice((0, 1, 1, 2, 2, 3))):
            self.act(own)

    def act(self, own):
        actions = [self.soon, self.soon, self.later, self.later, self.at, self.drop, self.fail, self.thread, self.leave]
        if not self.with_ties:
            actions += [self.drop_timer, self.task, self.task, self.future, self.settle, self.settle, self.drop_task]
        if self.with_sockets:
            actions += [self.send, self.send, self.rewatch]
        own.choice(actions)(own)

    def soon(self, own):
        context = contextvars.copy_context() if own.random() < 0.3 else None
        self.handles.append(self.loop.call_soon(self.step, self.new_number(), context=context))

    def delay(self, own):
        if self.with_ties:
            return own.choice((0, 1, 1, 2, 5)) * TICK
        return own.choice((0, 0.5, 1, 2, 3, 10)) * TICK + self.new_number() * 1e-8

    def later(self, own):
        self.timers.append(self.loop.call_later(self.delay(own), self.step, self.new_number()))

    def at(self, own):
        self.timers.append(self.loop.call_at(self.loop.time() + self.delay(own), self.step, self.new_number()))

    def drop(self, own):
        handle = own.choice(self.handles)
        handle.cancel()
        self.note("dropped", handle.cancelled())

    def drop_timer(self, own):
        for timer in own.sample(self.timers, min(len(self.timers), own.choice((1, 1, 20)))):
            timer.cancel()

    def fail(self, own):
        raise ValueError(own.randrange(100))

    def leave(self, own):
        what = own.choice((KeyboardInterrupt, SystemExit, None, None))
        if own.random() < 0.3:
            if what is None:
                self.loop.stop()
            else:
                self.ticking.cancel()
                raise what

    def thread(self, own):
        numbers = [self.new_number() for _ in range(own.choice((1, 3)))]

        def call():
            for number in numbers:
                self.loop.call_soon_threadsafe(self.step, number)

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()

    def send(self, own):
        with suppress(BlockingIOError):
            own.choice(self.sockets)[1].send(b"x" * own.choice((1, 2, 3)))

    def rewatch(self, own):
        number = own.randrange(len(self.sockets))
        if own.random() < 0.3:
            self.note("unwatched", self.loop.remove_reader(self.sockets[number][0]))
        else:
            self.loop.add_reader(self.sockets[number][0], self.readable, number)

    def future(self, own):
        future = self.loop.create_future()
        number = self.new_number()
        future.add_done_callback(lambda _: self.step(number))
        self.futures.append(future)

    def settle(self, own):
        waiting = [future for future in self.futures if not future.done()]
        if waiting:
            future = own.choice(waiting)
            own.choice((future.cancel, lambda: future.set_result(1), lambda: future.set_exception(KeyError(1))))()

    def task(self, own):
        self.tasks.append(self.loop.create_task(self.steps(self.new_number())))

    def drop_task(self, own):
        if self.tasks:
            self.note("cancelled", own.choice(self.tasks).cancel())

    async def steps(self, number):
        """A task: a few random waits."""
        own = random.Random(f"{self.seed} {number}")
        self.note("begins", number)
        try:
            for _ in range(own.randrange(5)):
                await self.wait(own)
                self.note("goes on", number)
                if own.random() < 0.3:
                    self.act(own)
        except asyncio.CancelledError:
            self.note("is cancelled", number)
            if own.random() < 0.3:
                await asyncio.sleep(0)
            raise
        finally:
            self.note("ends", number)

    async def wait(self, own):
        way = own.randrange(8)
        if way < 2:
            await asyncio.sleep(0)
        elif way == 2:
            await asyncio.sleep(self.delay(own))
        elif way == 3 and self.futures:
            await asyncio.wait([own.choice(self.futures)], timeout=self.delay(own))
        elif way == 4:
            both = [self.steps(self.new_number()) for _ in range(2)]
            try:
                await asyncio.gather(*both, return_exceptions=own.random() < 0.7)
            except (KeyboardInterrupt, SystemExit):
                if self.is_eager and inspect.getcoroutinestate(both[1]) == inspect.CORO_CREATED:
                    both[1].close()             # the first one left at once, so gather() has made no task of it
                raise
        elif way == 5 and self.futures:
            await asyncio.shield(own.choice(self.futures))
        elif way == 6:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.steps(self.new_number()), self.delay(own))
        else:
            queue = asyncio.Queue(1)
            for item in range(2):
                self.loop.call_soon(queue.put_nowait, item)
                await queue.get()
