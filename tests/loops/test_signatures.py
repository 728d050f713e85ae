"""What asyncio may call on poolio's loops, and what poolio calls of asyncio's private parts, on this CPython.

asyncio's private methods gain parameters with its versions. Each override takes all that asyncio's own takes, so that a
new version fails here first, with the name of the parameter.
"""

import asyncio
import inspect
from asyncio import base_events, selector_events, sslproto

import pytest

import poolio
from poolio.loops import adapter, event_loop, server
from poolio.wire import tls

PAIRS = [
    (adapter.AdaptedLoop, asyncio.SelectorEventLoop), (adapter.BorrowedLoop, asyncio.SelectorEventLoop),
    (event_loop.EventLoop, asyncio.SelectorEventLoop), (server.Server, base_events.Server),
    (tls.TLSProtocol, sslproto.SSLProtocol),
]
# Made with arguments of their own; and _attach() takes a transport as of CPython 3.13's, on earlier versions, too.
OWN = {"__init__", "__del__", "__repr__", "_attach", "_detach"}


def overrides():
    for ours, theirs in PAIRS:
        for name, method in vars(ours).items():
            if name not in OWN and inspect.isfunction(method) and inspect.isfunction(getattr(theirs, name, None)):
                yield pytest.param(method, getattr(theirs, name), id=f"{ours.__name__}.{name}")


def every_call(signature):
    """(positional, named) arguments: all that can be given by position, then all by name."""
    kinds = inspect.Parameter
    parameters = list(signature.parameters.values())
    by_position = [each for each in parameters if each.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    named = [each.name for each in parameters if each.kind is kinds.KEYWORD_ONLY]
    yield [None] * len(by_position), dict.fromkeys(named)
    required = [each for each in by_position if each.default is kinds.empty]
    optional = [each.name for each in by_position if each.default is not kinds.empty]
    yield [None] * len(required), dict.fromkeys(named + optional)


@pytest.mark.parametrize("ours, theirs", list(overrides()))
def test_override_takes_all_that_asyncios_own_takes(ours, theirs):
    for positional, named in every_call(inspect.signature(theirs)):
        inspect.signature(ours).bind(*positional, **named)


def test_overrides_are_found():
    names = {each.id for each in overrides()}
    assert {"AdaptedLoop._make_socket_transport", "AdaptedLoop._make_ssl_transport", "AdaptedLoop._start_serving",
            "AdaptedLoop.start_tls", "AdaptedLoop._ensure_fd_no_transport"} <= names


@pytest.mark.parametrize("function, arguments", (
    (base_events.Server.__init__, 8), (sslproto.SSLProtocol.__init__, 7),
    (selector_events.BaseSelectorEventLoop._ensure_fd_no_transport, 2),
    (selector_events.BaseSelectorEventLoop._stop_serving, 2),
), ids=("Server", "SSLProtocol", "_ensure_fd_no_transport", "_stop_serving"))
def test_private_functions_take_what_poolio_gives(function, arguments):
    inspect.signature(function).bind(*range(arguments))


def test_context_of_a_connection_may_be_given():
    """As CPython 3.15 does it, on every version."""
    assert "context" in inspect.signature(poolio.EventLoop._make_socket_transport).parameters
    assert "context" in inspect.signature(poolio.EventLoop._start_serving).parameters
