"""Owns the epoll instance of a loop: which descriptors are waited for, and one compiled pass over those that are ready.

Refuses to know what a source does when it is ready (transports, listeners) and what waits for it (the selector of
poolio.EventLoop, or any loop's add_reader). Called by either of these, and by sources: set_interest(), mark_dirty().

One epoll_wait answers for all connections. A loop that is not poolio's watches one descriptor: the epoll instance
itself, which is readable while any of its sources is ready.

    loop ── add_reader(epoll_fd) ──> on_readable() ──> handle_ready() ──> source.on_ready(events) ──> callback
                                                                      └─> dirty sources: on_callback_end()

Callbacks may close, pause or replace any connection of the batch: an event carries the ticket of its registration, and
is dropped if the source at that descriptor has another ticket by now, as when the number was used again. epoll is
level-triggered: what a pass does not read is reported again, so a source may read a little in each pass, and be fair to
the others. A source without interest is taken out of epoll, or an error on it would be reported for ever.

What a callback writes is sent when it ends. The source whose callback it is sends its own writes; the others that it
has written to are dirty, and on_callback_end() lets them send theirs.

In debug mode the reactor times what it calls, as no handle of the loop's stands for it, and logs what takes longer than
the loop's slow_callback_duration, in asyncio's words. What is timed within something else is left out of its time.

Callbacks that were scheduled before an event was found run before it, as on asyncio. The steps of an accepted
connection are deferred to the loop's next turns (defer()). A turn that has nothing else is made here (run_deferred()).

When a callback forks or runs a loop, what waits for its end is sent before. A loop that a callback runs serves all
connections, also the callback's own: a context that is entered can't be entered again, so a copy of it is used
meanwhile (enter_context(), free_context()). A loop that is not poolio's does not tell that a callback runs it. It is
noticed by a Handle that lies first among the loop's callbacks while a pass is made (make_pass()).

The child of a fork has an epoll instance of its own, under the same number, and never touches the parent's. It waits
there for the loop's own descriptors and for its listeners; connections stay the parent's. A loop that is not poolio's
still watches the parent's instance, so the bell hangs itself up again in the loop's next turn, if the loop goes on in
the child at all.
"""

import os
import sys
from asyncio import Handle
from asyncio.log import logger
from contextlib import suppress
from weakref import WeakSet, WeakValueDictionary, ref

cimport cython
from cpython.exc cimport PyErr_CheckSignals, PyErr_Clear
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject_Size
from libc.errno cimport EINTR, ENOENT
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from poolio.c.net cimport (
    POOLIO_HAS_EPOLL, poolio_close, poolio_epoll_create, poolio_epoll_renew, poolio_epoll_set, poolio_epoll_wait,
    poolio_event, poolio_event_data, poolio_now,
)
from poolio.c.python cimport PyContext_Copy, PyContext_Enter, PyContext_Exit, PyList_GET_ITEM, PyList_GET_SIZE
from poolio.c.turns cimport poolio_length
from poolio.wire.schedule cimport run_first_of

cdef enum:
    # Passes for each call by one of asyncio's own loops, while it has no callback that comes first. A turn of such a
    # loop costs 10,000 to 20,000 instructions, which several passes share. uvloop does not show its callbacks: it has
    # one pass.
    ROUNDS = 4

HAS_EPOLL = bool(POOLIO_HAS_EPOLL)      # False: no Reactor can be made

# id(loop) -> Reactor. A Reactor keeps its loop alive, so an id here is never that of a later object.
cdef object _reactors = WeakValueDictionary()
cdef object _all_reactors = WeakSet()


cdef class Source:

    def __cinit__(self):
        self.fd = -1

    cdef int on_ready(self, unsigned int events) except -1:
        raise NotImplementedError

    cdef int on_callback_end(self) except -1:
        return 0

    cdef int on_failure(self, exc) except -1:
        raise exc

    cdef object callee(self):
        return None


cdef class Reactor:

    def __init__(self, loop=None):
        self.epoll_fd = -1
        if not POOLIO_HAS_EPOLL:
            raise NotImplementedError(
                f"poolio's own transports and event loop need Linux's epoll, which {sys.platform} has not; "
                "poolio.Protocol works here on the loop's transports: loop.create_server(YourProtocol, ...)"
            )
        self.sources = []
        self.handle_type = Handle
        self.loop = loop
        self.epoll_fd = _made_epoll(poolio_epoll_create())
        _all_reactors.add(self)

    def __dealloc__(self):
        PyMem_Free(self.endpoints)
        if self.epoll_fd >= 0:
            poolio_close(self.epoll_fd)

    def fileno(self):
        """The descriptor of the epoll instance, readable while any source is ready; -1 once closed."""
        return self.epoll_fd

    cdef object close(self):
        """Wait for nothing any more. The sources stay as they are, but no event reaches them."""
        if self.epoll_fd >= 0:
            for source in self.sources:
                if source is not None:
                    (<Source>source).interest = 0
            self.sources = []
            self.source_count = 0
            self.seen_count = 0
            poolio_close(self.epoll_fd)
            self.epoll_fd = -1

    cdef int set_interest(self, Source source, unsigned int events) except -1:
        """Wait for these events of the source, and keep it alive meanwhile; 0 takes it out. OSError if epoll fails."""
        cdef int result
        cdef list sources = self.sources
        if source.interest != 0 and (source.fd >= len(sources) or sources[source.fd] is not source):
            source.interest = 0      # others have closed its descriptor, which is another source's by now
        if source.interest == events or self.epoll_fd < 0:
            return 0
        if source.interest == 0:
            while len(sources) <= source.fd:    # before epoll knows the source, as there may be no memory for this
                sources.append(None)
            self.last_ticket += 1
            source.ticket = self.last_ticket
        result = self._register(source, source.interest, events)
        if result < 0 and events != 0:
            raise OSError(-result, f"epoll_ctl: {os.strerror(-result)}")
        if source.interest == 0:
            self.source_count += sources[source.fd] is None
            sources[source.fd] = source
        elif events == 0:
            self.source_count -= sources[source.fd] is not None
            sources[source.fd] = None
        source.interest = events
        return 0

    cdef int _register(self, Source source, unsigned int before, unsigned int after) noexcept:
        """Tell epoll; returns a negated errno if it refuses.

        A descriptor that epoll has forgotten was closed, and its number is another file's by now: epoll waits for that
        file instead.
        """
        cdef uint64_t data = (<uint64_t>source.ticket << 32) | <unsigned int>source.fd
        cdef int result = poolio_epoll_set(self.epoll_fd, source.fd, before, after, data)
        if result == -ENOENT and before != 0 and after != 0 and source.only_notes:
            result = poolio_epoll_set(self.epoll_fd, source.fd, 0, after, data)
        return result

    cdef int renew(self, Source source) except -1:
        """Wait for the same events as before, even if others have closed the descriptor and opened it again."""
        cdef unsigned int events = source.interest
        cdef int result
        if events == 0 or source.fd >= len(self.sources) or self.sources[source.fd] is not source:
            return self.set_interest(source, events)
        result = self._register(source, events, events)
        if result < 0:
            raise OSError(-result, f"epoll_ctl: {os.strerror(-result)}")
        return 0

    cdef int end_callback(self) except -1:
        """Call on_callback_end() of the sources that the callback has marked dirty."""
        cdef Source source
        while self.dirty is not None:
            source = self.dirty
            self.dirty = source.next_dirty
            source.next_dirty = None
            source.is_dirty = False
            try:
                source.on_callback_end()
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                source.on_failure(exc)
        return 0

    cdef int handle_ready(self, int milliseconds) except -1:
        """Make one pass: wait, then let each ready source act. Returns how many events there were."""
        cdef poolio_event events[BATCH]
        cdef int count
        if self.current != NULL:                # a callback runs a loop of its own
            self.interrupt_callback()
        if milliseconds == 0:
            count = poolio_epoll_wait(self.epoll_fd, events, BATCH, 0)
        else:
            count = self._sleep(events, milliseconds)
        return self._handle(events, self._waited(count))

    cdef int _sleep(self, poolio_event *events, int milliseconds) except? -1:
        """Wait for events; meanwhile `sleeping` tells other threads to wake the loop, see waker."""
        cdef int count
        self.sleeping = True
        if self.acts_in_select and PyObject_Size(self.callbacks) > 0:
            milliseconds = 0            # another thread has just added it
        with nogil:
            count = poolio_epoll_wait(self.epoll_fd, events, BATCH, milliseconds)
        self.sleeping = False
        return count

    cdef int look(self) except -1:
        """Keep what is ready for handle_seen(); returns how many events. Sources that only note events do so now."""
        cdef int count, i
        cdef Source source
        if self.current != NULL:
            self.interrupt_callback()
        count = self._waited(poolio_epoll_wait(self.epoll_fd, self.seen, BATCH, 0))
        self.seen_count = 0
        for i in range(count):
            source = self._source_of(&self.seen[i])
            if source is not None and source.only_notes:
                source.on_ready(self.seen[i].events)
            elif source is not None:
                self.seen[self.seen_count] = self.seen[i]
                self.seen_count += 1
        return self.seen_count

    cdef Source _source_of(self, poolio_event *event):
        """The source of an event; None if it has gone since, or if its descriptor is another source's by now."""
        cdef uint64_t data = poolio_event_data(event)
        cdef Py_ssize_t fd = <unsigned int>data
        cdef Source source = self.sources[fd] if fd < len(self.sources) else None
        return source if source is not None and source.ticket == <unsigned int>(data >> 32) else None

    cdef int handle_seen(self) except -1:
        """Let each source act that was ready when look() was called."""
        cdef poolio_event events[BATCH]
        cdef int count = self.seen_count
        self.seen_count = 0
        memcpy(events, self.seen, <size_t>count * sizeof(poolio_event))
        return self._handle(events, count)

    cdef int defer(self, callback, argument, context) except -1:
        """Call callback(argument) in the loop's next turn. The callback takes 1 off `deferred` when it runs."""
        if self.schedule is not None:
            self.schedule.put(callback, argument, context)
        elif self.callbacks is None:
            self.loop.call_soon(callback, argument, context=context)
        else:
            self.callbacks.append(self.handle_type(callback, (argument,), self.loop, context))
        self.deferred += 1
        return 0

    cdef bint has_only_deferred(self) except -1:
        """True if the loop's next turn has nothing to run but what was deferred: nobody sees that it is made here."""
        if self.in_debug or self.deferred == 0 or self.callbacks is None:      # in debug mode the loop times each
            return False
        return poolio_length(self.callbacks) == self.deferred

    cdef int run_deferred(self) except -1:
        """Make such a turn: callbacks run before what is ready by now."""
        cdef int count = self.look()
        self.run_deferred_now()
        self.handle_seen()
        return count

    cdef int run_deferred_now(self) except -1:
        """The same without asking what is ready."""
        cdef Py_ssize_t _
        for _ in range(self.deferred):
            if poolio_length(self.callbacks) > 0:       # or a loop that one of them ran has run the others
                self.schedule.run_first() if self.schedule is not None else run_first_of(self.callbacks)
        return 0

    cdef int _waited(self, int count) except -1:
        if count >= 0:
            return count
        if count == -EINTR:
            return PyErr_CheckSignals()
        raise OSError(-count, f"epoll_wait: {os.strerror(-count)}")

    cdef int _handle(self, poolio_event *events, int count) except -1:
        cdef uint64_t data
        cdef Py_ssize_t fd
        cdef unsigned int ready
        cdef int i = 0
        cdef bint in_debug = self.in_debug
        cdef Source source
        while i < count:             # starts again after each source that failed
            try:
                while i < count:
                    data = poolio_event_data(&events[i])
                    fd = <unsigned int>data
                    ready = events[i].events
                    i += 1
                    if fd < PyList_GET_SIZE(<PyObject *>self.sources):
                        source = <Source>PyList_GET_ITEM(<PyObject *>self.sources, fd)
                        if source is not None and source.ticket == <unsigned int>(data >> 32):
                            self.current = <PyObject *>source
                            if in_debug:
                                self._act_timed(source, ready)
                            else:
                                source.on_ready(ready)
                            if self.current != <PyObject *>source:
                                i = count           # a loop that it ran has seen the rest; what is left comes again
                            if self.dirty is not None:
                                self.current = NULL     # it has sent its writes: what it writes now is sent at once
                                self.end_callback()
            except (SystemExit, KeyboardInterrupt):
                mark_dirty(self, source)
                raise
            except BaseException as exc:
                source.on_failure(exc)
            finally:
                self.current = NULL
                if self.dirty is not None:
                    self.end_callback()
        return count

    # --- debug mode ---------------------------------------------------------------------------------------

    cdef double clock(self) noexcept:
        """Seconds without those that were timed already; 0 unless in debug mode. Start a timing with it."""
        return poolio_now() - self.clocked if self.in_debug else 0

    cdef int tell_if_slow(self, double started, callee, source) except -1:
        """End a timing: log what was called if it took long.

        `callee` is the protocol or the task. If it is None, the source itself is named.
        """
        cdef double seconds
        if not self.in_debug or started == 0:   # it was switched meanwhile
            return 0
        seconds = self.clock() - started
        self.clocked += seconds
        if seconds >= self.loop.slow_callback_duration:
            if callee is None:
                logger.warning("Executing %s took %.3f seconds", repr(source), seconds)
            else:                               # its repr() is the user's: if that fails, logging says so
                logger.warning("Executing %r on %s took %.3f seconds", callee, repr(source), seconds)
        return 0

    cdef int _act_timed(self, Source source, unsigned int events) except -1:
        cdef double started = self.clock()
        callee = source.callee()                # before it can be replaced
        try:
            source.on_ready(events)
        finally:
            self.tell_if_slow(started, callee, source)
        return 0

    cdef int put_endpoint(self, Source endpoint) except -1:
        """Let endpoint_at() find it, whether it is waited for or not, until remove_endpoint()."""
        cdef Py_ssize_t room = endpoint.fd + (endpoint.fd >> 3) + 16    # an eighth more than needed, as a list takes
        cdef PyObject **endpoints
        if endpoint.fd >= self.endpoints_room:
            endpoints = <PyObject **>PyMem_Realloc(self.endpoints, <size_t>room * sizeof(PyObject *))
            if endpoints == NULL:
                raise MemoryError(f"the system has no memory left to know {room} descriptors")
            memset(endpoints + self.endpoints_room, 0, <size_t>(room - self.endpoints_room) * sizeof(PyObject *))
            self.endpoints = endpoints
            self.endpoints_room = room
        self.endpoints[endpoint.fd] = <PyObject *>endpoint
        return 0

    cdef void remove_endpoint(self, Source endpoint) noexcept:
        if 0 <= endpoint.fd < self.endpoints_room and self.endpoints[endpoint.fd] == <PyObject *>endpoint:
            self.endpoints[endpoint.fd] = NULL

    def endpoint_at(self, fd):
        """The open transport that has this descriptor, also one that is paused; None if there is none."""
        if not 0 <= fd < self.endpoints_room or self.endpoints[<Py_ssize_t>fd] == NULL:
            return None
        return <object>self.endpoints[<Py_ssize_t>fd]

    def source_at(self, fd):
        """The source that is registered for this descriptor; None if there is none."""
        return self.sources[fd] if 0 <= fd < len(self.sources) else None

    def on_readable(self):
        """Called by a loop that is not poolio's when some source is ready."""
        cdef int number
        self.in_debug = self.get_debug()
        for number in range(1 if self.callbacks is None else ROUNDS):
            if self.epoll_fd < 0:
                break
            if self.has_only_deferred():
                self.run_deferred()
            elif number > 0 and PyObject_Size(self.callbacks) > 0:
                break                           # these come before what is ready by now, as on asyncio
            elif self.make_pass() == 0:
                break

    cdef int make_pass(self) except -1:
        """Make a pass for a loop that is not poolio's, and notice loops that callbacks run meanwhile."""
        if self.interrupting is None:
            return self.handle_ready(0)
        self.callbacks.appendleft(self.interrupting)    # the first thing that such a loop runs
        try:
            return self.handle_ready(0)
        finally:
            if PyObject_Size(self.callbacks) > 0 and self.callbacks[0] is self.interrupting:
                self.callbacks.popleft()

    def _interrupt(self):
        """Called by a loop that the running callback runs: it may call the Bell, which its Handle can't do twice."""
        bell = self.driver()
        if bell is not None and self.epoll_fd >= 0:
            self.loop.add_reader(self.epoll_fd, bell)
        self.interrupt_callback()

    cdef int interrupt_callback(self) except -1:
        """Send what the running callback has written so far; what it writes from now on is sent at once."""
        cdef PyObject *current = self.current
        self.current = NULL
        if current != NULL:
            (<Source>current).on_callback_end()
        return self.end_callback()

    def _before_fork(self):
        """Send what the callback that forks has written, or both processes would send it."""
        cdef PyObject *current = self.current
        self.interrupt_callback()
        self.current = current

    def _after_fork(self):
        """In the child: wait in an instance of its own, for the sources that are not the parent's connections."""
        cdef int number = self.epoll_fd
        if number < 0:
            return
        sources, self.sources = self.sources, []
        self.source_count = 0
        self.is_inherited = True
        self.dirty = None
        self.seen_count = 0
        self.epoll_fd = -1
        self.epoll_fd = _made_epoll(poolio_epoll_renew(number))
        for source in sources:
            if source is not None:
                self._inherit(source)
        if self.driver is not None:
            self._tell_driver(self.driver())

    cdef int _inherit(self, Source source) except -1:
        cdef unsigned int events = source.interest
        source.interest = 0
        if source.outlives_fork:
            with suppress(OSError):             # others have closed its descriptor
                self.set_interest(source, events)
        return 0

    cdef object _tell_driver(self, driver):
        if driver is not None:
            driver._after_fork()


cdef int _made_epoll(int fd) except -1:
    if fd < 0:
        raise OSError(-fd, f"epoll_create1: {os.strerror(-fd)}")
    return fd


@cython.nonecheck(True)             # it can be made by __new__() alone
cdef class Bell:
    """What a loop that is not poolio's calls when some source is ready. The loop drops it when it is closed, and the
    reactor ends then: the loop has no other way to tell.
    """

    cdef object __weakref__
    cdef Reactor reactor

    def __call__(self):
        self.reactor.on_readable()

    def _after_fork(self):
        """Called by the reactor in the child of a fork."""
        with suppress(RuntimeError):            # the loop is closed, or runs in a thread that the child has not
            self.reactor.loop.call_soon(self._hang_again)

    def _hang_again(self):
        """The loop goes on in the child: let it watch the child's epoll instance, in place of the parent's."""
        number = self.reactor.epoll_fd
        if number >= 0:
            self.reactor.loop.remove_reader(number)     # unknown to epoll under this number, so this only forgets it
            self.reactor.loop.add_reader(number, self)

    def __del__(self):
        if self.reactor is None:            # made by __new__() alone
            return
        adapter, self.reactor.adapter = self.reactor.adapter, None
        if adapter is not None:
            adapter._forget_listeners()
        self.reactor.close()


cpdef Reactor reactor_of(object loop):
    """The reactor of this loop: its selector's, or another that the loop watches, made if there is none."""
    cdef Reactor reactor
    cdef Bell bell
    existing = _reactors.get(id(loop))
    if existing is not None:
        return existing
    reactor = Reactor(loop)
    reactor.transports = getattr(loop, "_transports", None)
    reactor.callbacks = getattr(loop, "_ready", None)
    bell = Bell.__new__(Bell)
    bell.reactor = reactor
    reactor.driver = ref(bell)
    reactor.get_debug = loop.get_debug
    loop.add_reader(reactor.epoll_fd, bell)
    if reactor.callbacks is not None:
        reactor.interrupting = Handle(reactor._interrupt, (), loop)
    _reactors[id(loop)] = reactor
    return reactor


cdef object adopt(Reactor reactor, object loop):
    """Make this the reactor of a loop whose selector drives it."""
    reactor.loop = loop
    reactor.driver = ref(loop)
    reactor.callbacks = loop._ready
    reactor.handle_type = loop._handle_type
    reactor.acts_in_select = True
    reactor.schedule = loop
    _reactors[id(loop)] = reactor


cdef object enter_copy(object context):
    """Enter a copy of a context that PyContext_TryEnter() could not enter."""
    PyErr_Clear()
    copy = PyContext_Copy(context)
    PyContext_Enter(<PyObject *>copy)
    return copy


cdef object free_context(object context):
    """The context for a callback that the loop calls: a copy if it is entered, as the loop may run in a callback."""
    if PyContext_TryEnter(<PyObject *>context) < 0:
        PyErr_Clear()
        return PyContext_Copy(context)
    PyContext_Exit(<PyObject *>context)
    return context


def _before_fork_in_parent():
    for reactor in list(_all_reactors):
        reactor._before_fork()


def _after_fork_in_child():
    for reactor in list(_all_reactors):
        reactor._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork_in_parent, after_in_child=_after_fork_in_child)
