"""`python -m poolio`: what its commands print and return."""

import subprocess
import sys

import poolio


def command(*arguments):
    return subprocess.run([sys.executable, "-m", "poolio", *arguments], capture_output=True, text=True)


def test_info_prints_build_limits_and_statistics():
    done = command("info")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert ["poolio", f"{poolio.__version__}, {poolio.slab.BUILD_VARIANT}"] in lines
    names = {line[0] for line in lines}
    assert {*poolio.Statistics._fields, "POOLIO_ZERO_FILL", "POOLIO_DEBUG", "python", "zeroing", "max_bytes"} <= names


def test_info_with_an_argument_is_refused():
    done = command("info", "--everything")
    assert done.returncode == 2
    assert "--everything" in done.stderr


def test_no_command_prints_the_help():
    done = command()
    assert done.returncode == 0
    assert "info" in done.stdout and "bench" in done.stdout
