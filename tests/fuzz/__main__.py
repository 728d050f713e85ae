"""A coverage-guided fuzzer of the codecs: any options, any bytes, any split. Called by `make fuzz`.

    python tests/fuzz [seconds]        60 by default; with FUZZ_CORPUS=folder what was found is kept, and gone on from

Starts target.py under libFuzzer. Fails on a difference from the rules, on a crash, and if no code of poolio's own
compiled modules was covered that the first input did not cover: a fuzzer that sees nothing looks as if all were well.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

import atheris

HERE = pathlib.Path(__file__).parent
PROGRESS = re.compile(rb"#\d+\t(INITED|NEW|REDUCE|RELOAD|pulse|DONE) +cov: (\d+)")
CHATTER = re.compile(rb"\t(NEW|REDUCE)|# Uses: |Recommended dictionary|recommended dictionary")
MODULES = re.compile(rb"Loaded \d+ modules +\((\d+) inline 8-bit counters\)")


def environment():
    """libFuzzer and AddressSanitizer have to be there before the compiled modules that call them are loaded."""
    library = pathlib.Path(atheris.path()) / "asan_with_fuzzer.so"
    return os.environ | {
        "LD_PRELOAD": str(library), "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:" + os.environ.get("ASAN_OPTIONS", ""),
    }


def run(corpus, seconds):
    """The output of libFuzzer and its exit code."""
    command = [sys.executable, HERE / "target.py", corpus, f"-max_total_time={seconds}", "-max_len=600",
               f"-artifact_prefix={tempfile.gettempdir()}/poolio-fuzz-", "-print_final_stats=1", "-timeout=10"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment()) as fuzzer:
        lines = []
        for line in fuzzer.stderr:
            lines.append(line)
            if not CHATTER.search(line):
                sys.stderr.buffer.write(line)
                sys.stderr.flush()
    return b"".join(lines), fuzzer.returncode


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    with tempfile.TemporaryDirectory() as empty:
        kept = os.environ.get("FUZZ_CORPUS")
        output, code = run(kept or empty, seconds)
    edges = [int(count) for _, count in PROGRESS.findall(output)]
    counters = MODULES.findall(output)
    if code != 0 and edges and counters:
        sys.exit(f"the fuzzer has found something (exit code {code}): see above")
    if not counters or not edges or (edges[-1] <= edges[0] and not kept):
        sys.exit("no coverage of compiled code was gained: is poolio built with POOLIO_BUILD=fuzz and clang?")
    print(f"edges covered in compiled code: {edges[0]} by the first input, {edges[-1]} at the end")


main()
