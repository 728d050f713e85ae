"""Owns Hypothesis's strategies for Marked and LineAndBody: their options, values, and streams of frames.

Called by splits and the tests of framing/. What must come out of a stream, kit.grammars says.
"""

from hypothesis import strategies as st

import poolio
from kit.grammars import MEMCACHED, NATS, Lines, Values, wire

SMALL = st.sampled_from([3, 8, 20, 60, 300, 9000, 1 << 20])
marked = st.one_of(
    st.builds(Values, bytes_up_to=st.sampled_from([0, 3, 4096]), max_items=st.sampled_from([1, 3, 20, 1 << 16]),
              max_depth=st.sampled_from([1, 2, 8, 32]), max_frame=SMALL),
    st.builds(Values, frames=st.just("commands"), inline=st.sampled_from(["refuse", "split"]),
              bytes_up_to=st.sampled_from([0, 3, 4096]), max_items=st.sampled_from([1, 3, 40, 1 << 16]),
              max_frame=SMALL))

strings = st.one_of(st.binary(max_size=5), st.integers(0, 6000).map(bytes))
texts = st.text(max_size=8).filter(lambda text: not {"\r", "\n"} & set(text))
values = st.recursive(
    st.one_of(strings, st.integers(-2**63, 2**63 - 1), texts, st.none(), texts.map(poolio.ErrorReply)),
    lambda inner: st.lists(inner, max_size=6), max_leaves=30)


def streams_of_values(rules):
    one = st.lists(strings, max_size=40) if rules.frames == "commands" else values
    return cut_short(st.lists(one.map(wire), max_size=6).map(b"".join))


def cut_short(streams):
    return st.builds(lambda stream, end: stream[:len(stream) - end], streams, st.sampled_from([0, 0, 1, 2, 3, 9]))


LIMITED = {"bytes_up_to": st.sampled_from([0, 3, 4096]), "max_line": st.sampled_from([5, 20, 8192]), "max_frame": SMALL}
lines = st.one_of(
    st.builds(Lines, st.just(MEMCACHED), **LIMITED),
    st.builds(Lines, st.just(NATS), st.just("any case"), separator=st.sampled_from([None, b","]), **LIMITED),
    st.builds(Lines, st.just(0), separator=st.just(b";"), base=st.just(16), zero=st.just("lines"), **LIMITED),
    st.builds(Lines, st.sampled_from([0, 1, -1]), line_end=st.sampled_from([b":", b"ab", b"aab"]),
              body_end=st.sampled_from([b"", b","]), zero=st.sampled_from(["body", "lines"]), **LIMITED))


@st.composite
def streams_of_lines(draw, rules):
    made, space = [], rules.separator or draw(st.sampled_from([b" ", b"  ", b" \t"]))
    for body in draw(st.lists(strings, max_size=5)):
        length = (b"%x" if rules.base == 16 else b"%d") % len(body)
        if isinstance(rules.size, int):
            more = draw(st.lists(st.just(b"y"), max_size=1))
            fields = [b"x", length] if rules.size < 0 else [b"x"] * rules.size + [length, *more]
        elif rules.size is MEMCACHED:
            fields = [b"set", b"k", b"0", b"0", length, *draw(st.lists(st.just(b"noreply"), max_size=1))]
        else:
            fields = [draw(st.sampled_from([b"PUB", b"pub", b"HPub"])), b"s", length]
        lines_behind = b"a" * len(body) + rules.line_end if draw(st.booleans()) else b""
        behind = body + rules.body_end if body or rules.zero == "body" else lines_behind + rules.line_end
        made.append(space.join(fields) + rules.line_end + behind)
        if not isinstance(rules.size, int) and draw(st.booleans()):
            made.append(draw(st.sampled_from([b"get a  b", b"info {1, 2}", b"PING", b"", b" "])) + rules.line_end)
    return draw(cut_short(st.just(b"".join(made))))


STREAMS = {"Marked": streams_of_values, "LineAndBody": streams_of_lines}
PIECES = {
    "Marked": [b"*", b"$", b":", b"+", b"-", b"0", b"1", b"2", b"3", b"-1", b"\r\n", b"\r", b"\n", b"a", b" b",
               b"x" * 30,
               b"*1\r\n", b"*2\r\n", b"*-1\r\n", b"$1\r\na\r\n", b"$-1\r\n", b":5\r\n", b"+a\r\n", b"9" * 19,
               b"$5000\r\n"],
    "LineAndBody": [b"set", b"cas", b"PUB ", b"pub ", b"INFO", b"info", b" ", b"\t", b";", b",", b":", b"a", b"b",
                    b"0", b"1",
                    b"2", b"f", b"-1", b"\r\n", b"\r", b"\n", b"x" * 9, b"0\r\n", b"0\r\n\r\n", b"1\r\na\r\n", b"ab",
                    b"aab",
                    b"0:", b"1:a,", b"set k 0 0 1\r\na\r\n", b"9" * 19, b"PUB s 2\r\nab\r\n"],
}
