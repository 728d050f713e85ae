# Source: a descriptor that is waited for. Reactor: all sources of a loop, in one epoll instance. See reactor.pyx.

from cpython.object cimport PyObject

from poolio.c.net cimport poolio_event
from poolio.c.python cimport PyContext_TryEnter
from poolio.wire.schedule cimport Schedule

cdef enum:
    BATCH = 256             # events of one pass, 3 KiB; more are reported by the next one


cdef class Source:
    # fd: -1 once closed. interest: the epoll events asked for; 0: not registered
    cdef int fd
    cdef unsigned int interest
    cdef unsigned int ticket       # of this registration; events that carry another one are stale
    cdef bint only_notes           # its on_ready() only notes the events and runs no callback
    cdef bint outlives_fork        # the child of a fork waits for it too; connections stay the parent's
    # while the source is to act at the end of the running callback
    cdef bint is_dirty
    cdef Source next_dirty

    # The reactor calls this when these events of its interest, or an error, have happened
    cdef int on_ready(self, unsigned int events) except -1
    # The reactor calls this at the end of a callback in which the source was marked dirty; and when the source's own
    # callback forks or runs a loop
    cdef int on_callback_end(self) except -1
    # The reactor calls this with what one of them has raised; but KeyboardInterrupt and SystemExit end the pass
    cdef int on_failure(self, exc) except -1
    # What debug mode names if it takes long: the protocol or task to be called, or None for the source itself
    cdef object callee(self)


cdef class Reactor:
    cdef object __weakref__
    cdef readonly object loop
    cdef object driver             # weakly, what calls it: poolio's own loop, or a Bell; None: not known yet
    cdef public object adapter     # asyncio's code that connects, serves and starts TLS here; None until somebody asks
    cdef object callbacks          # the loop's callbacks that are to run next, of a loop that shows them; None: uvloop
    cdef Py_ssize_t deferred       # how many of them were deferred here; each counts itself out when it runs
    cdef object interrupting       # the Handle that notices a loop run by a callback; None: acts_in_select, uvloop
    cdef Schedule schedule         # the loop, if it is poolio's; None: another one
    cdef object handle_type        # makes a callback for the loop: asyncio's Handle, or the one of poolio's loop
    cdef bint acts_in_select       # sources act before the callbacks of a turn: the selector of poolio.EventLoop
    cdef object transports         # the weak mapping descriptor -> transport of asyncio's own loops; None on others
    cdef PyObject *first_claimant  # of the list of claimants, borrowed; NULL: there is none. See shortage
    cdef PyObject **endpoints      # by descriptor, borrowed; NULL: none. They put themselves in and out
    cdef Py_ssize_t endpoints_room
    cdef int epoll_fd              # -1: closed
    cdef public object tls_room    # what its TLS connections are read into, one after another; None before the first
    cdef list sources              # descriptor -> the registered source, kept alive by this; None: there is none
    cdef Py_ssize_t source_count   # how many there are
    cdef bint sleeping             # it waits without the GIL: who has something for the loop wakes it. See waker
    cdef unsigned int last_ticket
    cdef bint is_inherited         # this process is the child of a fork: sources from before it are the parent's
    # The source whose callback is running. It sends its own writes when the callback ends; other sources that have
    # something to do then are listed in `dirty`
    cdef PyObject *current         # borrowed; NULL: no callback is running
    cdef Source dirty
    # debug mode: what takes long is logged. Read once a pass, so that nothing else costs anything while it is off
    cdef public bint in_debug
    cdef object get_debug          # asks a loop that is not poolio's; poolio's says so itself
    cdef double clocked            # seconds of all that was timed so far
    # what look() has found and handle_seen() has not handled yet
    cdef poolio_event seen[BATCH]
    cdef int seen_count

    cdef int put_endpoint(self, Source endpoint) except -1
    cdef void remove_endpoint(self, Source endpoint) noexcept
    cdef int set_interest(self, Source source, unsigned int events) except -1
    cdef int renew(self, Source source) except -1
    cdef int _inherit(self, Source source) except -1
    cdef object _tell_driver(self, driver)
    cdef int _register(self, Source source, unsigned int before, unsigned int after) noexcept
    cdef int end_callback(self) except -1
    cdef int interrupt_callback(self) except -1
    cdef int handle_ready(self, int milliseconds) except -1
    cdef int _sleep(self, poolio_event *events, int milliseconds) except? -1
    cdef double clock(self) noexcept
    cdef int tell_if_slow(self, double started, callee, source) except -1
    cdef int _act_timed(self, Source source, unsigned int events) except -1
    cdef Source _source_of(self, poolio_event *event)
    cdef int defer(self, callback, argument, context) except -1
    cdef bint has_only_deferred(self) except -1
    cdef int run_deferred(self) except -1
    cdef int run_deferred_now(self) except -1
    cdef int make_pass(self) except -1
    cdef int look(self) except -1
    cdef int handle_seen(self) except -1
    cdef int _waited(self, int count) except -1
    cdef int _handle(self, poolio_event *events, int count) except -1
    cdef object close(self)


cdef inline void mark_dirty(Reactor reactor, Source source) noexcept:
    """Let a source act when the running callback ends. It is called once then, however often it was marked."""
    if not source.is_dirty:
        source.is_dirty = True
        source.next_dirty = reactor.dirty
        reactor.dirty = source


cdef inline object enter_context(object context):
    """Enter the context of a connection, or a copy while one of its callbacks runs a loop; return what to exit."""
    if PyContext_TryEnter(<PyObject *>context) < 0:
        return enter_copy(context)
    return context


cdef object enter_copy(object context)
cdef object free_context(object context)
cpdef Reactor reactor_of(object loop)
cdef object adopt(Reactor reactor, object loop)
