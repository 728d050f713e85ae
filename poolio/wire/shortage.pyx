"""Owns what happens when a pool has no memory to read into: what waits for it, and what is closed at last.

Refuses to know what a claimant is (endpoint) and how memory is found (readslab). Called by endpoints: wait_for_room()
when there is no memory to read into, enter_list() and leave_list() at their beginning and end. Everything on a reactor
that may hold memory is on the reactor's list of claimants.

    no memory ──> wait_for_room() ──> every RETRY_SECONDS: is there room? ──> room_again() of all that wait
                                  └─> after PATIENCE_SECONDS: the claimant that holds most of the pool is closed

Memory may come back in any thread, so a timer looks for it, and an allocation that ends need not tell. If the memory
does not come back, the claimant that holds most of it (partial frames, unread bytes, write queues) is closed with
PoolExhausted, and after another PATIENCE_SECONDS the next. If no claimant holds any, one that waits is closed; but a
datagram endpoint endures: its protocol is told, and it waits on.
"""

from cpython.object cimport PyObject

from poolio.memory.pool cimport Pool
from poolio.wire.reactor cimport Reactor, Source
from poolio.wire.readslab cimport ReadSlab

from poolio.memory.methods import forbid_new

cdef double RETRY_SECONDS = 0.01
PATIENCE_SECONDS = 5.0


cdef class Claimant(Source):

    cdef Py_ssize_t holds_of(self, Pool pool) except -1:
        return 0

    cdef int room_again(self) except -1:
        return 0

    cdef bint is_over(self) noexcept:
        return False

    cdef bint endures(self, exc) except -1:
        return False

    cdef int fail(self, exc, message) except -1:
        raise NotImplementedError


cdef void enter_list(Claimant claimant, Reactor reactor) noexcept:
    """SAFE: the list borrows; a claimant leaves it at its end, in __del__() at the latest."""
    claimant.reactor = reactor
    claimant.next_claimant = reactor.first_claimant
    if reactor.first_claimant != NULL:
        (<Claimant>reactor.first_claimant).previous_claimant = <PyObject *>claimant
    reactor.first_claimant = <PyObject *>claimant
    claimant.is_listed = True


cdef void leave_list(Claimant claimant) noexcept:
    if not claimant.is_listed:
        return
    claimant.is_listed = False
    if claimant.previous_claimant != NULL:
        (<Claimant>claimant.previous_claimant).next_claimant = claimant.next_claimant
    else:
        claimant.reactor.first_claimant = claimant.next_claimant
    if claimant.next_claimant != NULL:
        (<Claimant>claimant.next_claimant).previous_claimant = claimant.previous_claimant
    claimant.next_claimant = claimant.previous_claimant = NULL


cdef Claimant _holder_of_most(Reactor reactor, Pool pool):
    """The claimant of this reactor that holds most of the pool; None if none holds any.

    It need not be one that waits: often a paused connection holds much.
    """
    cdef Claimant most = None
    cdef Claimant one
    cdef PyObject *listed = reactor.first_claimant
    cdef Py_ssize_t held, most_held = 0
    while listed != NULL:
        one = <Claimant>listed              # keeps it alive until its successor is known
        if not one.is_over() and (one.interest != 0 or not reactor.is_inherited):
            held = one.holds_of(pool)
            if held > most_held:
                most = one
                most_held = held
        listed = one.next_claimant          # NULL also if it has left the list just now: the rest is not asked then
    return most


cdef class Shortage:
    """The claimants of one loop that wait for memory of one pool."""

    cdef ReadSlab slab
    cdef list waiting
    cdef double since           # the beginning on the loop's clock; set anew when a claimant is to be closed

    def __init__(self):
        raise TypeError("a Shortage is made when a pool has no memory")

    def _look(self):
        cdef Claimant claimant
        if self.slab.make_room():
            self.slab.shortage = None
            for claimant in self.waiting:
                try:
                    claimant.room_again()
                except Exception as exc:
                    claimant.fail(exc, "Fatal error on transport")
            return
        try:
            if self.slab.loop.time() - self.since > PATIENCE_SECONDS:
                self.since = self.slab.loop.time()
                self._close_one(self.slab.refusal)
        finally:                                # whatever that raises, those that wait are looked after
            if self.waiting:
                self.slab.loop.call_later(RETRY_SECONDS, self._look)
            else:
                self.slab.shortage = None

    cdef int _close_one(self, exc) except -1:
        cdef Claimant claimant, most
        for claimant in tuple(self.waiting):
            if claimant.is_over():
                stop_waiting(claimant, self.slab)
                continue
            most = _holder_of_most(claimant.reactor, self.slab.pool)
            if claimant.endures(exc):
                if most is None or most is claimant:
                    continue
            elif most is None:
                most = claimant
            most.fail(exc, "Fatal error: the pool had no memory to read into for too long.")
            break
        return 0


forbid_new(Shortage)


cdef int wait_for_room(Claimant claimant, ReadSlab slab) except -1:
    """Call the claimant's room_again() when there is memory again."""
    cdef Shortage shortage = slab.shortage
    if shortage is None:
        shortage = Shortage.__new__(Shortage)
        shortage.slab = slab
        shortage.waiting = []
        shortage.since = slab.loop.time()
        slab.loop.call_later(RETRY_SECONDS, shortage._look)
        slab.shortage = shortage
    shortage.waiting.append(claimant)
    return 0


cdef int stop_waiting(Claimant claimant, ReadSlab slab) except -1:
    """Let the claimant wait no more: it needs no room of this slab."""
    cdef Shortage shortage = slab.shortage
    if shortage is not None and claimant in shortage.waiting:
        shortage.waiting.remove(claimant)
    return 0
