"""Owns the messages of the package's errors and log lines, read from its sources. Called by the test of docs/errors.md.

What is filled in while the program runs stands as `...`, as it does on the page.
"""

import pathlib
import re

PACKAGE = pathlib.Path(__file__).resolve().parent.parent.parent / "poolio"
SAID = re.compile(r"""
    \b(?:([A-Z]\w*(?:Error|Exhausted|Released|Timeout))        # of a library or Python: raised, or given to a callback
    | (?:logger\.\w+ | warn | warnings\.warn_explicit | poolio_warn_at_end | \w*report | \w+\.fail
       | super\(\)\.__init__))\(
    """, re.VERBOSE)
STRING = re.compile(r'f?"((?:[^"\\]|\\.)*)"')
FILLED_IN = re.compile(r"\{(?:[^{}]|\{[^{}]*\})*\}|%[.\d]*[a-z]")
NOT_MET = {"AssertionError", "AttributeError", "KeyError"}      # checks of debug builds; what only asyncio meets


def messages():
    """Each message, and the name of the exception that has it: None if it has none, or is a line of a log."""
    found = {}
    for path in sorted(PACKAGE.rglob("*")):
        if path.suffix in (".py", ".pyx", ".pxd") and path.parent.name != "commands":       # these print, and end
            source = path.read_text()
            for said in SAID.finditer(source):
                error = said[1] or (said[0].startswith("super()") and class_above(source, said.start())) or None
                if error not in NOT_MET:
                    found.update(dict.fromkeys(strings_in(source, said.end()), error))
    return {message: error for message, error in found.items() if re.search(r"[a-z]{3,} | [a-z]{3,}", message)}


def class_above(source, at):
    return re.findall(r"^(?:cdef )?class (\w+)", source[:at], re.MULTILINE)[-1]


def strings_in(source, at):
    """The strings up to the parenthesis that closes; those that follow each other are one."""
    depth, strings, is_next = 1, [], False
    while depth:
        literal = STRING.match(source, at)
        if literal:
            strings[-1:] = [strings[-1] + literal[1]] if is_next else [*strings[-1:], literal[1]]
            at, is_next = literal.end(), True
            continue
        depth += {"(": 1, ")": -1}.get(source[at], 0)
        is_next = is_next and source[at].isspace()
        at += 1
    return [as_shown(string) for string in strings]


def as_shown(string):
    first_line, _, _ = string.partition("\\n")
    return re.sub(r"\.{3,}", "...", FILLED_IN.sub("...", first_line))
