"""`python -m poolio`: what its commands print and return, in a terminal and elsewhere."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import sysconfig

import pytest
from kit.terminals import in_terminal

import poolio
from poolio import __main__ as door
from poolio.commands import bench, certificate, echo, terminal

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAM = (sys.executable, "-m", "poolio")
COLOUR = re.compile(r"\x1b\[[\d;]*m")


def command(*arguments):
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True)


def test_no_command_prints_the_help():
    done = command()
    assert done.returncode == 0
    assert "info" in done.stdout and "bench" in done.stdout


# --- info ---

def test_info_prints_build_limits_and_statistics():
    done = command("info")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert ["poolio", f"{poolio.__version__}, {poolio.memory.slab.BUILD_VARIANT}"] in lines
    names = {line[0] for line in lines}
    assert {*poolio.Statistics._fields, "POOLIO_ZERO_FILL", "POOLIO_DEBUG", "python", "zeroing", "max_bytes"} <= names


def test_info_tells_interpreter_gil_engine_of_tls_and_limits():
    said = command("info").stdout
    assert f"CPython {sys.version.split()[0]}" in said
    assert ("poolio needs it" if sysconfig.get_config_var("Py_GIL_DISABLED") else "always on") in said
    assert re.search(rf"(OpenSSL called directly|ssl\.MemoryBIO: .+|the ssl module), with {ssl.OPENSSL_VERSION}", said)
    assert re.search(r"peers remembered +1,024 addresses\n", said)
    assert re.search(r"idle_timeout +none, or 0\.01 to 31,536,000 s\n", said)


def test_info_with_an_argument_is_refused():
    done = command("info", "--everything")
    assert done.returncode == 2
    assert "--everything" in done.stderr


def test_info_has_colours_in_a_terminal_only():
    status, text = in_terminal(*PROGRAM, "info", columns=200)
    assert status == 0 and "\x1b[1mbuild\x1b[0m" in text
    assert "\x1b" not in command("info").stdout


@pytest.mark.parametrize("environment", ({"NO_COLOR": "1"}, {"TERM": "dumb"}), ids=lambda given: "".join(given))
def test_info_has_no_colours_where_they_are_not_wanted(environment):
    status, text = in_terminal(*PROGRAM, "info", **environment)
    assert (status, "\x1b" in text) == (0, False)


@pytest.mark.parametrize("columns", (60, 40))
def test_info_fits_a_narrow_terminal_and_loses_no_word(columns):
    _, text = in_terminal(*PROGRAM, "info", columns=columns)
    plain = COLOUR.sub("", text)
    assert max(map(len, plain.splitlines())) <= columns
    assert [word for word in command("info").stdout.split() if word not in plain] == []


@pytest.mark.parametrize(("columns", "lines"), (
    (None, ["  name                   one two three"]),
    (80, ["  name                   one two three"]),
    (38, ["  name                   one two three"]),
    (36, ["  name", "    one two three"]),
    (12, ["  name", "    one two", "    three"]),
))
def test_pair_of_name_and_value_side_by_side_or_below(columns, lines):
    assert terminal.pair("name", "one two three", columns) == lines


# --- bench ---

def test_bench_that_is_nowhere_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bench, "PLACES", (tmp_path,))
    assert bench.main([]) == 2
    assert "neither this installation nor a clone" in capsys.readouterr().err


def test_bench_without_what_makes_its_report_names_the_extra(monkeypatch, tmp_path, capsys):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "cli.py").touch()
    monkeypatch.setattr(bench, "PLACES", (tmp_path,))
    monkeypatch.setattr(bench, "NEEDED", ("no_such_package", "rich"))
    assert bench.main([]) == 2
    assert "need no_such_package: pip install 'poolio[bench]'" in capsys.readouterr().err


def test_bench_needs_no_peer():
    assert not {"uvloop", "rloop", "aiofastnet", "numpy", "trustme"} & set(bench.NEEDED)


# --- echo ---

@contextlib.contextmanager
def echoing(*arguments):
    """The server's process, and its first two lines; it ends by Ctrl-C, and has nothing more to say."""
    server = subprocess.Popen([*PROGRAM, "echo", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with server:
        try:
            yield server, server.stdout.readline() + server.stdout.readline()
            server.send_signal(signal.SIGINT)
            _, errors = server.communicate(timeout=30)
        finally:
            server.kill()
    assert (server.returncode, errors) == (0, "")


def says_it_back(client):
    client.settimeout(30)
    client.sendall(b"hello")
    return client.recv(5) == b"hello"


def port_of(lines):
    return int(re.search(r":(\d+),", lines)[1])


@pytest.mark.parametrize("loop", ("poolio", "asyncio", "uvloop"))
@pytest.mark.parametrize("wire", ("tcp", "unix"))
def test_echo_echoes_until_it_is_interrupted(loop, wire, tmp_path):
    path = str(tmp_path / "socket")
    with echoing("--loop", loop, *(("--port", "0") if wire == "tcp" else ("--unix", path))) as (_, lines):
        assert f"loop {loop};" in lines
        client = socket.socket(socket.AF_INET if wire == "tcp" else socket.AF_UNIX)
        with client:
            client.connect(("127.0.0.1", port_of(lines)) if wire == "tcp" else path)
            assert says_it_back(client)


@pytest.mark.parametrize("options", ((), ("--workers", "1"), ("--loop", "asyncio")), ids=" ".join)
def test_echo_over_tls_is_verified_with_the_file_that_it_names(options):
    with echoing("--tls", "--port", "0", *options) as (_, lines):
        port, trusted = port_of(lines), pathlib.Path(re.search(r"-CAfile (\S+)", lines)[1])
        assert list(trusted.parent.iterdir()) == [trusted], "a private key stays on the disk"
        assert f"openssl s_client -quiet -connect 127.0.0.1:{port} " in lines
        context = ssl.create_default_context(cafile=trusted)
        for name in ("localhost", "127.0.0.1"):
            with socket.create_connection(("127.0.0.1", port)) as plain, \
                    context.wrap_socket(plain, server_hostname=name) as client:
                assert says_it_back(client)
    assert not trusted.parent.exists()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl command")
def test_command_that_echo_names_works_as_it_stands():
    with echoing("--tls", "--port", "0") as (_, lines):
        named = re.search(r"try it: (.*)", lines)[1]
        client = subprocess.Popen([*named.split(), "-verify_return_error"], text=True,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with client:
            client.stdin.write("hello\n")
            client.stdin.flush()
            said = client.stdout.readline()
            client.kill()
    assert said == "hello\n"


@pytest.mark.parametrize("way", ("trustme", "openssl"))
def test_certificate_is_readable_by_its_owner_alone_and_for_localhost(way, tmp_path):
    if way == "openssl" and shutil.which("openssl") is None:
        pytest.skip("there is no openssl command")
    pem, trusted = (certificate.by_trustme(tmp_path) if way == "trustme"
                    else certificate.by_openssl(shutil.which("openssl"), tmp_path))
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=trusted)
    server.load_cert_chain(pem)
    assert pem.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE KEY" in pem.read_text() and "PRIVATE KEY" not in trusted.read_text()
    for name in certificate.NAMES:
        assert handshake(server, client, name)


def handshake(server_context, client_context, name):
    """In memory; True once both sides have ended it, and the client has found the name."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    for side in (client, server, client, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return client.version() == server.version() is not None


def test_echo_over_tls_without_any_maker_of_certificates_names_both(monkeypatch, capsys):
    monkeypatch.setattr(certificate.shutil, "which", lambda name: None)
    monkeypatch.setattr(certificate.importlib.util, "find_spec", lambda name: None if name == "trustme" else "there")
    assert echo.main(["--tls"]) == 2
    said = capsys.readouterr().err
    assert "install openssl" in said and "pip install 'poolio[tls]'" in said and "Traceback" not in said


def test_openssl_that_fails_is_quoted(tmp_path):
    broken = tmp_path / "openssl"
    broken.write_text("#!/bin/sh\necho no such curve >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(certificate.CertificateError, match="no such curve"):
        certificate.by_openssl(str(broken), tmp_path)


@pytest.mark.parametrize(("name", "tls", "said"), (
    (("127.0.0.1", 80), False, "nc 127.0.0.1 80"), (("0.0.0.0", 80), False, "nc 127.0.0.1 80"),
    ("/a b", False, "nc -U '/a b'"),
    (("::", 80, 0, 0), True, "openssl s_client -quiet -connect [::1]:80 -CAfile /t"),
    ("/s", True, "openssl s_client -quiet -unix /s -CAfile /t"),
))
def test_echo_tells_how_to_try_it(name, tls, said):
    secured = type("Secured", (), {"trusted": "/t"}) if tls else None
    assert echo.how_to_try(name, secured)[0] == f"try it: {said}"


@pytest.mark.skipif(shutil.which("make") is None or not (ROOT / "Makefile").exists(), reason="needs make and a clone")
def test_make_echo_is_over_tls_if_it_is_asked_for():
    # `make test` hands its own options on, and says where it is
    own = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES")}
    for given, options in ((), "--port 8888"), (("TLS=1", "PORT=1"), "--port 1 --tls"):
        done = subprocess.run(["make", "--dry-run", "echo", *given], cwd=ROOT, capture_output=True, text=True, env=own)
        assert done.stdout.rstrip().endswith(f"-m poolio echo {options}"), done.stdout + done.stderr


def test_echo_on_a_port_in_use_says_so():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = command("echo", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "in use" in done.stderr


def test_echo_on_a_port_that_is_none_says_so():
    done = command("echo", "--port", "70000")
    assert done.returncode == 1
    assert "cannot serve" in done.stderr and "Traceback" not in done.stderr


def test_echo_on_a_loop_that_is_not_installed_names_it(monkeypatch, capsys):
    monkeypatch.setattr(echo, "LOOPS", ("surely_not_there",))
    monkeypatch.setattr(sys, "argv", ["poolio", "echo", "--loop", "surely_not_there"])
    assert door.main() == 2
    assert "surely_not_there is not installed" in capsys.readouterr().err
