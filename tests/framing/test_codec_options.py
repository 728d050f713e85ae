"""Codecs: options that are out of range or of another type raise, and nothing crashes without __init__()."""

import subprocess
import sys

import pytest

import poolio

BAD_OPTIONS = {
    "width": (lambda: poolio.LengthPrefixed(5), "1, 2, 3, 4 or 8.*not 5"),
    "width 0": (lambda: poolio.LengthPrefixed(0), "1, 2, 3, 4 or 8.*not 0"),
    "width text": (lambda: poolio.LengthPrefixed("4"), "1, 2, 3, 4 or 8.*not '4'"),
    "byteorder": (lambda: poolio.LengthPrefixed(byteorder="middle"), "'big' or 'little', not 'middle'"),
    "offset": (lambda: poolio.LengthPrefixed(offset=33), r"0\.\.32.*not 33"),
    "offset below": (lambda: poolio.LengthPrefixed(offset=-1), r"0\.\.32.*not -1"),
    "counts": (lambda: poolio.LengthPrefixed(counts="all"), "'body' or 'frame', not 'all'"),
    "header": (lambda: poolio.LengthPrefixed(header="drop"), "'strip' or 'keep', not 'drop'"),
    "adjustment": (lambda: poolio.LengthPrefixed(adjustment=2**30 + 1), r"-2\*\*30\.\.2\*\*30.*not 1073741825"),
    "adjustment below": (lambda: poolio.LengthPrefixed(adjustment=-(2**70)), rf"2\*\*30.*not -{2**70}"),
    "max_frame 0": (lambda: poolio.LengthPrefixed(max_frame=0), r"1\.\.\d+ bytes, not 0"),
    "max_frame huge": (lambda: poolio.Varint(max_frame=2**63), rf"1\.\.{2**61 - 1} bytes, not {2**63}"),
    "max_frame below": (lambda: poolio.Delimited(b"x", max_frame=-1), r"1\.\.\d+ bytes, not -1"),
    "too_large": (lambda: poolio.Varint(too_large="drop"), "'raise' or 'discard', not 'drop'"),
    "size 0": (lambda: poolio.FixedSize(0), r"size.*\b1\b.*not 0"),
    "size below": (lambda: poolio.FixedSize(-5), r"size.*\b1\b.*not -5"),
    "size huge": (lambda: poolio.FixedSize(2**62), rf"{2**61 - 1}.*not {2**62}"),
    "size beyond 64 bits": (lambda: poolio.FixedSize(2**70), rf"not {2**70}"),
    "delimiter empty": (lambda: poolio.Delimited(b""), "empty.*b''"),
    "delimiters empty": (lambda: poolio.Delimited([]), r"empty.*\[\]"),
    "one delimiter empty": (lambda: poolio.Delimited((b"a", b"")), "empty.*b''"),
    "ends": (lambda: poolio.Delimited(b"x", ends="drop"), "'strip' or 'keep', not 'drop'"),
    "last": (lambda: poolio.Delimited(b"x", last="drop"), "'refuse' or 'deliver', not 'drop'"),
    "varint offset": (lambda: poolio.Varint(offset=33), r"0\.\.32.*not 33"),
    "varint header": (lambda: poolio.Varint(header="drop"), "'strip' or 'keep', not 'drop'"),
    "varint width": (lambda: poolio.Varint(width=11), r"width.*1\.\.10 bytes, not 11"),
    "varint width 0": (lambda: poolio.Varint(width=0), r"width.*1\.\.10 bytes, not 0"),
    "frames": (lambda: poolio.Marked(frames="all"), "'values' or 'commands', not 'all'"),
    "inline": (lambda: poolio.Marked(frames="commands", inline="yes"), "'refuse' or 'split', not 'yes'"),
    "inline values": (lambda: poolio.Marked(inline="split"), "inline.*needs frames='commands'"),
    "bytes_up_to": (lambda: poolio.Marked(bytes_up_to=-1), r"bytes_up_to.*0\.\.\d+ bytes, not -1"),
    "max_items": (lambda: poolio.Marked(max_items=0), r"max_items.*1\.\.\d+, not 0"),
    "max_depth": (lambda: poolio.Marked(max_depth=33), r"max_depth.*1\.\.32, not 33"),
    "mark": (lambda: poolio.Marked(marks={b"**": "array"}), r"length 1.*not b'\*\*'"),
    "mark of nothing": (lambda: poolio.Marked(marks={b"*": "list"}), "array, string.*not 'list'"),
    "verbs": (lambda: poolio.LineAndBody({}, verbs="all"), "'exact' or 'any case', not 'all'"),
    "separator": (lambda: poolio.LineAndBody(0, separator=b", "), "separator.*one byte.*not b', '"),
    "separator space": (lambda: poolio.LineAndBody(0, separator=b" "), "separator.*no space.*not b' '"),
    "base": (lambda: poolio.LineAndBody(0, base=8), "base must be 10 or 16, not 8"),
    "line_end": (lambda: poolio.LineAndBody(0, line_end=b""), "line_end must not be empty"),
    "zero": (lambda: poolio.LineAndBody(0, zero="none"), "'body' or 'lines', not 'none'"),
    "line bytes_up_to": (lambda: poolio.LineAndBody(0, bytes_up_to=-1), r"bytes_up_to.*0\.\.\d+ bytes, not -1"),
    "max_line": (lambda: poolio.LineAndBody(0, max_line=0), r"max_line.*1\.\.\d+ bytes, not 0"),
    "codec": (lambda: poolio.Codec(max_frame=0), r"1\.\.\d+ bytes, not 0"),
}


@pytest.mark.parametrize("make, message", BAD_OPTIONS.values(), ids=BAD_OPTIONS)
def test_option_out_of_range_raises_and_names_value_and_limit(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", [
    lambda: poolio.Delimited("\n"), lambda: poolio.Delimited(5), lambda: poolio.Delimited(["\n"]),
    lambda: poolio.Delimited([13, 10]), lambda: poolio.Delimited([b"\n", 5]), lambda: poolio.Delimited(None),
    lambda: poolio.FixedSize("5"), lambda: poolio.FixedSize(1.5), lambda: poolio.LengthPrefixed(offset="1"),
    lambda: poolio.LengthPrefixed(max_frame="1"), lambda: poolio.LengthPrefixed(adjustment=None),
    lambda: poolio.LengthPrefixed(max_frame=1.5), lambda: poolio.LengthPrefixed(offset=1.5),
    lambda: poolio.Varint(offset=1.5), lambda: poolio.Varint(width="4"), lambda: poolio.Marked(max_items="1"),
    lambda: poolio.Marked(marks=5), lambda: poolio.LineAndBody(None), lambda: poolio.LineAndBody({"set": 4}),
    lambda: poolio.LineAndBody({b"set": []}), lambda: poolio.LineAndBody(0, line_end="\n"),
])
def test_option_of_other_type_raises(make):
    with pytest.raises(TypeError):
        make()


@pytest.mark.parametrize("code", [
    "poolio.LengthPrefixed().decode(None)", "poolio.Varint().decode(None)", "poolio.FixedSize(1).decode(None)",
    "poolio.Marked().decode(None)", "poolio.LineAndBody(0).decode(None)",
    "poolio.Marked.__new__(poolio.Marked).feed(b'*1\\r\\n:1\\r\\n')", "poolio.Marked.__new__(poolio.Marked).encode(1)",
    "poolio.LineAndBody.__new__(poolio.LineAndBody).feed(b'1\\r\\n')",
    "poolio.LineAndBody.__new__(poolio.LineAndBody).encode((b'1',))",
    "poolio.Delimited(b'x').decode(None)", "poolio.Delimited(b'x').decode_last(None)",
    "poolio.Codec().decode_last(None)", "poolio.Codec().gather(None)", "poolio.Varint().gather(None)",
    "poolio.LengthPrefixed.__new__(poolio.LengthPrefixed).decode(poolio.Chain())",
    "poolio.Varint.__new__(poolio.Varint).feed(b'abc')",
    "poolio.Delimited.__new__(poolio.Delimited).feed(b'abc')",
    "poolio.Delimited.__new__(poolio.Delimited).encode(b'')",
])
def test_none_and_what_was_never_initialised_raise_and_do_not_crash(code):
    code = f"import poolio\ntry:\n    {code}\nexcept Exception:\n    pass"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
