"""Owns the selector of poolio.EventLoop: the loop's own descriptors and poolio's sources in one epoll instance.

Refuses to know transports. Made by poolio.EventLoop, which calls serve(); then called by asyncio's code as any
selector: register(), modify(), unregister(), select().

poolio's sources act inside select(). While only they are ready, select() waits on, so a busy server seldom returns to
the loop's Python code. select() returns as soon as the loop has something to do: a descriptor of the loop's own is
ready (also the one by which other threads and signals wake it), a callback was scheduled, the loop was stopped, or a
timer is due. A busy select() also returns after STAY_SECONDS, so that the loop can tidy its cancelled timers.

Callbacks that were scheduled before select() run before what it has found, as on asyncio: code that awaits a connection
can set up its protocol before the first data comes. So while the loop has such callbacks, select() only looks: it
returns the loop's own descriptors, and poolio's sources act in a callback of the selector's own, behind the others.
"""

import selectors
from collections.abc import Mapping

from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport INFINITY

from poolio.c.net cimport EPOLLIN, EPOLLOUT, poolio_now
from poolio.c.turns cimport poolio_length
from poolio.wire.alarm cimport LONGEST_WAIT, Alarm
from poolio.wire.reactor cimport Reactor, Source, adopt
from poolio.wire.schedule cimport Schedule
from poolio.wire.waker cimport Waker

from poolio.memory.methods import forbid_new

cdef enum:
    WAKING = 2                              # the loop's self-pipe, and the Waker
cdef double STAY_SECONDS = 0.01


cdef class Watched(Source):
    """A descriptor that the loop itself has registered."""

    cdef int on_ready(self, unsigned int events) except -1:
        cdef int mask = 0
        if events & ~<unsigned int>EPOLLIN:
            mask |= selectors.EVENT_WRITE
        if events & ~<unsigned int>EPOLLOUT:
            mask |= selectors.EVENT_READ
        mask &= self.key.events
        if mask:
            self.selector.ready.append((self, mask))
        return 0


class Keys(Mapping):
    """What get_map() returns. asyncio since 3.13 asks it for the objects that add_reader() was given."""

    def __init__(self, selector):
        self.selector = selector

    def __len__(self):
        return len(self.selector.descriptors())

    def __iter__(self):
        return iter(self.selector.descriptors())

    def __getitem__(self, fileobj):
        return self.selector.get_key(fileobj)


cdef class SelectorCore:
    """The compiled half of Selector."""

    def __init__(self):
        self.reactor = Reactor()
        self.alarm = Alarm(self.reactor)
        self.watched = {}
        self.keys = {}
        self.ready = []

    def serve(self, loop):
        """Make this selector's reactor the reactor of the loop that has this selector."""
        adopt(self.reactor, loop)
        self.loop = loop
        self.own_callback = self._new_callback()
        self.waker = Waker(self.reactor)

    def fileno(self):
        """The descriptor of the epoll instance."""
        return self.reactor.fileno()

    def register(self, fileobj, events, data=None):
        cdef Watched watched
        fd = _descriptor(fileobj)
        _check_events(events)
        if fd in self.watched:
            raise KeyError(f"{fileobj!r} (FD {fd}) is already registered")
        watched = Watched.__new__(Watched)
        watched.only_notes = watched.outlives_fork = True
        watched.selector = self
        watched.fd = fd
        watched.key = selectors.SelectorKey(fileobj, fd, events, data)
        self.reactor.set_interest(watched, _epoll_events(events))
        self.watched[fd] = watched
        self.keys[fd] = watched.key
        return watched.key

    def modify(self, fileobj, events, data=None):
        cdef Watched watched = self._find(fileobj)
        _check_events(events)
        try:
            if watched.interest == _epoll_events(events):
                self.reactor.renew(watched)
            else:
                self.reactor.set_interest(watched, _epoll_events(events))
        except OSError:                     # it was closed without being unregistered, and its number is free
            self._forget(watched)
            raise
        watched.key = watched.key._replace(events=events, data=data)
        self.keys[watched.fd] = watched.key
        return watched.key

    def unregister(self, fileobj):
        cdef Watched watched = self._find(fileobj)
        self._forget(watched)
        return watched.key

    cdef int _forget(self, Watched watched) except -1:
        del self.watched[watched.fd], self.keys[watched.fd]
        return self.reactor.set_interest(watched, 0)

    cdef Watched _find(self, fileobj):
        for fd, key in self.keys.items() if not isinstance(fileobj, int) else ():
            if key.fileobj is fileobj:      # it may be closed by now
                return self.watched[fd]
        try:
            return self.watched[_descriptor(fileobj)]
        except KeyError:
            raise KeyError(f"{fileobj!r} is not registered") from None

    def get_map(self):
        """A mapping, descriptor or object -> SelectorKey, of what the loop itself has registered."""
        return Keys(self)

    def descriptors(self):
        """The descriptors that the loop itself has registered."""
        return list(self.keys)

    def get_key(self, fileobj):
        return self._find(fileobj).key

    def close(self):
        self.alarm.close()
        if self.waker is not None:
            self.waker.close()
        self.reactor.close()
        self.watched.clear()
        self.keys.clear()
        self.loop = self.own_callback = self.waker = None

    def select(self, timeout=None):
        """Let poolio's sources act until the loop has something to do. Returns [(key, events)] of its descriptors."""
        return self.wait(INFINITY if timeout is None else min(max(<double>timeout, 0.0), LONGEST_WAIT))

    cdef list wait(self, double seconds):
        """select(), but `seconds` are from 0 to LONGEST_WAIT, or INFINITY."""
        cdef double now, leave, deadline
        cdef Schedule loop = self.loop
        cdef int known = 0                  # turns before which nothing can have become ready that this loop has caused
        if self.reactor.has_only_deferred():
            seconds = INFINITY              # of zero, as the loop has callbacks: here they are done with
        elif loop is not None and poolio_length(loop._ready) > 0:
            self.ready = []
            if self.reactor.look() > 0:
                loop._ready.append(self.own_callback if not self.is_acting else self._new_callback())
            return self._take_ready()
        now = poolio_now()
        leave = now + STAY_SECONDS
        deadline = now + seconds
        self.ready = []
        while True:
            if not self.reactor.has_only_deferred():
                known = self._pass(self.alarm.milliseconds(deadline, now))
            elif known > 0:
                known -= 1
                self.reactor.run_deferred_now()
            else:
                self.reactor.run_deferred()
            if self.ready or seconds == 0:
                break
            PyErr_CheckSignals()
            if loop is not None:
                if loop._stopping:
                    break
                if poolio_length(loop._ready) > 0 and not self.reactor.has_only_deferred():
                    break
                deadline = min(deadline, loop.first_due())
            now = poolio_now()
            if now >= deadline or now >= leave:
                break
        return self._take_ready()

    cdef int _pass(self, int milliseconds) except -1:
        """Let the sources act that are ready. Returns for how many turns of deferred callbacks that is all there is.

        The first is the one in which they were found: a listener then accepts. If only listeners were ready, nobody's
        code runs in it, and the factories of the second need not wait for another look.
        """
        cdef int count = self.reactor.handle_ready(milliseconds)
        return 2 if count == self.reactor.deferred else 1

    cdef bint watches_nothing(self) noexcept:
        """True if no descriptor is registered but those that end the loop's sleep."""
        return self.reactor.source_count <= WAKING + (self.alarm.interest != 0)

    cdef int renew_descriptors(self) except -1:
        """In the child of a fork: what ends the child's sleep must not end the parent's, nor the reverse."""
        self.waker.renew()
        return self.alarm.renew()

    cdef object _new_callback(self):
        return self.reactor.handle_type(self._handle_seen, (), self.loop)

    def _handle_seen(self):
        """Let the sources act that select() has found while the loop had callbacks to run."""
        if self.loop is None:
            return
        self.is_acting = True
        try:
            self.reactor.handle_seen()
        finally:
            self.is_acting = False

    cdef list _take_ready(self):
        ready, self.ready = self.ready, []
        if not ready:
            return ready
        return [pair for pair in map(self._still_ready, ready) if pair is not None]

    def _still_ready(self, found):
        """(key, events) as they are now: callbacks that ran meanwhile may have changed or removed them."""
        cdef Watched watched = found[0]
        if self.watched.get(watched.fd) is not watched:
            return None
        events = found[1] & watched.key.events
        return (watched.key, events) if events else None


forbid_new(SelectorCore)
forbid_new(Watched)


cdef unsigned int _epoll_events(int events) noexcept:
    return (EPOLLIN if events & 1 else 0) | (EPOLLOUT if events & 2 else 0)


cdef int _check_events(events) except -1:
    if not events or events & ~(selectors.EVENT_READ | selectors.EVENT_WRITE):
        raise ValueError(f"Invalid events: {events!r}")
    return 0


cdef int _descriptor(fileobj) except -1:
    fd = fileobj if isinstance(fileobj, int) else int(fileobj.fileno())
    if fd < 0:
        raise ValueError(f"Invalid file descriptor: {fd}")
    return fd


class Selector(SelectorCore, selectors.BaseSelector):
    """A selectors.BaseSelector that handles poolio's own sources inside select()."""
