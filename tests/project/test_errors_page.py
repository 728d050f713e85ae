"""docs/errors.md: each message on it is in the sources, and each message that a user can meet is on it."""

import pathlib
import re

import pytest
from kit.messages import as_shown, messages, strings_in

PAGE = pathlib.Path(__file__).resolve().parent.parent.parent / "docs" / "errors.md"
ON_PAGE = re.compile(
    r"^(?:- )?`(?:([A-Z]\w*(?:Error|Exhausted|Released|Large|Timeout)): )?(.+?)`(?:: .*)?$", re.MULTILINE)
NOT_FOR_USERS = re.compile("|".join((
    r"\bis made (?:by (?!a pool: )|when)",                       # objects that poolio makes
    r"^a (?:Buffer|Chain) is needed, not None$", r"^a codec decodes a poolio.Chain, not None$",      # from Cython
    r"buffer_updated\(\)", r"^this room was filled", r"^Empty waiter", r"^Transport already set$", r"^feed_data after",
    r"^Invalid (?:events|file descriptor): ",           # loops call these
    r"^no allocation fails on request", r"^first must be at least 0 and count",                      # tests call these
    r"^are refused$",                                   # a part of another message
)))


def test_messages_on_the_page_are_those_of_the_sources():
    said, known = ON_PAGE.findall(PAGE.read_text()), messages()
    assert len(said) > 150 and len(known) > 200
    assert [(error, text) for error, text in said if text not in known or (known[text] or "") != error] == []


def test_messages_that_a_user_can_meet_are_on_the_page():
    said = {text for _, text in ON_PAGE.findall(PAGE.read_text())}
    assert [text for text in messages() if text not in said and not NOT_FOR_USERS.search(text)] == []


def test_no_message_stands_twice_on_the_page():
    said = [text for _, text in ON_PAGE.findall(PAGE.read_text())]
    assert sorted(text for text in set(said) if said.count(text) > 1) == []


@pytest.mark.parametrize("source, shown", (
    ('"a number of {bits} bits")', ["a number of ... bits"]),
    ('f"one {two!r} "\n    f"three {four(five)}")', ["one ... three ..."]),
    ('"%r took %.3f seconds", repr(source))', ["... took ... seconds"]),
    ('"this" if here else "that")', ["this", "that"]),
))
def test_messages_are_read_from_a_call(source, shown):
    assert strings_in(source, 0) == shown


def test_message_of_many_lines_is_shown_by_its_first():
    assert as_shown("{count} never dropped\\n{pool.report()}") == "... never dropped"
