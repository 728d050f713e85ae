"""Owns Limits: how many connections a server has, how long one may be silent, and how long its first frame may take.

Refuses to know how connections are accepted (listener) and what a frame is (the protocols say so, see receiver). Made
by the loops floor, one for each server. The listeners of the server ask it before they accept. It stands between a
transport and its server, so it learns of each connection's beginning and end.

    Listener ── is_full(), wait(), refuse() ──> Limits ── Watch: LOOKS times within each timeout, at all connections
    StreamTransport ── _attach(), _detach() ──> Limits ── _attach(), _detach() ──> the server

A connection has no timer of its own, and a message costs one instruction for each direction: the transport sets a bit
when bytes come or go. A Watch looks at all connections from time to time, clears the bit, and counts for each
connection the looks in a row that found it cleared. LOOKS of them make the timeout. The bit was last set before the
look that found it set, so a connection is never closed early, and at most one period late, which is
`timeout / LOOKS`. If the loop itself is late, so are the looks; what has come meanwhile is read between two of them.

Silence that is not the peer's does not count: reading is paused, or the pool has no memory, and nothing waits to be
sent. A connection whose queue waits for a peer that does not read is silent, also if it is being closed.

A limit of a connection goes on when its server has stopped accepting. In the child of a fork the connections are the
parent's: they do not count there, and nothing looks at them.
"""

import logging
import os
from typing import NamedTuple
from weakref import WeakSet, ref

cimport cython
from cpython.object cimport PyObject
from libc.math cimport ceil

from poolio.c.net cimport poolio_close
from poolio.c.python cimport PY_SSIZE_T_MAX
from poolio.wire.endpoint cimport (
    ACTIVE, BLOCKED, FIRST_CAME, HAS_BEGUN, HEARD, LOST, PAUSED, SENDS_FILE, SHORT, enter_server, leave_server,
)
from poolio.wire.reactor cimport Reactor
from poolio.wire.receiver cimport CAME, UNASKED, First
from poolio.wire.shortage cimport Claimant
from poolio.wire.stream cimport StreamTransport

from poolio.errors import PeerTimeout
from poolio.memory.methods import forbid_new

cdef enum:
    LOOKS = 4                       # within a timeout: it ends a quarter late at most
    MAX_CONNECTIONS = 0x7FFFFFFF    # descriptors are C ints

# Seconds. Below the first a look would come every few milliseconds; beyond the second the unit was mistaken.
cdef double MIN_TIMEOUT = 0.01
cdef double MAX_TIMEOUT = 31_536_000
cdef double LOG_SECONDS = 60        # at most one line in this time says that a server is full

BOUNDS = {"LOOKS": LOOKS, "MAX_CONNECTIONS": MAX_CONNECTIONS, "MIN_TIMEOUT": MIN_TIMEOUT, "MAX_TIMEOUT": MAX_TIMEOUT}

logger = logging.getLogger("poolio")
cdef object _all_limits = WeakSet()


class ServerStatistics(NamedTuple):
    """What one server has done since it was made.

    connections           open now
    accepted              given to a protocol, those that are open included
    refused               closed at once, because the server was full
    filled                how often a connection came while the server was full, so that accepting stopped or it was
                          the first to be refused
    idle_timeouts         closed by `idle_timeout`
    first_frame_timeouts  closed by `first_frame_timeout`
    """

    connections: int
    accepted: int
    refused: int
    filled: int
    idle_timeouts: int
    first_frame_timeouts: int


# --- timeouts -------------------------------------------------------------------------------------------------

cdef class Watch:
    """Looks at all connections of a server LOOKS times in `seconds`, while there are any."""

    def __init__(self):
        raise TypeError("a Watch is made by Limits")

    cdef int start(self, Limits limits) except -1:
        if self.timer is None:
            self.timer = limits.reactor.loop.call_later(self.period, self._look)
        return 0

    def _look(self):
        cdef StreamTransport transport
        cdef Limits limits = self.limits()
        self.timer = None
        if limits is None or limits.connections == 0:
            return
        try:
            for transport in self._overdue(limits):
                if not transport.state & LOST:
                    transport._force_close(PeerTimeout(self._name(), self.seconds))
                    self.closed += 1
        finally:                    # whatever that raises, the others are looked at the next time
            self.start(limits)

    cdef list _overdue(self, Limits limits):
        """The connections whose time is over. Nothing is called meanwhile that could change the list of claimants."""
        cdef list overdue = []
        cdef Claimant one
        cdef StreamTransport transport
        cdef PyObject *listed = limits.reactor.first_claimant
        while listed != NULL:
            one = <Claimant>listed      # keeps it alive until its successor is known
            if type(one) is StreamTransport:
                transport = <StreamTransport>one
                if transport.server is limits and transport.state & (HAS_BEGUN | LOST) == HAS_BEGUN:
                    if self.is_overdue(transport):
                        overdue.append(transport)
            listed = one.next_claimant
        return overdue

    cdef bint is_overdue(self, StreamTransport transport) except -1:
        raise NotImplementedError


cdef class IdleWatch(Watch):
    """No byte has come or gone."""

    def _name(self):
        return "idle_timeout"

    cdef bint is_overdue(self, StreamTransport transport) except -1:
        if transport.state & (ACTIVE | SENDS_FILE) or _is_held(transport):
            transport.state &= ~<unsigned int>ACTIVE
            transport.silence = 0
            return False
        transport.silence += 1
        return transport.silence >= LOOKS


cdef class FirstFrameWatch(Watch):
    """The first whole frame has not come since the connection was accepted."""

    def _name(self):
        return "first_frame_timeout"

    cdef bint is_overdue(self, StreamTransport transport) except -1:
        cdef First first = transport.first_frame()
        if first == CAME:
            transport.state |= FIRST_CAME
        elif first != UNASKED and not _is_held(transport):
            transport.age += 1      # the first look may come right after the connection: it only begins the time
        return first != CAME and transport.age > LOOKS


cdef bint _is_held(StreamTransport transport) noexcept:
    """True if it is silent because of this end: it does not read, and has nothing to send."""
    return transport.state & (PAUSED | SHORT) != 0 and not transport.state & BLOCKED


# --- the limits of a server -------------------------------------------------------------------------------------

@cython.final
cdef class Limits:
    """The limits of one server. TypeError and ValueError name the argument, its value and what is allowed.

    max_connections      open at a time, over all sockets of the server
    when_full            "wait": what comes then stays in the kernel's queue; "refuse": it is accepted and closed
    idle_timeout         seconds without a byte in either direction
    first_frame_timeout  seconds from the accepting to the first whole frame
    """

    takes_transports = True         # its _attach() and _detach()

    def __init__(self, *, max_connections=None, when_full="wait", idle_timeout=None, first_frame_timeout=None):
        if when_full != "wait" and when_full != "refuse":
            raise ValueError(f"when_full must be 'wait' or 'refuse', not {when_full!r}")
        self.max_connections = _checked_count(max_connections)
        self.when_full = when_full
        self.idle_timeout = _checked_seconds("idle_timeout", idle_timeout)
        self.first_frame_timeout = _checked_seconds("first_frame_timeout", first_frame_timeout)
        self.waiting = []
        self.told_at = -LOG_SECONDS

    def fill_in(self, Limits other not None):
        """Take each limit that is None from the other one. Called before the server begins to serve."""
        if self.max_connections is None:
            self.max_connections = other.max_connections
            self.when_full = other.when_full
        if self.idle_timeout is None:
            self.idle_timeout = other.idle_timeout
        if self.first_frame_timeout is None:
            self.first_frame_timeout = other.first_frame_timeout

    @property
    def is_set(self):
        """True if there is any limit."""
        return (self.max_connections, self.idle_timeout, self.first_frame_timeout) != (None, None, None)

    def statistics(self):
        """A ServerStatistics as of now."""
        idle, first = self.watches if self.watches is not None else (None, None)
        return ServerStatistics(
            self.connections, self.accepted, self.refused, self.filled, self._closed_by(idle), self._closed_by(first))

    cdef Py_ssize_t _closed_by(self, Watch watch) noexcept:
        return 0 if watch is None else watch.closed

    # --- what listeners call ----------------------------------------------------------------------------

    cdef int enter(self, Reactor reactor, object server) except -1:
        """Another socket of the server begins to accept."""
        if self.watches is None:
            self.reactor = reactor
            self.server = ref(server)
            self.most = PY_SSIZE_T_MAX if self.max_connections is None else self.max_connections
            self.refuses = self.when_full == "refuse"
            self.watches = [_new_watch(IdleWatch, self, self.idle_timeout),
                            _new_watch(FirstFrameWatch, self, self.first_frame_timeout)]
            _all_limits.add(self)
        self.listeners += 1
        return 0

    cdef int leave(self, callback) except -1:
        """One of its sockets accepts no more. `callback` is what it may have given to wait()."""
        self.listeners -= 1
        if callback in self.waiting:
            self.waiting.remove(callback)
        return self._end_timers()

    cdef bint is_full(self) noexcept:
        return self.connections >= self.most

    cdef int note_full(self) except -1:
        """A connection has come while the server is full."""
        cdef double now = self.reactor.loop.time()
        self.filled += 1
        if now - self.told_at >= LOG_SECONDS:
            self.told_at = now
            logger.warning("%r has %d connections, the most that it may have: others %s", self.server(),
                           self.connections, "are refused" if self.refuses else "wait")
        return 0

    cdef int refuse(self, int fd) except -1:
        """Close a connection that was just accepted. The peer reads the end, or a reset if it has sent something."""
        poolio_close(fd)
        self.refused += 1
        if not self.has_refused:
            self.has_refused = True
            return self.note_full()
        return 0

    cdef int wait(self, callback) except -1:
        """Call this when there is room for another connection."""
        self.waiting.append(callback)
        return 0

    cdef int _call_waiting(self) except -1:
        if self.waiting and not self.is_full():
            waiting, self.waiting = self.waiting, []
            for callback in waiting:
                callback()
        return 0

    # --- what transports call ---------------------------------------------------------------------------

    def _attach(self, StreamTransport transport not None):
        enter_server(transport, self.server())
        transport.state |= ACTIVE
        self.connections += 1
        self.accepted += 1
        for watch in self.watches:
            if watch is not None:
                (<Watch>watch).start(self)

    def _detach(self, StreamTransport transport not None):
        self.connections -= 1
        self.has_refused = False
        server = self.server()
        try:
            if server is not None:
                leave_server(transport, server)
        finally:
            self._call_waiting()
            self._end_timers()

    cdef int _end_timers(self) except -1:
        """Let a server that has ended be forgotten at once, and not when the next look is due."""
        cdef Watch watch
        if self.listeners == 0 and self.connections == 0:
            for watch in self.watches:
                if watch is not None and watch.timer is not None:
                    watch.timer.cancel()
                    watch.timer = None
        return 0

    def _after_fork(self):
        """In the child: the connections are the parent's, and there is room for others."""
        cdef Claimant one
        cdef PyObject *listed = NULL if self.reactor is None else self.reactor.first_claimant
        while listed != NULL:
            one = <Claimant>listed
            if type(one) is StreamTransport and (<StreamTransport>one).server is self:
                (<StreamTransport>one).server = self.server()
            listed = one.next_claimant
        self.connections = 0
        self._call_waiting()


for _kind in (Watch, IdleWatch, FirstFrameWatch):
    forbid_new(_kind)


cdef Watch _new_watch(kind, Limits limits, seconds):
    cdef Watch watch = None
    if seconds is not None:
        watch = IdleWatch.__new__(IdleWatch) if kind is IdleWatch else FirstFrameWatch.__new__(FirstFrameWatch)
        watch.limits = ref(limits)
        watch.seconds = seconds
        watch.period = ceil(watch.seconds / LOOKS * 1000) / 1000    # whole milliseconds, as uvloop rounds down to them
    return watch


cdef object _checked_count(value):
    if value is None:
        return None
    if type(value) is bool or not hasattr(type(value), "__index__"):
        raise TypeError(f"max_connections must be a whole number or None, not {value!r}")
    if not 1 <= value <= MAX_CONNECTIONS:
        raise ValueError(f"max_connections must be 1 to {MAX_CONNECTIONS}, or None for no limit, not {value!r}")
    return value.__index__()


cdef object _checked_seconds(name, value):
    if value is None:
        return None
    if type(value) is bool or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds or None, not {value!r}")
    if not MIN_TIMEOUT <= value <= MAX_TIMEOUT:         # false for nan
        raise ValueError(
            f"{name} must be {MIN_TIMEOUT:g} to {MAX_TIMEOUT:.0f} seconds, or None for no limit, not {value!r}")
    return float(value)


def heard_a_handshake(transport):
    """Called when a TLS handshake has ended and nothing has come behind it: what was heard was not for the protocol."""
    if type(transport) is StreamTransport:
        (<StreamTransport>transport).state &= ~<unsigned int>HEARD


def note_first_frame(transport):
    """Called before another protocol takes over above TLS, as a transport does by itself without."""
    if type(transport) is StreamTransport:
        (<StreamTransport>transport).note_first_frame()


def _after_fork_in_child():
    for limits in list(_all_limits):
        limits._after_fork()


if hasattr(os, "register_at_fork"):             # after the reactor's, so that there is an epoll instance again
    os.register_at_fork(after_in_child=_after_fork_in_child)
