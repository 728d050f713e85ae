"""Owns IP addresses: the kernel's form and Python's, a tuple with the host as text, and the recent ones in both forms.

Refuses to resolve names (the socket module does) and to know sockets. Called by endpoint, inbox and outbox.

Making a tuple for each datagram would cost too much, and a server answers to the tuple that it was given. So RECENT
addresses are kept in one table for the whole process. They are found by the address and, for sending, by the identity
of the tuple:

    kernel's form ── hash ──> one of the WAYS from known[i]: address, tuple      tuple ── where it lies ──> by_tuple[j]

When WAYS addresses share a hash, the next address with that hash replaces one of them. (With one way, a few of 64
senders always shared a hash: each replaced the other, and their tuples were made again and again.)
"""

import ipaddress
import operator
import os
import socket

from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.tuple cimport PyTuple_CheckExact, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8
from libc.stdint cimport uintptr_t

from poolio.c.net cimport (
    AF_INET, AF_INET6, poolio_address, poolio_address_family, poolio_address_flow, poolio_address_hash,
    poolio_address_host, poolio_address_port, poolio_address_scope, poolio_numeric_address, poolio_same_address,
)

cdef enum:
    RECENT = 1024           # addresses, 40 bytes each; with their tuples at most 200 KiB
    WAYS = 4
    PLACES = 4096           # 2 bytes each
    LAST_PORT = 65535

BOUNDS = {"RECENT": RECENT}

cdef struct Known:
    poolio_address address
    PyObject *written       # the tuple, an owned reference; NULL: this place is free

cdef Known known[RECENT]
cdef unsigned int next_way
cdef unsigned short by_tuple[PLACES]


cdef object address_of(const poolio_address *address):
    cdef int size
    family = poolio_address_family(address)
    if family != AF_INET and family != AF_INET6:
        return None
    cdef const char *host = poolio_address_host(address, &size)
    pair = socket.inet_ntop(family, host[:size]), poolio_address_port(address)
    if family == AF_INET:
        return pair
    return *pair, poolio_address_flow(address), poolio_address_scope(address)


cdef object recent_address(const poolio_address *address):
    cdef int index = _find(address)
    if index >= 0:
        return <object>known[index].written
    written = address_of(address)
    if written is not None:
        _remember(address, written)
    return written


cdef const poolio_address *known_address(object written, int family) noexcept:
    cdef Known *found = &known[by_tuple[_place(written)]]
    if found.written == <PyObject *>written and poolio_address_family(&found.address) == family:
        return &found.address
    return NULL


cdef bint read_address(object written, int family, poolio_address *address) except -1:
    cdef const poolio_address *found = known_address(written, family)
    if found != NULL:
        address[0] = found[0]
        return True
    if not _parse(written, family, address):
        return False
    cdef int index = _find(address)
    if index >= 0:
        if known[index].written == <PyObject *>written:
            by_tuple[_place(written)] = <unsigned short>index       # another tuple had taken its place
    elif family == AF_INET and written == address_of(address):
        _remember(address, written)         # datagrams from there may come with the same tuple
    return True


cdef int _find(const poolio_address *address) noexcept:
    """The index of an address in `known`; -1 if it is not there."""
    cdef int index = poolio_address_hash(address) % (RECENT // WAYS) * WAYS
    cdef int end = index + WAYS
    while index < end:
        if known[index].written != NULL and poolio_same_address(&known[index].address, address):
            return index
        index += 1
    return -1


cdef bint _parse(written, int family, poolio_address *address) except -1:
    """Parse only what is written in plain numbers: ("127.0.0.1", 53), ("::1", 53), ("::1", 53, 0, 0)."""
    if not PyTuple_CheckExact(written) or not (family == AF_INET or family == AF_INET6):
        return False
    if PyTuple_GET_SIZE(written) != 2 and (family == AF_INET or not _is_plain(written)):
        return False
    host, port = written[0], written[1]
    if type(host) is not str or type(port) is not int or not 0 <= port <= LAST_PORT or "\0" in host:
        return False
    return poolio_numeric_address(address, family, PyUnicode_AsUTF8(host), port)


cdef bint _is_plain(written) except -1:
    """True if flow and scope are 0. Only exact ints are compared, so that no code of others runs during a send."""
    return all([type(number) is int and number == 0 for number in written[2:]]) and PyTuple_GET_SIZE(written) <= 4


cdef int check_address(written, int family) except -1:
    if family != AF_INET and family != AF_INET6:
        if not isinstance(written, (str, bytes, os.PathLike)):
            raise TypeError(f"the address of a unix socket is a path, not {written!r}")
        return 0
    if not isinstance(written, tuple) or len(written) < 2 or len(written) > (2 if family == AF_INET else 4):
        raise TypeError(f"an address is a tuple (host, port{'' if family == AF_INET else '[, flow[, scope]]'}), "
                        f"not {written!r}")
    if not isinstance(written[0], (str, bytes, bytearray)) or not isinstance(written[1], int):
        raise TypeError(f"an address has a host in text and a port in numbers, not {written!r}")
    if not 0 <= written[1] <= LAST_PORT:
        raise ValueError(f"a port is 0 to {LAST_PORT}, not {written[1]}")
    if ("\0" if isinstance(written[0], str) else b"\0") in written[0]:
        raise ValueError(f"a host has no zero byte: {written[0]!r}")
    return 0


cdef bint same_address(written, other, int family) except -1:
    cdef poolio_address first, second
    if _parse(written, family, &first) and _parse(other, family, &second):
        return poolio_same_address(&first, &second)
    try:
        check_address(written, family)
        return _peer_of(written, family) == _peer_of(other, family)
    except (TypeError, ValueError, OSError):
        return False


cdef object _peer_of(written, int family):
    """What makes a peer another one: the path; or host and port, and on a link its number. A flow does not.

    OSError if the host is a name.
    """
    if family != AF_INET and family != AF_INET6:
        return os.fsencode(written)
    host, port, *rest = written
    numbers = [*map(operator.index, rest), 0, 0]
    found = socket.getaddrinfo(host, port, family, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST)[0][4]
    if family == AF_INET:
        return found
    where = ipaddress.IPv6Address(found[0])
    return found[0], found[1], (numbers[1] or found[3]) if where.is_link_local or where.is_multicast else 0


cdef void _remember(const poolio_address *address, written) noexcept:
    global next_way
    cdef unsigned int index = poolio_address_hash(address) % (RECENT // WAYS) * WAYS + next_way % WAYS
    cdef PyObject *before = known[index].written
    next_way += 1
    Py_INCREF(written)
    known[index].address = address[0]
    known[index].written = <PyObject *>written
    by_tuple[_place(written)] = <unsigned short>index
    Py_XDECREF(before)


cdef inline unsigned int _place(written) noexcept:
    return <unsigned int>((<uintptr_t><PyObject *>written >> 4) * <uintptr_t>0x9E3779B >> 16) % PLACES
