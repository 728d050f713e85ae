"""Owns how the package's docstrings, which are written to be read as they stand, become reStructuredText for Sphinx.

They have two marks of their own: `code`, and tables of what parameters mean:

    slab_size  bytes in a slab
    zeroing    "never": nothing is done.
               "on_alloc": every allocation is zeroed
"""

import re

TERM = re.compile(r"(?P<term>\w[\w, ]*?)  +(?P<text>\S.*)")
# public methods for transports, loops and tests, which no user calls
INTERNAL = {
    "check", "from_pickle", "get_buffer", "buffer_updated", "feed_data", "feed_eof", "set_exception", "set_transport",
    "replace_transport", "takes_transports", "own_write",
}


def process(app, what, name, obj, options, lines):
    """For autodoc-process-docstring: translate in place."""
    if what == "attribute" and lines and lines[0].startswith("Alias for field"):
        lines.clear()
    lines[:] = translated(lines)


def skip(app, what, name, obj, skipped, options):
    """For autodoc-skip-member: True leaves it out."""
    return True if name in INTERNAL or type(obj).__name__ == "_tuplegetter" else None


def translated(lines):
    out, at = [], 0
    while at < len(lines):
        term = TERM.fullmatch(lines[at])
        if term and is_table(lines, at, term.start("text")):
            text = [term["text"]]
            column = term.start("text")
            at += 1
            while at < len(lines) and lines[at].strip() and indent(lines[at]) >= min(column, 2):
                text.append(lines[at].strip())
                at += 1
            out += ["", f"``{term['term']}``", f"   {marked(' '.join(text))}"]
            if at == len(lines) or not lines[at].strip():
                out.append("")
        elif indent(lines[at]) >= 4 and (not out or not out[-1].strip()):
            out += ["::", ""]
            while at < len(lines) and (indent(lines[at]) >= 4 or not lines[at].strip()):
                out.append(lines[at])
                at += 1
            out.append("")
        else:
            out.append(marked(lines[at]))
            at += 1
    return out


def is_table(lines, at, column):
    """A term has two spaces behind it, and stands at the beginning of a paragraph or under another term."""
    above = lines[at - 1] if at else ""
    return not above.strip() or indent(above) > 0 or TERM.fullmatch(above) is not None


def indent(line):
    return len(line) - len(line.lstrip()) if line.strip() else 0


def marked(text):
    """`code` as code, and nothing else as a mark."""
    parts = re.split(r"`([^`]+)`", text)
    return "".join(f"``{part}``" if index % 2 else re.sub(r"([*|\\_])", r"\\\1", part)
                   for index, part in enumerate(parts))
