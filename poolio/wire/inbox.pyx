"""Owns a batch of datagrams between the kernel and the protocol: where each is read to, packed, and made an object.

Refuses to know sockets' options and protocols (datagram), and sending (outbox). Called by the datagram transports of
one loop, one after another: a batch belongs to the transport that has read it until its datagrams are in a list.

    recvmmsg ──> slots in the tail of the read slab        [ a       ][ b       ][ c       ][ ...
                 packed: moved together, 8-byte aligned    [ a ][ b     ][ c ]
                 claimed, in one step                      each an allocation, and (Buffer, address) in the list

A call for many datagrams must bring room for each beforehand, and a datagram or train can have 64 KiB. So a slot is as
large as what has come lately, and behind it each message has a share of the overflow. The overflow belongs to the loop;
its memory is given back to the system after each batch that needed it. A message that spills into the overflow is
copied out, and the next slots are larger.

Where datagrams come one by one, one is asked for, with recvmsg into all of the room, and nothing is packed:
receive_alone(). Who wants batches gets it from take_alone(); what is not plain goes the way of a batch of one.

Between the system call and the claim nothing runs that could use the same slab. A unix socket can send more than a slot
and a share hold: such a datagram was cut, and is never shown.
"""

import errno
import os
from weakref import WeakValueDictionary

from cpython.bytes cimport PyBytes_AS_STRING
from libc.string cimport memcpy, memmove

from poolio.c.datagrams cimport (
    POOLIO_BATCH, POOLIO_OVERFLOW, poolio_batch_is_cut, poolio_batch_is_from, poolio_batch_prepare,
    poolio_batch_receive, poolio_batch_receive_one, poolio_batch_same_sender, poolio_batch_sender, poolio_batch_size,
    poolio_batch_train, poolio_overflow_forget, poolio_overflow_map, poolio_overflow_unmap,
)
from poolio.c.faults cimport poolio_fails, poolio_new_bytes
from poolio.c.net cimport poolio_address
from poolio.memory.allocation cimport new_holder
from poolio.memory.buffer cimport Buffer, slice_of
from poolio.memory.pool cimport Pool
from poolio.memory.slab cimport ON_RELEASE, Slab, aligned, leave_slab, wipe
from poolio.wire.address cimport recent_address
from poolio.wire.readslab cimport ReadSlab

from poolio.errors import PoolExhausted

cdef enum:
    FEW = 4                     # messages that a call asks for at least: preparing for 32 takes 300 instructions more
    LOCAL_BATCH = 4             # messages of a unix socket's batch: they can be longer, so each has 512 KiB of overflow
    SMALLEST_SLOT = 64          # bytes: a cache line
    DECAY = 8                   # after each batch slots shrink by an eighth of what was too much
    NOT_THERE = -1

# id(reactor) -> Inbox. Every datagram transport keeps both alive, so an id here is never that of a later object.
cdef object _inboxes = WeakValueDictionary()


cdef class Inbox:

    def __cinit__(self):
        poolio_batch_prepare(&self.batch)
        self.overflow = NULL if poolio_fails() else poolio_overflow_map()
        if self.overflow == NULL:
            raise MemoryError(f"the system has no room of {POOLIO_OVERFLOW} bytes for datagrams")
        self.spilled = []
        self.errors = []

    def __dealloc__(self):
        if self.overflow != NULL:
            poolio_overflow_unmap(self.overflow)

    cdef int receive(self, int fd, char *room, Py_ssize_t size, bint is_local, Received *received) except? -4096:
        cdef int count
        self.is_local = is_local
        forget_spilled(self)
        self.slot = min(received.expected, size & ~<Py_ssize_t>7)
        self.most = LOCAL_BATCH if is_local else POOLIO_BATCH
        self.share = POOLIO_OVERFLOW // self.most
        self.most = <int>min(<Py_ssize_t>min(self.most, received.burst), size // self.slot)
        self.count = 0
        count = poolio_batch_receive(&self.batch, fd, self.most, is_local, room, <size_t>self.slot, self.overflow,
                                     <size_t>self.share)
        if count > 0:
            received.burst = max(FEW, 2 * count) if count < self.most else POOLIO_BATCH
            self.count = count
            received.reads += 1
            self._pack(room, received)
        return count

    cdef int receive_alone(self, int fd, char *room, Py_ssize_t size, bint is_local, Received *received) except? -4096:
        cdef Message *message = &self.messages[0]
        cdef int count
        self.is_local = is_local
        forget_spilled(self)
        self.slot = size & ~<Py_ssize_t>7
        self.share = POOLIO_OVERFLOW // (LOCAL_BATCH if is_local else POOLIO_BATCH)
        self.count = 0
        count = poolio_batch_receive_one(
            &self.batch, fd, is_local, room, <size_t>self.slot, self.overflow, <size_t>self.share)
        if count > 0:
            self.count = count
            received.reads += 1
            message.length = poolio_batch_size(&self.batch, 0)
            message.train = 0 if is_local else poolio_batch_train(&self.batch, 0)
            self.is_plain = message.train == 0 and 0 < message.length <= self.slot
            if self.is_plain and message.length <= received.expected:
                message.start = 0               # all that _pack() would do
                self.extent = message.length
                self.end = aligned(message.length)
            else:
                self._pack(room, received)
        return count

    cdef tuple take_alone(self, ReadSlab reader, char *room, Received *received):
        cdef Py_ssize_t length = self.messages[0].length
        cdef Slab *slab = reader.claim(length, length, 1)
        cdef tuple item = (new_holder(reader.pool, slab, room, length), self._sender_alone())
        received.bytes += length
        received.datagrams += 1
        reader.look_after_timer()
        return item

    cdef int _pack(self, char *room, Received *received) except -1:
        """Move the messages together. A message that was longer than its slot is copied out (_spill)."""
        cdef Py_ssize_t length, largest = 0
        cdef Py_ssize_t end = 0
        cdef char *slot = room
        cdef Message *message
        cdef int i
        for i in range(self.count):
            message = &self.messages[i]
            length = message.length = poolio_batch_size(&self.batch, i)
            message.train = 0 if self.is_local else poolio_batch_train(&self.batch, i)
            largest = max(largest, length)
            if length <= self.slot and message.train >= 0:
                message.start = end
                if slot != room + end:
                    memmove(room + end, slot, <size_t>length)
                self.extent = slot - room + length
                end += aligned(length)
            else:
                message.start = NOT_THERE
                self.extent = slot - room + self.slot
                self._spill(i, slot, length)
            slot += self.slot
        self.end = end
        if largest > received.expected:
            received.expected = aligned(largest)
        else:
            received.expected = max(
                <Py_ssize_t>SMALLEST_SLOT, aligned(received.expected - (received.expected - largest) // DECAY))
        if self.spilled:
            poolio_overflow_forget(self.overflow)
        return 0

    cdef int _spill(self, int i, const char *slot, Py_ssize_t length) except -1:
        if poolio_batch_is_cut(&self.batch, i) or self.messages[i].train < 0:
            self.spilled.append(None)
            return 0
        copy = poolio_new_bytes(NULL, length)
        memcpy(PyBytes_AS_STRING(copy), slot, <size_t>self.slot)
        memcpy(PyBytes_AS_STRING(copy) + self.slot, self.overflow + i * self.share, <size_t>(length - self.slot))
        self.spilled.append(copy)
        return 0

    cdef int take_buffers(self, list items, ReadSlab reader, char *room, Received *received) except -1:
        """Append (Buffer, address) of each datagram. A message is an allocation, a train's datagrams are its slices."""
        cdef Pool pool = reader.pool
        cdef Py_ssize_t before = len(items)
        cdef Message *message
        cdef Buffer buf
        cdef int i, made = 0, there = 0
        address = None
        for i in range(self.count):
            there += self.messages[i].start != NOT_THERE and self.messages[i].length > 0
        if pool.zeroing_mode == ON_RELEASE:
            self._wipe_gaps(room)
        cdef Slab *slab = reader.claim(self.end, self.extent, there)
        try:
            for i in range(self.count):
                message = &self.messages[i]
                if address is None or not poolio_batch_same_sender(&self.batch, i):
                    address = self._sender(i)
                if message.start == NOT_THERE:
                    buf = self._placed(pool, message, received)
                    if buf is None:
                        continue
                elif message.length == 0:
                    buf = pool.allocate(0)
                else:
                    made += 1
                    buf = <Buffer>new_holder(pool, slab, room + message.start, message.length)
                received.bytes += message.length
                if message.train == 0:
                    items.append((buf, address))
                else:
                    self._cut_up(items, buf, message, address)
        finally:
            while made < there:                 # only if a Buffer could not be made
                made += 1
                leave_slab(pool, slab)
            forget_spilled(self)
        received.datagrams += len(items) - before
        reader.look_after_timer()
        return 0

    cdef void _wipe_gaps(self, char *room) noexcept:
        """Wipe between the packed messages: old bytes of the slots may lie there, which no allocation wipes later."""
        cdef Message *message
        cdef int i
        for i in range(self.count):
            message = &self.messages[i]
            if message.start != NOT_THERE:
                wipe(room + message.start + message.length, aligned(message.length) - message.length)

    cdef int _cut_up(self, list items, Buffer buf, Message *message, address) except -1:
        cdef Py_ssize_t start = 0
        while start < message.length:
            items.append((slice_of(buf, start, min(message.train, message.length - start)), address))
            start += message.train
        return 0

    cdef Buffer _placed(self, Pool pool, Message *message, Received *received):
        """The Buffer of the next message that was longer than its slot; None if the message is lost."""
        cdef Buffer buf = None
        copy = self._next_spilled(message, received)
        if copy is not None:
            try:
                buf = pool.allocate(message.length)
                memcpy(buf.data, PyBytes_AS_STRING(copy), <size_t>message.length)
            except PoolExhausted as exc:
                received.unplaced += 1
                self.errors.append(exc)
        return buf

    cdef object _next_spilled(self, Message *message, Received *received):
        copy = self.spilled.pop(0)
        if copy is None:
            received.cut += 1
            why = (
                "the kernel could not tell where to cut it up" if message.train < 0
                else f"not more than {self.slot + self.share} could be received"
            )
            self.errors.append(OSError(errno.EMSGSIZE, f"a datagram of {message.length} bytes was lost: {why}"))
        return copy

    cdef int take_bytes(self, list items, ReadSlab reader, char *room, Received *received) except -1:
        """Append (bytes, address) of each datagram, which is copied."""
        cdef Py_ssize_t before = len(items)
        cdef Message *message
        cdef const char *data
        cdef Py_ssize_t start, each
        cdef int i
        cdef Slab *slab = reader.claim(self.end, self.extent, 1)
        try:
            for i in range(self.count):
                message = &self.messages[i]
                data = room + message.start
                if message.start == NOT_THERE:
                    copy = self._next_spilled(message, received)
                    if copy is None:
                        continue
                    data = PyBytes_AS_STRING(copy)
                address = self._sender(i)
                received.bytes += message.length
                each = message.train or message.length
                items.append((poolio_new_bytes(data, min(each, message.length)), address))
                start = each
                while start < message.length:
                    items.append((poolio_new_bytes(data + start, min(each, message.length - start)), address))
                    start += each
        finally:
            if reader.pool.zeroing_mode == ON_RELEASE:
                wipe(room, self.end)
            leave_slab(reader.pool, slab)
            forget_spilled(self)
        received.datagrams += len(items) - before
        reader.look_after_timer()
        return 0

    cdef object _sender_alone(self):
        """_sender(0), without a search if it is who sent the message before."""
        cdef poolio_address address
        cdef const char *path
        cdef Py_ssize_t length
        if self.sender is not None and poolio_batch_is_from(&self.batch, 0, &self.sent_from):
            return self.sender
        if not poolio_batch_sender(&self.batch, 0, &address, &path, &length):
            return self._sender(0)
        self.sender = recent_address(&address)
        self.sent_from = address
        return self.sender

    cdef object _sender(self, int i):
        """The address of message i's sender, as the socket module writes it; None for a unix socket without a path."""
        cdef poolio_address address
        cdef const char *path
        cdef Py_ssize_t length
        if poolio_batch_sender(&self.batch, i, &address, &path, &length):
            return recent_address(&address)
        if length <= 0:
            return None
        name = path[:length]
        return name if name[0] == 0 else os.fsdecode(name)

    cdef list take_errors(self):
        errors, self.errors = self.errors, []
        return errors


cdef Inbox inbox_of(object reactor):
    """The Inbox of all datagram endpoints of this reactor, made if there is none."""
    existing = _inboxes.get(id(reactor))
    if existing is not None:
        return existing
    inbox = Inbox()
    _inboxes[id(reactor)] = inbox
    return inbox


cdef inline int forget_spilled(Inbox inbox) except -1:
    if inbox.spilled:                   # a call of clear() costs more than to look
        inbox.spilled.clear()
    return 0
