"""`python -m poolio`: what its commands print and return."""

import pathlib
import re
import signal
import socket
import subprocess
import sys

import pytest

import poolio
import poolio.echo
from poolio import __main__ as commands


def command(*arguments):
    return subprocess.run([sys.executable, "-m", "poolio", *arguments], capture_output=True, text=True)


def test_info_prints_build_limits_and_statistics():
    done = command("info")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert ["poolio", f"{poolio.__version__}, {poolio.memory.slab.BUILD_VARIANT}"] in lines
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


def test_bench_without_the_source_checkout_says_where_it_is(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(commands, "CHECKOUT", tmp_path)
    assert commands.bench([]) == 2
    assert "source checkout" in capsys.readouterr().err


def test_bench_without_what_makes_its_report_names_the_extra(monkeypatch, capsys):
    monkeypatch.setattr(commands, "CHECKOUT", pathlib.Path(__file__).parent.parent.parent)  # installed or not
    monkeypatch.setattr(commands, "NEEDED", ("no_such_package", "rich"))
    assert commands.bench([]) == 2
    assert "need no_such_package: pip install 'poolio[bench]'" in capsys.readouterr().err


def test_bench_needs_no_peer():
    assert not {"uvloop", "rloop", "aiofastnet", "numpy", "trustme"} & set(commands.NEEDED)


@pytest.mark.parametrize("loop", ("poolio", "asyncio", "uvloop"))
@pytest.mark.parametrize("wire", ("tcp", "unix"))
def test_echo_echoes_until_it_is_interrupted(loop, wire, tmp_path):
    path = str(tmp_path / "socket")
    where = ("--port", "0") if wire == "tcp" else ("--unix", path)
    server = subprocess.Popen([sys.executable, "-m", "poolio", "echo", "--loop", loop, *where],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with server:
        try:
            line = server.stdout.readline()
            assert f"loop {loop};" in line
            client = socket.socket(socket.AF_INET if wire == "tcp" else socket.AF_UNIX)
            client.settimeout(30)
            client.connect(("127.0.0.1", int(re.search(r":(\d+),", line)[1])) if wire == "tcp" else path)
            with client:
                client.sendall(b"hello")
                assert client.recv(5, socket.MSG_WAITALL) == b"hello"
                server.send_signal(signal.SIGINT)
                output, errors = server.communicate(timeout=30)
        finally:
            server.kill()
    assert (server.returncode, output, errors) == (0, "", "")


def test_echo_on_a_port_in_use_says_so():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = command("echo", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "in use" in done.stderr


def test_echo_on_a_loop_that_is_not_installed_names_it(monkeypatch, capsys):
    monkeypatch.setattr(poolio.echo, "LOOPS", ("surely_not_there",))
    monkeypatch.setattr(sys, "argv", ["poolio", "echo", "--loop", "surely_not_there"])
    assert commands.main() == 2
    assert "surely_not_there is not installed" in capsys.readouterr().err
