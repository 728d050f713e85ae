"""An endpoint of the server: datagrams of any number of flows, each compared and answered.

Owns the check of each datagram, the ways to answer one, and the sums of what came and what the kernel has dropped, per
endpoint. Of each wire there is one for each pool, and one that is a plain asyncio.DatagramProtocol.

Refuses to know flows but by their numbers, and whether an answer arrives. The house opens the endpoints.
"""

import asyncio
import socket

from flow import SEGMENT, answers_to
from plan import KEEPS, How
from terms import DATAGRAM

import poolio

RECEIVE_QUEUE = 4 << 20
REFUSED = (ConnectionRefusedError, ConnectionResetError, FileNotFoundError)     # a flow has gone before its answers


class Answering:
    """What both endpoints have in common."""

    blocked = False
    pool = None

    def __init__(self, house, pool):
        self.house, self.pool = house, pool

    def connection_made(self, transport):
        self.transport = transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_QUEUE)
        self.house.endpoints.append(self)

    def receive(self, data, address):
        number, _, index, _ = DATAGRAM.unpack_from(data)
        plan = self.house.planner.flow(number)
        answers = answers_to(plan, index)
        body = data[DATAGRAM.size:]
        if body != b"".join(answers):
            self.house.faults.add(f"datagram {index} of session {number} is wrong, {len(body)} bytes", number)
        if plan.flags & KEEPS:
            self.house.keep(body, plan, plan.text, sum(plan.sizes[:index]), self.house.dice)
        self.house.counts["datagrams"] += 1
        self.house.counts[f"answered {plan.how.name}"] += 1
        self.house.counts["bytes"] += len(data)
        ANSWER.get(plan.how, answer_whole)(self, data, answers, address)

    def error_received(self, exc):
        if isinstance(exc, REFUSED):
            self.house.counts["flows gone"] += 1
        else:
            self.house.faults.add(f"error_received({exc!r})")

    def pause_writing(self):
        if self.blocked:
            self.house.faults.add("pause_writing() of a datagram endpoint twice")
        self.blocked = True
        self.house.counts["datagrams pause_writing"] += 1

    def resume_writing(self):
        if not self.blocked:
            self.house.faults.add("resume_writing() of a datagram endpoint without pause_writing()")
        self.blocked = False

    def connection_lost(self, exc):
        if exc is not None:
            self.house.faults.add(f"a datagram endpoint has ended with {exc!r}")


class BatchEndpoint(Answering, poolio.DatagramProtocol):
    def datagrams_received(self, batch):
        self.house.counts["batches"] += 1
        for data, address in batch:
            self.receive(data, address)


class PlainEndpoint(Answering, asyncio.DatagramProtocol):
    """The same with bytes, one by one."""

    def datagram_received(self, data, address):
        self.house.counts["asyncio.DatagramProtocol"] += 1
        self.receive(data, address)


def answer_whole(endpoint, data, answers, address):
    """Header and body are those that came."""
    endpoint.transport.sendto(data, address)


def parts_of(data, answers):
    """The answer in parts, each with a header that says which it is."""
    number, opening, index, _ = DATAGRAM.unpack_from(data)
    return [DATAGRAM.pack(number, opening, index, part) + body for part, body in enumerate(answers)]


def answer_parts(endpoint, data, answers, address):
    endpoint.transport.sendmany([(part, address) for part in parts_of(data, answers)])


def answer_train(endpoint, data, answers, address):
    endpoint.transport.send_segmented(b"".join(parts_of(data, answers)), SEGMENT, address)


def answer_own(endpoint, data, answers, address):
    own = (endpoint.pool or poolio.default_pool()).alloc_unsafe(len(data))
    own[:] = data
    endpoint.transport.sendto(own, address)
    own.release()


def answer_copy(endpoint, data, answers, address):
    copy = bytearray(data)
    endpoint.transport.sendto(copy, address)
    copy[:] = bytes(len(copy))


def answer_released(endpoint, data, answers, address):
    endpoint.transport.sendto(data, address)
    if not isinstance(data, bytes):
        data.release()


def answer_view(endpoint, data, answers, address):
    endpoint.transport.sendto(memoryview(data), address)


def answer_later(endpoint, data, answers, address):
    endpoint.house.loop.call_soon(endpoint.transport.sendto, data, address)


ANSWER = {
    How.LINES: answer_parts, How.OWN: answer_own, How.COPY: answer_copy, How.RELEASE: answer_released,
    How.VIEW: answer_view, How.PIECES: answer_train, How.LATER: answer_later,
}
