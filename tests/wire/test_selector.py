"""The selector of poolio.EventLoop, as selectors.BaseSelector describes it; what it refuses."""

import selectors
import socket

import pytest

import poolio


@pytest.fixture
def selector():
    loop = poolio.new_event_loop()
    yield loop._selector
    loop.close()


@pytest.fixture
def sock():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        yield sock


def test_map_has_what_was_registered_by_object_and_descriptor(selector, sock):
    before = set(selector.get_map())
    key = selector.register(sock, selectors.EVENT_READ, "mine")
    assert selector.get_map()[sock] == selector.get_map()[sock.fileno()] == key == selector.get_key(sock)
    assert set(selector.get_map()) == before | {sock.fileno()}
    assert len(selector.get_map()) == len(before) + 1
    assert (key.fileobj, key.fd, key.events, key.data) == (sock, sock.fileno(), selectors.EVENT_READ, "mine")
    selector.unregister(sock)
    assert sock not in selector.get_map()


def test_fileno_is_an_open_descriptor(selector, sock):
    assert selector.fileno() >= 0
    assert selector.fileno() not in selector.get_map()


def test_registered_twice_raises(selector, sock):
    selector.register(sock, selectors.EVENT_READ)
    with pytest.raises(KeyError, match="already registered"):
        selector.register(sock, selectors.EVENT_WRITE)
    selector.unregister(sock)


@pytest.mark.parametrize("events", (0, 4, 7))
def test_events_that_are_none_raise_naming_them(selector, sock, events):
    with pytest.raises(ValueError, match=f"Invalid events: {events}"):
        selector.register(sock, events)


def test_descriptor_below_zero_raises_naming_it(selector):
    with pytest.raises(ValueError, match="Invalid file descriptor: -1"):
        selector.register(-1, selectors.EVENT_READ)


def test_unknown_raises(selector, sock):
    for unknown in (selector.unregister, selector.get_key):
        with pytest.raises(KeyError, match="not registered"):
            unknown(sock)
